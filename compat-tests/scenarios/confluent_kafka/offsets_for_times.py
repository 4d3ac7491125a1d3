"""offsets_for_times and watermark offsets."""
from _helpers import *

topic, client = new_topic(), producer(linger_ms=100)
for number in range(100):
    client.produce(topic, b"x", timestamp=1_700_000_000_000 + number * 10)
client.flush(30)
reader = consumer()
for asked, offset in [(0, 0), (450, 45), (451, 46), (990, 99)]:
    [found] = reader.offsets_for_times([TopicPartition(topic, 0, 1_700_000_000_000 + asked)], timeout=30)
    equal(found.offset, offset)
equal(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30), (0, 100))
done()
