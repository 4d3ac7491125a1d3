"""Tutorial: hello Kafka, bytes in, a printed ConsumerRecord out, without a group."""
# broker: own
from _helpers import *

forget("sample-topic")
program("hello_producer.py").wait()
forever = program("hello_consumer.py")
forever.wait_for(lambda line: line == "Wait.....")
line = forever.wait_for(lambda line: "ConsumerRecord" in line, meanwhile=lambda: program("hello_producer.py").wait())
assert "topic='sample-topic'" in line and "value=b'hello Kafka'" in line, line
done()
