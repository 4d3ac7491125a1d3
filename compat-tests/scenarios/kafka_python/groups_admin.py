"""Groups seen from outside: listed, described with members, offsets listed."""
from _helpers import *

topic, group = new_topic(partitions=2), unique("group")
send_all(topic, [b"x"] * 6, partition=0)
reader = member(topic, group)
until(lambda: reader.owns(2) and len(reader.values) == 6, "a stable group that has read")
assert group in groups()
client = admin()
if VERSION < (3, 0):
    [described] = client.describe_consumer_groups([group])
    equal((described.state, described.protocol_type, len(described.members)), ("Stable", "consumer", 1))
    offsets = lambda: client.list_consumer_group_offsets(group)
else:
    described = client.describe_groups([group])[group]
    equal((described["group_state"], described["protocol_type"], len(described["members"])), ("Stable", "consumer", 1))
    offsets = lambda: client.list_group_offsets({group: None})[group]
until(lambda: getattr(offsets().get(TopicPartition(topic, 0)), "offset", None) == 6, "the commit")
reader.leave()
done()
