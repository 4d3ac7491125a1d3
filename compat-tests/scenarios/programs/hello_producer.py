from kafka import KafkaProducer

# 브로커 서버 설정
BROKER_SERVERS = ["172.31.36.132:9092"]
TOPIC_NAME = "sample-topic"

# Producer 객체 생성
producer = KafkaProducer(bootstrap_servers=BROKER_SERVERS)

# 메시지 전송
producer.send(TOPIC_NAME, b'hello Kafka')

# 버퍼 플러싱 (즉시 전송)
producer.flush()
