from kafka import KafkaConsumer

BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

consumer = KafkaConsumer(
    TOPIC_NAME,
    bootstrap_servers=BROKER_SERVERS,
    group_id='my-consumer-group'
)

for message in consumer:
    print(message)
