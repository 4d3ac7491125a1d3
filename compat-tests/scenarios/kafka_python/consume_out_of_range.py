"""A position beyond the end falls back to auto_offset_reset."""
from _helpers import *

topic = new_topic()
send_all(topic, [b"0", b"1", b"2"])
reader = consumer(auto_offset_reset="earliest")
reader.assign([TopicPartition(topic, 0)])
reader.seek(TopicPartition(topic, 0), 1000)
equal([record.value for record in take(reader, 3)], [b"0", b"1", b"2"])
done()
