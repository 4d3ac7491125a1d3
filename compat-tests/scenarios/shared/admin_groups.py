"""Groups are listed and described, with a member and without."""
from _helpers import *

worker = Worker()
topic, group = worker.topic(), unique("group")
worker.write(worker.producer(), topic, 0, "x")
member = Member(topic, group)
until(lambda: member.poll().values, "a record", pause_s=0)
member.worker.ask("commit_offsets", "member")
assert group in worker.ask("groups")
equal(worker.ask("group", group), ["Stable", "1"])
member.worker.ask("close", "member")
until(lambda: worker.ask("group", group) == ["Empty", "0"], "an empty group")
assert group in worker.ask("groups")
done()
