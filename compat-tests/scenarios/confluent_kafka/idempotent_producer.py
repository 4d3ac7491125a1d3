"""enable.idempotence: five requests in flight, nothing lost, nothing doubled, order kept."""
from _helpers import *

roundtrip(count=3000, enable_idempotence=True, batch_num_messages=20)
done()
