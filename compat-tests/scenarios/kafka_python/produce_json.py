"""Serializers and deserializers: JSON values, string keys, None in both places."""
import json

from _helpers import *

topic = new_topic()
client = producer(
    key_serializer=lambda key: None if key is None else key.encode(), value_serializer=lambda value: json.dumps(value).encode()
)
sent = [("a", {"text": "안녕하세요", "list": [1, 2.5, None]}), (None, "string"), ("", 7), ("b", None)]
for key, value in sent:
    client.send(topic, key=key, value=value)
client.flush()
reader = consumer(topic, value_deserializer=json.loads)
equal([(record.key if record.key is None else record.key.decode(), record.value) for record in take(reader, 4)], sent)
done()
