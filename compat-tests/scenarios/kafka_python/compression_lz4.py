"""compression_type='lz4', both ways."""
from _helpers import *

roundtrip(compression_type="lz4", linger_ms=20)
done()
