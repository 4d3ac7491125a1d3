"""kill -9 of a member: after its session timeout the other has its partitions, and nothing is lost."""
from _helpers import *

topic, group = new_topic(partitions=4), unique("group")
survivor, victim = (member(topic, group, session_timeout_ms=2000) for _ in range(2))
until(lambda: shared_out([survivor, victim], 4), "two share")
victim.program.kill()
send_all(topic, [b"%d" % number for number in range(100)])
until(lambda: survivor.owns(4), "the survivor owns all")
until(lambda: len(set(survivor.update().values) | set(victim.update().values)) == 100, "all read")
done()
