"""A null value (a tombstone) and an empty value stay two different things."""
from _helpers import *

topic = new_topic()
client = producer()
client.send(topic, key=b"k", value=None)
client.send(topic, key=b"k", value=b"")
client.flush()
equal([record.value for record in read_all(topic, 2)], [None, b""])
done()
