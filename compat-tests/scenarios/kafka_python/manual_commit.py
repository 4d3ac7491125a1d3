"""commit() by hand: what was not committed comes again."""
from _helpers import *

topic, group = new_topic(), unique("group")
send_all(topic, [b"%d" % number for number in range(10)])
first = consumer(topic, group_id=group, enable_auto_commit=False, max_poll_records=5)
take(first, 5)
first.commit()
take(first, 5)
first.close()
equal(committed(group, topic), 5)
second = consumer(topic, group_id=group, enable_auto_commit=False)
equal([record.offset for record in take(second, 5)], list(range(5, 10)))
done()
