"""A group's offsets are listed, altered, reset and deleted; a partition's are looked up in every way."""
# only: kafka-python >= 3.0
from _helpers import *
from kafka.admin import OffsetSpec
from kafka.structs import OffsetAndMetadata

topic, group, client = new_topic(partitions=2), unique("group"), admin()
one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
send_all(topic, [b"x"] * 10, partition=0)
client.delete_records({one: 2})
look_up = lambda spec: client.list_partition_offsets({one: spec})[one].offset
equal((look_up(OffsetSpec.EARLIEST), look_up(OffsetSpec.LATEST)), (2, 10))
equal(client.alter_group_offsets(group, {one: OffsetAndMetadata(5, "note", -1), two: OffsetAndMetadata(0, "", -1)}),
      {one: kafka.errors.NoError, two: kafka.errors.NoError})
listed = lambda: {key: value.offset for key, value in client.list_group_offsets({group: None})[group].items()}
equal(listed(), {one: 5, two: 0})
client.reset_group_offsets(group, {one: OffsetSpec.EARLIEST})
equal(listed(), {one: 2, two: 0})
client.reset_group_offsets(group, {one: 99})
equal(listed()[one], 10)
equal(client.delete_group_offsets(group, [two]), {two: kafka.errors.NoError})
equal(listed(), {one: 10})
reader = member(topic, group)
until(lambda: reader.owns(2), "a member")
equal(client.delete_group_offsets(group, [one]), {one: kafka.errors.GroupSubscribedToTopicError})
reader.leave()
done()
