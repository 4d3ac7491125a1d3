"""What a transaction writes to several partitions is there for read_committed consumers once it is committed, and not before."""
from _helpers import *

worker = Worker()
topic, values = worker.topic(3), numbered(3, 0, 20)
worker.ask("consumer", "committed", topic, 3, "isolation=committed")
worker.ask("consumer", "uncommitted", topic, 3, "isolation=uncommitted")
worker.transactional("writer", unique("id"))
worker.ask("begin", "writer")
worker.send("writer", topic, values)
equal(worker.poll("uncommitted", 60), dict(enumerate(values)))
equal(worker.poll("committed", 1, ms=300), {})
worker.ask("commit", "writer")
equal(worker.poll("committed", 60), dict(enumerate(values)))

more = numbered(3, 20, 5)  # the next transaction of the same producer
worker.ask("begin", "writer")
worker.send("writer", topic, more)
worker.ask("commit", "writer")
equal(worker.poll("committed", 15), dict(enumerate(more)))
worker.finish(topic, 3)
both = together(values, more)
exactly(worker.read(topic, 3), both)
exactly(worker.read(topic, 3, "uncommitted"), both)
done()
