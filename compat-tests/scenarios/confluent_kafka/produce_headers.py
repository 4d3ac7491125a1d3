"""Headers keep their order, their bytes, null values and repeated names; a tombstone is not an empty value."""
from _helpers import *

topic = new_topic()
headers = [("trace", b"\x00\xff"), ("again", b"1"), ("again", b"2"), ("empty", b""), ("null", None)]
send_all(topic, [b"value"], headers=headers)
send_all(topic, [None, b""], key=b"k")
first, tombstone, empty = read_all(topic, 3)
equal(first.headers(), headers)
equal((tombstone.value(), empty.value()), (None, b""))
done()
