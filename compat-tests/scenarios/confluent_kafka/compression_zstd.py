"""compression.type=zstd, both ways."""
from _helpers import *

roundtrip(compression_type="zstd", linger_ms=20)
done()
