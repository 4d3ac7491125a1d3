"""subscribe(pattern=...) takes in topics that fit, also one that is made later."""
from _helpers import *

prefix = unique("pattern")
client = admin()
client.create_topics([NewTopic(f"{prefix}-{name}", 1, 1) for name in ("a", "b")] + [NewTopic(f"x{prefix}", 1, 1)])
reader = consumer(group_id=unique("group"), metadata_max_age_ms=500)
reader.subscribe(pattern=f"^{prefix}-.*")
topics = lambda: {partition.topic for partition in reader.assignment()}
until(lambda: reader.poll(timeout_ms=1000) or topics() == {f"{prefix}-a", f"{prefix}-b"}, "the first two")
client.create_topics([NewTopic(f"{prefix}-c", 1, 1)])
until(lambda: reader.poll(timeout_ms=1000) or f"{prefix}-c" in topics(), "the third")
send_all(f"{prefix}-c", [b"late"])
equal([record.value for record in take(reader, 1)], [b"late"])
done()
