"""One consumer of a group in a process of its own: prints what it is given and what it reads, until SIGTERM."""
import json
import signal
import sys

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

settings = json.loads(sys.argv[2])
assignor = settings.pop("assignor", "range")
if assignor == "sticky":
    from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor as chosen
else:
    chosen = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}[assignor]
topic, pattern = settings.pop("topic"), settings.pop("pattern", None)
session_timeout_ms = settings.pop("session_timeout_ms", 6000)
running = True


def stop(*_):
    global running
    running = False


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        print("assigned", *sorted(partition.partition for partition in assigned), flush=True)


signal.signal(signal.SIGTERM, stop)
consumer = KafkaConsumer(
    bootstrap_servers=sys.argv[1],
    group_id=settings.pop("group"),
    auto_offset_reset="earliest",
    partition_assignment_strategy=[chosen],
    session_timeout_ms=session_timeout_ms,
    heartbeat_interval_ms=300,
    metadata_max_age_ms=1000,
    auto_commit_interval_ms=200,
    fetch_max_wait_ms=100,
    **settings,
)
consumer.subscribe(topics=[topic] if pattern is None else (), pattern=pattern, listener=Listener())
while running:
    for records in consumer.poll(timeout_ms=1000).values():
        for record in records:
            print("value", record.value.decode(), flush=True)
consumer.close()
