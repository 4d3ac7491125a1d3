"""linger.ms and batch.num.messages: large batches and one message per batch."""
from _helpers import *

roundtrip(linger_ms=50, batch_num_messages=10000)
roundtrip(count=100, batch_num_messages=1)
done()
