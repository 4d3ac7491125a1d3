"""A member too many stays idle and takes over when another leaves."""
from _helpers import *

topic, group = new_topic(partitions=1), unique("group")
first = member(topic, group)
until(lambda: first.owns(1), "the first owns it")
second = member(topic, group)
until(lambda: second.update().assignments and shared_out([first, second], 1), "one owns, one waits")
owner, idle = (first, second) if first.owns(1) else (second, first)
owner.leave()
until(lambda: idle.owns(1), "the idle one takes over")
done()
