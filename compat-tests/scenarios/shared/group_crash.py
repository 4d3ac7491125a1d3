"""kill -9 of a member: after its session timeout the other one has its partitions, and what was not committed is read."""
from _helpers import *

worker = Worker()
topic, group, producer = worker.topic(4), unique("group"), worker.producer()
survivor, victim = (Member(topic, group, session_timeout_ms=2000) for _ in range(2))
share([survivor, victim], 4)
victim.kill()
worker.send(producer, topic, numbered(4, 0, 25))
until(lambda: survivor.poll().partitions == [0, 1, 2, 3], "the survivor has all", pause_s=0)
equal(read_together([survivor], 100), set(sum(numbered(4, 0, 25), [])))
done()
