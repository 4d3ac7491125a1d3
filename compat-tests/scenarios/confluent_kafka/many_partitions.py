"""An idempotent producer over 40 partitions at once, read back by one consumer."""
from _helpers import *

topic, client = new_topic(partitions=40), producer(enable_idempotence=True)
for number in range(4000):
    client.produce(topic, b"%d" % number, partition=number % 40)
client.flush(30)
messages = read_all(topic, 4000, partitions=range(40))
for index in range(40):
    mine = [int(message.value()) for message in messages if message.partition() == index]
    equal(mine, list(range(index, 4000, 40)))
done()
