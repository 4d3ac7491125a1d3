"""Consume, transform, produce, and kill -9 of the client in the middle of a transaction: a second one takes over, exactly."""
from _helpers import *

worker = Worker()
source, target, values = worker.topic(2), worker.topic(2), numbered(2, 0, 40)
worker.ask("producer", "input")
worker.send("input", source, values)
group, identity = unique("group"), unique("id")
first = Transform(source, target, group, identity).start(stall="p1n15")
first.wait_for_stall()  # records and offsets are sent, the commit is not
first.kill()
second = Transform(source, target, group, identity).start()
worker.ask("consumer", "output", target, 2, "isolation=committed")
worker.await_records("output", 80, second)
late = numbered(2, 40, 10)
worker.send("input", source, late)
worker.await_records("output", 20, second)
second.kill()
worker.finish(target, 2)
exactly(worker.read(target, 2), transformed(together(values, late)))
assert "p1n15!" in sum(worker.read(target, 2, "uncommitted"), [])
done()
