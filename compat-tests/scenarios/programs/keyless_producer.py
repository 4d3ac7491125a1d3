from kafka import KafkaProducer

# Kafka 프로듀서 설정
producer = KafkaProducer(bootstrap_servers='localhost:9092', 
                         key_serializer=str.encode, 
                         value_serializer=str.encode)

# 메시지 보내기 (키 없는 경우)
value = "Message without key"
producer.send('user_topic', value=value)

# 전송 완료 후 종료
producer.flush()
producer.close()
