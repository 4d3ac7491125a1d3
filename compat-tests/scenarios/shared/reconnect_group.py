"""A group's member goes on after kill -9 and a new start of the broker; what it has committed stays committed."""
# broker: own group.initial.rebalance.delay.ms=0
from _helpers import *

worker = Worker()
topic, group, producer = worker.topic(), unique("group"), worker.producer(patience_ms=60_000)
member, [values] = Member(topic, group), numbered(1, 0, 150)
for first in (0, 50, 100):
    worker.send(producer, topic, [values[first : first + 50]])
    until(lambda: values[first + 49] in member.poll(ms=500).values, "fifty more", pause_s=0)
    def committed():
        try:
            member.worker.ask("commit_offsets", "member")
        except Refused as error:
            print("tried again:", error)  # the connection is new, or the group is not loaded yet
            member.poll()
            return False
        return True
    until(committed, "a commit")
    if first < 100:
        broker("kill")
        broker("start")
equal(list(dict.fromkeys(member.values)), values)
equal(member.worker.ask("committed", "member", 0), ["150"])
member.worker.ask("close", "member")
done()
