"""Tutorial: a consumer in a group, as shown to beginners, with every setting at its default."""
# broker: own
from _helpers import *

forget("sample-topic")
forever = program("group_consumer.py")
line = forever.wait_for(lambda line: "ConsumerRecord" in line, meanwhile=lambda: program("hello_producer.py").wait())
assert "value=b'hello Kafka'" in line, line
assert "my-consumer-group" in groups()
done()
