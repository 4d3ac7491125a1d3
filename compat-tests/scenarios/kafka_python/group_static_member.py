"""A static member that is away for less than its session timeout keeps its partitions: nobody rebalances."""
# only: kafka-python >= 2.3
from _helpers import *

topic, group = new_topic(partitions=4), unique("group")
settings = {"session_timeout_ms": 20000}
stays = member(topic, group, group_instance_id="stays", **settings)
until(lambda: stays.owns(4), "the first owns all")
goes = member(topic, group, group_instance_id="goes", **settings)
until(lambda: shared_out([stays, goes], 4), "two share")
rebalances, owned = stays.assignments, goes.partitions
goes.program.kill()
back = member(topic, group, group_instance_id="goes", **settings)
until(lambda: back.update().partitions == owned, "the same partitions again")
send_all(topic, [b"%d" % number for number in range(40)])
until(lambda: len(set(stays.update().values) | set(back.update().values)) == 40, "all read")
equal(stays.update().assignments, rebalances)
done()
