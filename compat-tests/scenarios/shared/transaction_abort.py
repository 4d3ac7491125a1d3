"""What an aborted transaction wrote is there for read_uncommitted consumers only; what surrounds it is there for all."""
from _helpers import *

worker = Worker()
topic, first, aborted, last = worker.topic(3), numbered(3, 0, 10), numbered(3, 10, 10), numbered(3, 20, 10)
worker.transactional("writer", unique("id"))
for values, end in ((first, "commit"), (aborted, "abort"), (last, "commit")):
    worker.ask("begin", "writer")
    worker.send("writer", topic, values)
    worker.ask(end, "writer")
worker.finish(topic, 3)
exactly(worker.read(topic, 3), together(first, last))
exactly(worker.read(topic, 3, "uncommitted"), together(first, aborted, last))
done()
