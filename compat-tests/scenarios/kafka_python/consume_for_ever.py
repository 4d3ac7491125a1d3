"""Iterating for ever: records come while another thread sends them; consumer_timeout_ms ends it."""
import threading

from _helpers import *

topic = new_topic()
threading.Thread(target=send_all, args=(topic, [b"%d" % n for n in range(500)]), kwargs={"batch_size": 100}).start()
reader = consumer(topic, group_id=unique("group"))
values = []
for record in reader:
    values.append(record.value)
    if len(values) == 500:
        break
equal(values, [b"%d" % number for number in range(500)])
reader.config["consumer_timeout_ms"] = 500
equal([record for record in consumer(topic, consumer_timeout_ms=3000)][-1].value, b"499")
done()
