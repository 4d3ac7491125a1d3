"""A static member is killed and comes back within its session: it has its partitions again, though the other one is frozen.

A rebalance would have to wait for the frozen one, for longer than this scenario would.
"""
from _helpers import *

worker = Worker()
topic, group, producer = worker.topic(4), unique("group"), worker.producer()
session = {"session_timeout_ms": 60_000}
stays = Member(topic, group, instance="stays", **session)
until(lambda: stays.poll().partitions == [0, 1, 2, 3], "the first has all", pause_s=0)
goes = Member(topic, group, instance="goes", **session)
share([stays, goes], 4)
owned = goes.partitions
goes.kill()
stays.worker.program.freeze()
back = Member(topic, group, instance="goes", **session)
until(lambda: back.poll().partitions == owned, "the same partitions again", pause_s=0)
stays.worker.program.thaw()
worker.send(producer, topic, numbered(4, 0, 10))
equal(read_together([stays, back], 40), set(sum(numbered(4, 0, 10), [])))
done()
