"""The largest message that fits: a batch of exactly 1048588 bytes."""
from _helpers import *

topic = new_topic()
overhead = 61 + 11  # the batch's header, and the record around a value of this size
value = b"x" * (1048588 - overhead)
send_all(topic, [value], max_request_size=2_000_000)
[record] = read_all(topic, 1)
equal(record.value, value)
done()
