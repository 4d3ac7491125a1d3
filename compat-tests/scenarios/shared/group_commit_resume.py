"""A member goes on where another one of its group has committed."""
from _helpers import *

worker = Worker()
topic, group, [values] = worker.topic(), unique("group"), numbered(1, 0, 100)
worker.send(worker.producer(), topic, [values])
first = Member(topic, group)
until(lambda: len(first.poll(count=40 - len(first.values)).values) == 40, "forty records", pause_s=0)
equal(first.worker.ask("committed", "member", 0), ["-"])
first.worker.ask("commit_offsets", "member")
equal(first.worker.ask("committed", "member", 0), ["40"])
until(lambda: len(first.poll(count=50 - len(first.values)).values) == 50, "ten more, not committed", pause_s=0)
first.worker.ask("close", "member")
second = Member(topic, group)
until(lambda: len(second.poll(count=60 - len(second.values)).values) == 60, "what is left", pause_s=0)
equal(second.values, values[40:])
second.worker.ask("commit_offsets", "member")
equal(second.worker.ask("committed", "member", 0), ["100"])
done()
