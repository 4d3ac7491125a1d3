"""Topics are described with their ids, offsets looked up in every way, and elections that nobody needs answered as such."""
# only: confluent-kafka >= 2.16
from _helpers import *
from confluent_kafka import ElectionType, TopicCollection
from confluent_kafka.admin import OffsetSpec

client, topic = admin(), new_topic(partitions=3)
producer_ = producer()
for stamp in (1000, 3000, 2000):
    producer_.produce(topic, b"x", partition=0, timestamp=1_700_000_000_000 + stamp)
equal(producer_.flush(30), 0)
described = results(client.describe_topics(TopicCollection([topic])))[topic]
equal((described.name, len(described.partitions), described.is_internal), (topic, 3, False))
assert str(described.topic_id), described


def look_up(spec):
    [found] = results(client.list_offsets({TopicPartition(topic, 0): spec})).values()
    return found.offset


equal([look_up(spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp())], [0, 3, 1])
equal(look_up(OffsetSpec.for_timestamp(1_700_000_001_500)), 1)
elected = client.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, index) for index in range(3)]).result(30)
equal([error.code() for error in elected.values()], [KafkaError.ELECTION_NOT_NEEDED] * 3)
done()
