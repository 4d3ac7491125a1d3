"""Keys decide the partition: each key in one partition, in order."""
from _helpers import *

topic, client = new_topic(partitions=4), producer()
for number in range(200):
    client.produce(topic, str(number), key=f"key-{number % 20}")
client.flush(30)
messages = read_all(topic, 200, partitions=range(4))
for key in {message.key() for message in messages}:
    mine = [message for message in messages if message.key() == key]
    equal(len({message.partition() for message in mine}), 1)
    equal([int(message.value()) for message in mine], sorted(int(message.value()) for message in mine))
assert len({message.partition() for message in messages}) > 1
done()
