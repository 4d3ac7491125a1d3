from kafka import KafkaConsumer

BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

# Consumer 객체 생성
consumer = KafkaConsumer(
    TOPIC_NAME, 
    bootstrap_servers=BROKER_SERVERS
)

print("Wait.....")

# 무한 루프로 메시지 수신
for message in consumer:
    print(message)
