"""Producing to a topic that is not there makes it; so does subscribing."""
from _helpers import *

topic, other = unique("first-use"), unique("first-use")
equal([result.offset for result in send_all(topic, [b"a", b"b"])], [0, 1])
reader = consumer(other, metadata_max_age_ms=1000)
until(lambda: reader.poll(timeout_ms=500) or reader.assignment(), "the topic")
send_all(other, [b"c"])
equal([record.value for record in take(reader, 1)], [b"c"])
assert {topic, other} <= set(consumer().topics())
done()
