"""auto_offset_reset='latest' begins behind what is there."""
from _helpers import *

topic = new_topic()
send_all(topic, [b"before"])
reader = consumer(topic, auto_offset_reset="latest")
partition = TopicPartition(topic, 0)
until(lambda: reader.poll(timeout_ms=200) or reader.assignment(), "assignment")
equal(reader.position(partition), 1)
send_all(topic, [b"after"])
equal([record.value for record in take(reader, 1)], [b"after"])
done()
