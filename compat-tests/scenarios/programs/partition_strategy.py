import json
from kafka import KafkaProducer

BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

producer = KafkaProducer(
    bootstrap_servers=BROKER_SERVERS,
    value_serializer=lambda x: json.dumps(x).encode('utf-8')
)
message = {
    "user_id": 123,
    "action": "login",
    "timestamp": "2023-11-15T10:30:00Z"
}
user_id = b'123'

# 키 기반 파티션
producer.send(TOPIC_NAME, value=message, key=user_id)

# 라운드 로빈 파티션
producer.send(TOPIC_NAME, value=message)
producer.flush()
