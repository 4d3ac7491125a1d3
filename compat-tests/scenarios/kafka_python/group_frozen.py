"""A member frozen beyond its session timeout loses its partitions, and comes back when it thaws."""
from _helpers import *

topic, group = new_topic(partitions=4), unique("group")
steady, sleeper = (member(topic, group, session_timeout_ms=2000) for _ in range(2))
until(lambda: shared_out([steady, sleeper], 4), "two share")
sleeper.program.freeze()
until(lambda: steady.owns(4), "the steady one owns all")
sleeper.program.thaw()
until(lambda: shared_out([steady, sleeper], 4) and steady.owns(2), "two share again")
done()
