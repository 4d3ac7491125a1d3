"""Tutorial: the consumer that commits by hand has committed what it has printed."""
# broker: own
from _helpers import *

forget("user_topic")
received = lambda line: line.startswith("Received message: Message for user-1 at offset ")
forever = program("manual_commit_consumer.py")
offset = int(forever.wait_for(received, meanwhile=lambda: program("hash_producer.py").wait()).rsplit(" ", 1)[1])
partition = consumer().partitions_for_topic("user_topic").pop()
until(lambda: (committed("manual-commit-group", "user_topic", partition) or 0) > offset, "the commit")
done()
