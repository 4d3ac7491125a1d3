"""The offsets of points in time and of both ends."""
from _helpers import *

worker = Worker()
topic, producer = worker.topic(), worker.producer()
times = [1_600_000_000_000 + 1000 * number for number in range(5)]
for timestamp in times:
    worker.write(producer, topic, 0, "x", timestamp=timestamp)
offset = lambda wanted: worker.ask("offset", topic, 0, wanted)
equal([offset(timestamp) for timestamp in times], [[f"{number}"] for number in range(5)])
equal([offset(times[0] - 5), offset(times[2] + 1), offset(times[4] + 1)], [["0"], ["3"], ["-"]])
equal([offset("earliest"), offset("latest")], [["0"], ["5"]])
done()
