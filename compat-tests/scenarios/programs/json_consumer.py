# 브로커 서버 설정
BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

import json
from kafka import KafkaConsumer

consumer = KafkaConsumer(
    TOPIC_NAME,
    bootstrap_servers=BROKER_SERVERS,
    value_deserializer=lambda m: json.loads(m.decode('utf-8'))
)

for message in consumer:
    print(f"Received: {message.value}")
