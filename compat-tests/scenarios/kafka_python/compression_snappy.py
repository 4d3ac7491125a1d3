"""compression_type='snappy', both ways."""
from _helpers import *

roundtrip(compression_type="snappy", linger_ms=20)
done()
