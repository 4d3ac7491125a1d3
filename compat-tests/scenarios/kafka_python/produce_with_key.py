"""Keys decide the partition: each key in one partition, in order; several partitions in use."""
from _helpers import *

topic = new_topic(partitions=4)
client = producer(key_serializer=str.encode, value_serializer=str.encode)
for number in range(200):
    client.send(topic, key=f"key-{number % 20}", value=str(number))
client.flush()
records = read_all(topic, 200, partitions=range(4))
partitions = {}
for record in records:
    partitions.setdefault(record.key, set()).add(record.partition)
equal({len(found) for found in partitions.values()}, {1})
assert len(set.union(*partitions.values())) > 1
for key in partitions:
    numbers = [int(record.value) for record in records if record.key == key]
    equal(numbers, sorted(numbers))
done()
