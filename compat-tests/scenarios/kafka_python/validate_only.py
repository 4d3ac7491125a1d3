"""create_topics with validate_only makes nothing."""
from _helpers import *

topic = unique("topic")
admin().create_topics([NewTopic(topic, 1, 1)], validate_only=True)
assert topic not in consumer().topics()
done()
