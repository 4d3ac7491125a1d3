"""Synchronous and asynchronous commit, of a message and of named offsets with metadata; stored offsets."""
from _helpers import *

topic, group = new_topic(), unique("group")
send_all(topic, [b"%d" % number for number in range(10)])
reader = consumer(topic, group_id=group, enable_auto_commit=False)
messages = take(reader, 10)
reader.commit(message=messages[3], asynchronous=False)
equal(committed(group, topic), 4)
reader.commit(offsets=[TopicPartition(topic, 0, 6)], asynchronous=True)
until(lambda: reader.poll(0.1) is None and committed(group, topic) == 6, "the asynchronous commit")
reader.close()
reader = consumer(topic, group_id=group, enable_auto_offset_store=False, auto_commit_interval_ms=100)
messages = take(reader, 4)
equal([message.offset() for message in messages], [6, 7, 8, 9])
reader.store_offsets(message=messages[1])
until(lambda: reader.poll(0.1) is None and committed(group, topic) == 8, "the stored offset")
done()
