"""The cooperative-sticky assignor: two members share six partitions and read them."""
from _helpers import *

topic, group = new_topic(partitions=6), unique("group")
pair = [member(topic, group, assignor="cooperative-sticky") for _ in range(2)]
until(lambda: shared_out(pair, 6), "two share")
equal(sorted(len(one.partitions) for one in pair), [3, 3])
send_all(topic, [b"%d" % number for number in range(60)])
until(lambda: sum(len(one.update().values) for one in pair) == 60, "all read")
done()
