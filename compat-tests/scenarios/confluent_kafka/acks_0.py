"""acks=0."""
from _helpers import *

topic = new_topic()
send_all(topic, [b"first"])  # the leader serves; who asks for no answer learns of no error
send_all(topic, [b"%d" % number for number in range(200)], producer(acks="0"))
equal([message.value() for message in read_all(topic, 201)][1:], [b"%d" % number for number in range(200)])
done()
