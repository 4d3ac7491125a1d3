from kafka import KafkaConsumer

# Kafka 컨슈머 설정 (자동 커밋 비활성화)
consumer = KafkaConsumer('user_topic',
                         group_id='manual-commit-group',
                         bootstrap_servers='localhost:9092',
                         enable_auto_commit=False,  # 자동 커밋 비활성화
                         key_deserializer=bytes.decode,
                         value_deserializer=bytes.decode)

# 메시지 읽기 및 오프셋 수동 커밋
for message in consumer:
    print(f"Received message: {message.value} at offset {message.offset}")

    # 수동으로 오프셋 커밋
    consumer.commit()
