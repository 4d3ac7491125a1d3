"""A subscription that begins with ^ takes in topics that fit, also one that is made later."""
from _helpers import *

prefix, client = unique("pattern"), admin()
results(client.create_topics([NewTopic(name, 1, 1) for name in (f"{prefix}-a", f"{prefix}-b", f"x{prefix}-c")]))
reader = consumer(f"^{prefix}-.*")
topics = lambda: {partition.topic for partition in reader.assignment()}
until(lambda: reader.poll(0.2) or topics() == {f"{prefix}-a", f"{prefix}-b"}, "the first two")
results(client.create_topics([NewTopic(f"{prefix}-c", 1, 1)]))
until(lambda: reader.poll(0.2) or f"{prefix}-c" in topics(), "the third")
send_all(f"{prefix}-c", [b"late"])
equal(take(reader, 1)[0].value(), b"late")
done()
