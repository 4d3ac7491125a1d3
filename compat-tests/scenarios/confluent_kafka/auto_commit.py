"""Auto commit: a closed consumer's successor goes on where it ended."""
from _helpers import *

topic, group = new_topic(), unique("group")
send_all(topic, [b"%d" % number for number in range(10)])
first = consumer(topic, group_id=group, auto_commit_interval_ms=100)
take(first, 10)
first.close()
equal(committed(group, topic), 10)
send_all(topic, [b"10"])
equal(take(consumer(topic, group_id=group), 1)[0].value(), b"10")
done()
