"""The Kafka module of testcontainers for Python with this image in the place of Confluent's.

`python module.py IMAGE:TAG kraft|zookeeper`; ends with `OK`. The module reads a Confluent version out of the tag.
"""

import sys

from kafka import KafkaConsumer, KafkaProducer
from testcontainers.community.kafka import KafkaContainer


def main(image: str, mode: str) -> None:
    container = KafkaContainer(image)
    if mode == "kraft":
        container = container.with_kraft()
    with container as kafka:
        address = kafka.get_bootstrap_server()
        sent = [(f"key-{n}".encode(), f"value-{n}".encode()) for n in range(10)]
        producer = KafkaProducer(bootstrap_servers=address, acks="all")
        for key, value in sent:
            producer.send("visits", key=key, value=value).get(timeout=30)
        producer.close()
        consumer = KafkaConsumer(
            "visits",
            bootstrap_servers=address,
            group_id="visitors",
            auto_offset_reset="earliest",
            consumer_timeout_ms=30_000,
        )
        found = []
        for record in consumer:
            found.append((record.key, record.value))
            if len(found) == len(sent):
                break
        consumer.close()
        assert found == sent, found
    print("OK")


if __name__ == "__main__":
    main(*sys.argv[1:])
