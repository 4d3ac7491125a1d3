"""acks='all': each message is answered with its offset."""
from _helpers import *

topic = new_topic()
results = send_all(topic, [b"%d" % number for number in range(200)], acks="all")
equal([result.offset for result in results], list(range(200)))
equal([record.value for record in read_all(topic, 200)], [b"%d" % number for number in range(200)])
done()
