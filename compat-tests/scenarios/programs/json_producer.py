# 브로커 서버 설정
BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

import json
from kafka import KafkaProducer

producer = KafkaProducer(
    bootstrap_servers=BROKER_SERVERS,
    value_serializer=lambda x: json.dumps(x).encode('utf-8')
)

# JSON 메시지 전송
message = {
    "user_id": 123,
    "action": "login",
    "timestamp": "2023-11-15T10:30:00Z"
}

producer.send(TOPIC_NAME, message)
producer.flush()
