"""Two members share the partitions; when one leaves, the other has all; every record is read."""
from _helpers import *

worker = Worker()
topic, group, producer = worker.topic(4), unique("group"), worker.producer()
first = Member(topic, group)
until(lambda: first.poll().partitions == [0, 1, 2, 3], "the first has all", pause_s=0)
second = Member(topic, group)
share([first, second], 4)
worker.send(producer, topic, numbered(4, 0, 25))
read_together([first, second], 100)
assert second.values, "the second read nothing"
second.worker.ask("close", "member")
until(lambda: first.poll().partitions == [0, 1, 2, 3], "the first has all again", pause_s=0)
worker.send(producer, topic, numbered(4, 25, 25))
until(lambda: len(set(first.poll().values) | set(second.values)) == 200, "all read", pause_s=0)
done()
