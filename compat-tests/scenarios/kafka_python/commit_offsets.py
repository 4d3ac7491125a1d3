"""commit() of named offsets with metadata, without a subscription; commit_async with a callback."""
from _helpers import *
from kafka.structs import OffsetAndMetadata

topic, group = new_topic(), unique("group")
send_all(topic, [b"x"] * 10)
partition = TopicPartition(topic, 0)
epoch = (-1,) if "leader_epoch" in OffsetAndMetadata._fields else ()
client = consumer(group_id=group, enable_auto_commit=False)
client.assign([partition])
equal(client.committed(partition), None)
client.commit({partition: OffsetAndMetadata(4, "note", *epoch)})
stored = client.committed(partition, metadata=True)
equal((stored.offset, stored.metadata), (4, "note"))
answers = []
client.commit_async({partition: OffsetAndMetadata(6, "", *epoch)}, callback=lambda *answer: answers.append(answer))
until(lambda: client.poll(timeout_ms=100) is None or answers, "the callback")
client.close()
equal(committed(group, topic), 6)
done()
