"""An idempotent producer over kill -9 and restarts of the broker: every record once, in order."""
# broker: own
from _helpers import *

worker = Worker()
topic = worker.topic(2)
worker.ask("producer", "writer", "idempotence=on")
worker.send("writer", topic, numbered(2, 0, 100))
for first in (100, 300):
    worker.queue("writer", topic, numbered(2, first, 100))  # on their way when the broker goes
    broker("kill")
    worker.queue("writer", topic, numbered(2, first + 100, 100))
    broker("start")
    worker.ask("flush", "writer")
worker.finish(topic, 2)
exactly(worker.read(topic, 2), numbered(2, 0, 500))
done()
