"""offsets_for_times finds the first record at or after a time, exactly, inside batches too."""
from _helpers import *

topic = new_topic()
client = producer(linger_ms=100)
for number in range(100):
    client.send(topic, b"x", timestamp_ms=1_700_000_000_000 + number * 10)
client.flush()
partition, reader = TopicPartition(topic, 0), consumer()
for asked, offset, timestamp in [(0, 0, 0), (450, 45, 450), (451, 46, 460), (990, 99, 990)]:
    found = reader.offsets_for_times({partition: 1_700_000_000_000 + asked})[partition]
    equal((found.offset, found.timestamp), (offset, 1_700_000_000_000 + timestamp))
equal(reader.offsets_for_times({partition: 1_700_000_001_000})[partition], None)
done()
