"""Topics are made, listed, described and deleted; one that exists is not made again."""
from _helpers import *

worker = Worker()
one, three = worker.topic(), worker.topic(3)
until(lambda: {one, three} <= set(worker.ask("topics")), "both are listed")
equal([worker.number("partitions", topic) for topic in (one, three)], [1, 3])
equal(worker.refuses("topic", one, 1).kind, "topic_exists")
worker.ask("delete_topic", one)
until(lambda: one not in worker.ask("topics"), "one is gone")
assert three in worker.ask("topics")
worker.ask("topic", one, 2)
until(lambda: one in worker.ask("topics"), "it is there again")
equal(worker.number("partitions", one), 2)
done()
