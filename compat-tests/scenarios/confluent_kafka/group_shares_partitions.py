"""Members of a group share the partitions out; joining and leaving shares them out again."""
from _helpers import *

topic, group = new_topic(partitions=4), unique("group")
first = member(topic, group)
until(lambda: first.owns(4), "the first member owns all")
second = member(topic, group)
until(lambda: shared_out([first, second], 4), "two share")
send_all(topic, [b"%d" % number for number in range(200)])
until(lambda: len(set(first.update().values) | set(second.update().values)) == 200, "all read")
second.leave()
until(lambda: first.owns(4), "one owns all after the other left")
done()
