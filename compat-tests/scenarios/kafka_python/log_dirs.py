"""describe_log_dirs tells where partitions lie and how large they are."""
# only: kafka-python >= 3.0
from _helpers import *

topic, client = new_topic(partitions=2), admin()
send_all(topic, [b"x" * 10000], partition=1)
[broker] = client.describe_log_dirs({topic: [0, 1]})
[directory] = broker["log_dirs"]
assert directory["log_dir"].startswith("/") and directory["total_bytes"] > 0, directory
[found] = directory["topics"]
sizes = {part["partition_index"]: part["partition_size"] for part in found["partitions"]}
equal(sizes[0], 0)
assert 10000 < sizes[1] < 11000, sizes
done()
