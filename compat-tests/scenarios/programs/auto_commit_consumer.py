from kafka import KafkaConsumer

# Kafka 컨슈머 설정
consumer = KafkaConsumer('user_topic',
                         group_id='test-consumer-group',
                         bootstrap_servers='localhost:9092',
                         key_deserializer=bytes.decode,
                         value_deserializer=bytes.decode)

# 메시지 읽기
for message in consumer:
    print(f"Received message: {message.value} at offset {message.offset}")
