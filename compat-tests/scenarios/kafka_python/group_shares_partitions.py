"""Members of a group share the partitions out; joining and leaving shares them out again."""
from _helpers import *

topic, group = new_topic(partitions=4), unique("group")
first = member(topic, group)
until(lambda: first.owns(4), "the first member owns all")
second = member(topic, group)
until(lambda: shared_out([first, second], 4), "two share")
third = member(topic, group)
until(lambda: shared_out([first, second, third], 4), "three share")
for index in range(4):
    send_all(topic, [b"%d-%d" % (index, number) for number in range(50)], partition=index)
everyone = [first, second, third]
until(lambda: sum(len(one.update().values) for one in everyone) >= 200, "all read")
equal(len({value for one in everyone for value in one.values}), 200)
second.leave()
until(lambda: shared_out([first, third], 4), "two share after one left")
done()
