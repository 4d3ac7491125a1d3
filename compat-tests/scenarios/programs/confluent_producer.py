from confluent_kafka import Producer

producer = Producer({'bootstrap.servers': 'localhost:9092'})


def delivery_report(err, msg):
    if err is not None:
        print(f'Message delivery failed: {err}')
    else:
        print(f'Message delivered to {msg.topic()} [{msg.partition()}]')


for data in ['first', 'second', 'third']:
    producer.poll(0)
    producer.produce('mytopic', data.encode('utf-8'), callback=delivery_report)

producer.flush()
