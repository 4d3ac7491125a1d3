"""Null and empty are different things, as keys and as values."""
# except: kafka-go: its Reader shows empty keys and values as none
# except: confluent-kafka-javascript: it writes empty keys and values as null, because Node's empty buffers have no address
from _helpers import *

worker = Worker()
topic, producer = worker.topic(), worker.producer()
pairs = [(None, b"no key"), (b"", b"empty key"), (b"no value", None), (b"empty value", b""), (b"key", b"value")]
for key, value in pairs:
    worker.write(producer, topic, 0, value, key=key)
equal([(record.key, record.value) for record in worker.records(worker.consumer(topic), len(pairs))], pairs)
done()
