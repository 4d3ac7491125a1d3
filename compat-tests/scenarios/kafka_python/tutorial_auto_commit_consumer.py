"""Tutorial: the consumer that iterates for ever prints what the producer sends, and its offset is committed."""
# broker: own
from _helpers import *

forget("user_topic")
forever = program("auto_commit_consumer.py")
produce = lambda: program("hash_producer.py").wait()
line = forever.wait_for(lambda line: line.startswith("Received"), meanwhile=produce)
assert line.startswith("Received message: Message for user-1 at offset "), line
offset = int(line.rsplit(" ", 1)[1])
partition = consumer().partitions_for_topic("user_topic").pop()
until(lambda: (committed("test-consumer-group", "user_topic", partition) or 0) > offset, "the automatic commit")
done()
