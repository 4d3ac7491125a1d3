"""Consume, transform, produce, with the offsets in the transaction; one transaction is aborted in between and done again."""
from _helpers import *

worker = Worker()
source, target, values = worker.topic(2), worker.topic(2), numbered(2, 0, 40)
worker.ask("producer", "input")
worker.send("input", source, values)
transform = Transform(source, target, unique("group"), unique("id")).start(stall="p1n15")
transform.wait_for_stall()
transform.worker.tell("abort")
worker.finish(source, 2)
worker.ask("consumer", "output", target, 2, "isolation=committed")
worker.await_records("output", 82, transform)
transform.kill()
worker.finish(target, 2)
exactly(worker.read(target, 2), [values + [END + "!"] for values in transformed(values)])
uncommitted = sum(worker.read(target, 2, "uncommitted"), [])
assert uncommitted.count("p1n15!") > 1, "the aborted transaction was none"
done()
