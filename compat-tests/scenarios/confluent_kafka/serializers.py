"""SerializingProducer and DeserializingConsumer: string keys, JSON values."""
import json

from _helpers import *
from confluent_kafka import DeserializingConsumer, SerializingProducer
from confluent_kafka.serialization import StringDeserializer, StringSerializer

topic = new_topic()
sent = {"text": "안녕하세요", "list": [1, 2.5, None]}
client = SerializingProducer({
    "bootstrap.servers": BOOTSTRAP,
    "key.serializer": StringSerializer("utf_8"),
    "value.serializer": lambda value, context: json.dumps(value).encode(),
})
client.produce(topic, key="ключ", value=sent)
client.flush(30)
reader = DeserializingConsumer({
    "bootstrap.servers": BOOTSTRAP,
    "group.id": unique("group"),
    "auto.offset.reset": "earliest",
    "key.deserializer": StringDeserializer("utf_8"),
    "value.deserializer": lambda value, context: json.loads(value),
})
reader.subscribe([topic])
message = until(lambda: reader.poll(1.0), "the message")
equal((message.key(), message.value()), ("ключ", sent))
done()
