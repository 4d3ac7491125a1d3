"""The quorum, the features, reassignments and producers of a cluster of one."""
# only: kafka-python >= 3.0
from _helpers import *

topic, client = new_topic(), admin()
quorum = client.describe_metadata_quorum()
[metadata] = quorum["topics"]
[log] = metadata["partitions"]
equal([voter["replica_id"] for voter in log["current_voters"]], [log["leader_id"]])
assert log["high_watermark"] > 0, log
feature = client.describe_features()["metadata.version"]
level = feature["finalized"][1]
assert feature["supported"][0] <= level <= feature["supported"][1], feature
client.update_features({"metadata.version": level}, validate_only=True)
equal(client.list_partition_reassignments(), {})
partition = TopicPartition(topic, 0)
equal(client.alter_partition_reassignments({partition: [log["leader_id"]]}), {partition: None})
equal(client.alter_partition_reassignments({partition: None}), {partition: kafka.errors.NoReassignmentInProgressError})
send_all(topic, [b"x"] * 3, enable_idempotence=True)
[described] = client.describe_producers([partition]).values()
equal([producer.last_sequence for producer in described.active_producers], [2])
done()
