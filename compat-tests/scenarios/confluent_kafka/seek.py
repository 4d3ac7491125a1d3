"""seek, pause and resume."""
from _helpers import *

topic = new_topic()
send_all(topic, [b"%d" % number for number in range(100)])
reader = consumer(topic)
take(reader, 10)
reader.seek(TopicPartition(topic, 0, 42))
equal(take(reader, 1)[0].value(), b"42")
reader.pause([TopicPartition(topic, 0)])
equal(reader.poll(0.5), None)
reader.resume([TopicPartition(topic, 0)])
reader.seek(TopicPartition(topic, 0, 99))
equal(take(reader, 1)[0].value(), b"99")
done()
