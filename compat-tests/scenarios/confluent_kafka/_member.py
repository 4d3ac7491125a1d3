"""One consumer of a group in a process of its own: prints what it is given and what it reads, until SIGTERM."""
import json
import signal
import sys

from confluent_kafka import Consumer

settings = json.loads(sys.argv[2])
topic, group, assignor = settings.pop("topic"), settings.pop("group"), settings.pop("assignor", "range")
running = True
owned = set()


def stop(*_):
    global running
    running = False


def report():
    print("assigned", *sorted(owned), flush=True)


def on_assign(client, partitions):
    if assignor == "cooperative-sticky":
        client.incremental_assign(partitions)
    else:
        owned.clear()
    owned.update(partition.partition for partition in partitions)
    report()


def on_revoke(client, partitions):
    if assignor == "cooperative-sticky":
        client.incremental_unassign(partitions)
    owned.difference_update(partition.partition for partition in partitions)


def on_lost(_, partitions):
    owned.difference_update(partition.partition for partition in partitions)
    report()


signal.signal(signal.SIGTERM, stop)
consumer = Consumer(
    {
        "bootstrap.servers": sys.argv[1],
        "group.id": group,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": assignor,
        "session.timeout.ms": settings.pop("session_timeout_ms", 6000),
        "heartbeat.interval.ms": 300,
        "topic.metadata.refresh.interval.ms": 1000,
        "auto.commit.interval.ms": 200,
        "fetch.wait.max.ms": 100,
    }
    | {name.replace("_", "."): value for name, value in settings.items()}
)
consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
while running:
    message = consumer.poll(0.5)
    if message is not None and not message.error():
        print("value", message.value().decode(), flush=True)
consumer.close()
