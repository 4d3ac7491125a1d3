"""What the scenarios of codecs and of acknowledgements do alike."""
from _helpers import *

LIMIT_BYTES = 20_000
LARGE = "x" * 5 * LIMIT_BYTES


def plays_codec(codec):
    """Small values come back, and so does one that the topic takes only when the batch was really compressed."""
    worker = Worker()
    topic, values = worker.topic(max_message_bytes=LIMIT_BYTES), [f"value {number:06d}" for number in range(200)]
    producer = worker.producer(codec=codec)
    worker.write(producer, topic, 0, *values)
    if codec == "none":
        worker.ask("send", producer, topic, 0, LARGE)
        equal(worker.refuses("flush", producer).kind, "too_large")
    else:
        worker.write(producer, topic, 0, LARGE)
        values.append(LARGE)
    equal(worker.poll(worker.consumer(topic), len(values)), {0: values})
    equal(worker.number("offset", topic, 0, "latest"), len(values))
    done()


def plays_acks(acks):
    """Records are in the log, in order and once, whatever the producer waited for."""
    worker = Worker()
    topic, producer = worker.topic(), worker.producer(acks=acks)
    values = [[f"n{number}" for number in range(300)]]
    worker.send(producer, topic, values)
    worker.ask("close", producer)
    equal(worker.poll(worker.consumer(topic), 300), dict(enumerate(values)))
    equal(worker.number("offset", topic, 0, "latest"), 300)
    done()
