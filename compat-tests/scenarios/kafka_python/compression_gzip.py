"""compression_type='gzip', both ways."""
from _helpers import *

roundtrip(compression_type="gzip", linger_ms=20)
done()
