"""Keys come back; the library's partitioner keeps equal keys together and spreads different ones."""
from _helpers import *

worker = Worker()
topic, producer = worker.topic(4), worker.producer()
keys = [f"key {number}" for number in range(20)]
for turn in ("first", "second"):
    for key in keys:
        worker.write(producer, topic, "-", f"{turn} of {key}", key=key)
found = worker.records(worker.consumer(topic, 4), 40)
for key in keys:
    mine = [record for record in found if record.key == key.encode()]
    equal([record.value.decode() for record in mine], [f"first of {key}", f"second of {key}"])
    equal(len({record.partition for record in mine}), 1)
assert len({record.partition for record in found}) > 1, "all keys in one partition"
done()
