# A record without a key, from a page for beginners: only the address is changed when it runs.
from kafka import KafkaProducer

producer = KafkaProducer(
    bootstrap_servers="localhost:9092",
    key_serializer=str.encode,
    value_serializer=str.encode,
)
producer.send("user_topic", value="Message without key")
producer.flush()
producer.close()
