"""Messages without a key: none is lost or doubled."""
from _helpers import *

topic = new_topic(partitions=3)
send_all(topic, [b"%d" % number for number in range(300)])
messages = read_all(topic, 300, partitions=range(3))
equal(sorted(int(message.value()) for message in messages), list(range(300)))
equal({message.key() for message in messages}, {None})
done()
