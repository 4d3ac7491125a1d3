"""auto.offset.reset=latest begins behind what is there; an offset beyond the end falls back to it."""
from _helpers import *

topic = new_topic()
send_all(topic, [b"before"])
reader = consumer(topic, auto_offset_reset="latest")
partition = TopicPartition(topic, 0)
until(lambda: reader.poll(0.2) is None and reader.assignment(), "assignment")
until(lambda: reader.poll(0.2) is None and send_all(topic, [b"after"]) and reader.poll(5.0), "a message behind the start")
other = consumer(auto_offset_reset="earliest")
other.assign([TopicPartition(topic, 0, 1000)])
equal(take(other, 1)[0].value(), b"before")
done()
