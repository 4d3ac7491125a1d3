"""Messages without a key are spread over the partitions; none is lost or doubled."""
from _helpers import *

topic = new_topic(partitions=3)
send_all(topic, [b"%d" % number for number in range(300)])
records = read_all(topic, 300, partitions=range(3))
equal(sorted(int(record.value) for record in records), list(range(300)))
equal({record.key for record in records}, {None})
done()
