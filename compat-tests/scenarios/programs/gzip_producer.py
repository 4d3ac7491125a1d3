from kafka import KafkaProducer

BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

producer = KafkaProducer(
    bootstrap_servers=BROKER_SERVERS,
    compression_type='gzip'
)
for number in range(100):
    producer.send(TOPIC_NAME, b'message %d' % number)
producer.flush()
