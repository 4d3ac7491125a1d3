"""Consume, transform, produce, and kill -9 of the broker in the middle of a transaction: exactly the right records."""
# broker: own group.initial.rebalance.delay.ms=0 group.min.session.timeout.ms=1000
from _helpers import *

worker = Worker()
source, target, values = worker.topic(2), worker.topic(2), numbered(2, 0, 40)
worker.ask("producer", "input")
worker.send("input", source, values)
transform = Transform(source, target, unique("group"), unique("id")).start(stall="p1n15")
transform.wait_for_stall()  # records and offsets are sent, the commit is not
broker("kill")
transform.worker.tell("commit")
broker("start")
late = numbered(2, 40, 10)
worker.send("input", source, late)
worker.ask("consumer", "output", target, 2, "isolation=committed")
worker.await_records("output", 100, transform)
transform.kill()
worker.finish(target, 2)
exactly(worker.read(target, 2), transformed(together(values, late)))
done()
