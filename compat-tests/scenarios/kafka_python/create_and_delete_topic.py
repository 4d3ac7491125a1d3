"""create_topics and delete_topics, with a second life under the same name."""
from _helpers import *

client, topic = admin(), unique("topic")
for partitions in (3, 2):
    client.create_topics([NewTopic(topic, partitions, 1)])
    equal(consumer().partitions_for_topic(topic), set(range(partitions)))
    equal([result.offset for result in send_all(topic, [b"x"], partition=0)], [0])
    client.delete_topics([topic])
    until(lambda: topic not in consumer().topics(), "the deletion")
done()
