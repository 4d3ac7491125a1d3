"""compression.type=zstd, both ways."""
# except: confluent-kafka 1.9.2: its librdkafka is built here without zstd
from _helpers import *

roundtrip(compression_type="zstd", linger_ms=20)
done()
