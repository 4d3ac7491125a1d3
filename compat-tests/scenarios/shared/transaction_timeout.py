"""A transaction left open is aborted after transaction.timeout.ms: readers go on, its commit fails, its id can be used again."""
# broker: own transaction.abort.timed.out.transaction.cleanup.interval.ms=100
from _helpers import *

worker, identity = Worker(), unique("id")
topic = worker.topic(2)
worker.transactional("sleeper", identity, timeout_ms=1500)
worker.ask("begin", "sleeper")
worker.send("sleeper", topic, [["open"], ["open"]])
worker.finish(topic, 2)
exactly(worker.read(topic, 2, "uncommitted"), [["open"], ["open"]])
exactly(worker.read(topic, 2), [[], []])  # comes to the end only when nothing is open any more
worker.refuses("commit", "sleeper")
worker.transactional("heir", identity)
other = worker.topic(1)
worker.ask("begin", "heir")
worker.send("heir", other, [["heir"]])
worker.ask("commit", "heir")
worker.finish(other, 1)
exactly(worker.read(other, 1), [["heir"]])
exactly(worker.read(topic, 2), [[], []])
done()
