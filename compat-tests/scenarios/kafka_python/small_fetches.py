"""max_partition_fetch_bytes below the size of a batch: the batch comes all the same."""
from _helpers import *

topic = new_topic()
values = [bytes([number]) * 20000 for number in range(10)]
send_all(topic, values, batch_size=0)
reader = consumer(topic, max_partition_fetch_bytes=1000, fetch_max_bytes=1000)
equal([record.value for record in take(reader, 10)], values)
done()
