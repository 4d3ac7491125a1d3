"""Without a group, auto_offset_reset='earliest' reads everything."""
from _helpers import *

topic = new_topic(partitions=2)
send_all(topic, [b"a", b"b"], partition=0)
send_all(topic, [b"c"], partition=1)
reader = consumer(topic, group_id=None)
equal(sorted(record.value for record in take(reader, 3)), [b"a", b"b", b"c"])
done()
