"""A group without members is deleted, its offsets too; one with a member is not."""
from _helpers import *

worker = Worker()
topic, group = worker.topic(), unique("group")
worker.write(worker.producer(), topic, 0, "x")
member = Member(topic, group)
until(lambda: member.poll().values, "a record", pause_s=0)
member.worker.ask("commit_offsets", "member")
worker.refuses("delete_group", group)
member.worker.ask("close", "member")
worker.ask("delete_group", group)
assert group not in worker.ask("groups")
again = Member(topic, group)
equal(again.worker.ask("committed", "member", 0), ["-"])
done()
