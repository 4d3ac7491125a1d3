"""enable_idempotence: five requests in flight, nothing lost, nothing doubled, order kept."""
# only: kafka-python >= 2.3
from _helpers import *

roundtrip(count=3000, enable_idempotence=True, acks="all", batch_size=2000)
done()
