"""A member that was frozen for longer than its session is told so when it commits, and changes nothing."""
from _helpers import *

worker = Worker()
topic, group, [values] = worker.topic(), unique("group"), numbered(1, 0, 50)
worker.send(worker.producer(), topic, [values])
sleeper = Member(topic, group, session_timeout_ms=2000)
until(lambda: len(sleeper.poll(count=10 - len(sleeper.values)).values) == 10, "ten records", pause_s=0)
sleeper.worker.program.freeze()
heir = Member(topic, group, session_timeout_ms=30_000)
until(lambda: len(heir.poll(count=50 - len(heir.values)).values) == 50, "the heir has read all", pause_s=0)
heir.worker.ask("commit_offsets", "member")
heir.worker.program.freeze()  # nobody can rebalance while it is
sleeper.worker.tell("commit_offsets", "member")
sleeper.worker.program.thaw()
answer = sleeper.worker.wait_for("ok", "error")
print(answer)
heir.worker.program.thaw()
equal(heir.worker.ask("committed", "member", 0), ["50"])
assert answer.startswith("error stale_member "), answer
done()
