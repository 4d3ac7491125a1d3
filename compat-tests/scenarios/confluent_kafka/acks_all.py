"""acks=all."""
from _helpers import *

topic = new_topic()
send_all(topic, [b"first"])
messages = send_all(topic, [b"%d" % number for number in range(200)], producer(acks="all"))
equal([message.offset() for message in messages], list(range(1, 201)))
equal([message.value() for message in read_all(topic, 201)][1:], [b"%d" % number for number in range(200)])
done()
