"""Tutorial: messages of one key, sent by the program as it stands, lie in one partition."""
# broker: own
from _helpers import *

forget("user_topic")
for _ in range(2):
    program("hash_producer.py").wait()
reader = consumer("user_topic", key_deserializer=bytes.decode, value_deserializer=bytes.decode)
records = take(reader, 2)
equal({(record.key, record.value) for record in records}, {("user-1", "Message for user-1")})
equal(len({record.partition for record in records}), 1)
done()
