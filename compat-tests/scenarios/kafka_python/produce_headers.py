"""Headers keep their order, their bytes, and repeated names."""
from _helpers import *

topic = new_topic()
headers = [("trace", b"\x00\xff"), ("again", b"1"), ("again", b"2"), ("empty", b"")]
producer().send(topic, b"value", headers=headers).get(timeout=30)
[record] = read_all(topic, 1)
equal(list(record.headers), headers)
done()
