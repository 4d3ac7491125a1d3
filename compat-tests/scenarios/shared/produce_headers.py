"""Headers come back: their order, names that occur twice, empty values, text beyond ASCII."""
# except: kafka-go: its Reader shows empty values as none
from _helpers import *

worker = Worker()
topic, producer = worker.topic(), worker.producer()
headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("größe", "fünf Äpfel: 50 %".encode()), ("a b", b"c=d")]
worker.write(producer, topic, 0, "with", headers=headers)
worker.write(producer, topic, 0, "without")
records = worker.records(worker.consumer(topic), 2)
equal([record.value for record in records], [b"with", b"without"])
equal([record.headers for record in records], [headers, []])
done()
