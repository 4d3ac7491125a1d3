"""Tutorial: producer and consumer of confluent-kafka as they stand, every setting at its default."""
# broker: own
from _helpers import *

try:
    results(admin().delete_topics(["mytopic"]))
except KafkaException:
    pass
delivered = program("confluent_producer.py").wait()
equal(len([line for line in delivered if line.startswith("Message delivered to mytopic")]), 3)
forever = program("confluent_consumer.py")
values = {forever.wait_for(lambda line: line.startswith("Received message: ")).split()[-1] for _ in range(3)}
equal(values, {"first", "second", "third"})
done()
