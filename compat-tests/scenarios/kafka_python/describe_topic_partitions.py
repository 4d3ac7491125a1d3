"""Topics are described page by page."""
# only: kafka-python >= 3.0
from _helpers import *

topic, client = new_topic(partitions=5), admin()
seen, cursor = [], None
while True:
    page = client.describe_topic_partitions([topic], response_partition_limit=2, cursor=cursor)
    [found] = page["topics"]
    equal((found["error_code"], found["name"]), (0, topic))
    assert len(found["partitions"]) <= 2, found
    seen += [part["partition_index"] for part in found["partitions"]]
    cursor = page["next_cursor"]
    if cursor is None:
        break
equal(seen, [0, 1, 2, 3, 4])
done()
