"""batch_size and linger_ms: small batches and one message per request."""
from _helpers import *

roundtrip(batch_size=1 << 20, linger_ms=50)
roundtrip(count=100, batch_size=0)
done()
