from kafka import KafkaProducer

BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

producer = KafkaProducer(
    bootstrap_servers=BROKER_SERVERS,
    batch_size=16384,  # 배치 크기
    linger_ms=10       # 대기 시간
)
for number in range(1000):
    producer.send(TOPIC_NAME, b'message %d' % number)
producer.flush()
