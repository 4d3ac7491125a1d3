"""Producing to a topic that is not there makes it."""
from _helpers import *

topic = unique("first-use")
equal([message.offset() for message in send_all(topic, [b"a", b"b"])], [0, 1])
assert topic in admin().list_topics(timeout=30).topics
done()
