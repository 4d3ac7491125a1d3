"""The producer's examples in the package's own description, one after the other, as a newcomer would type them."""
# broker: own
from _helpers import *
from _readme import at, python_blocks
import json

topics = ("foobar", "fizzbuzz", "flipflap", "txn_topic")
for topic in topics:
    forget(topic)
blocks = python_blocks("kafka-python")
first = next(number for number, block in enumerate(blocks) if "KafkaProducer(bootstrap_servers=" in block)
wanted = [block for block in blocks[first:] if "logging" not in block]
wanted.sort(key=lambda block: "transactional_id" in block)  # after it, its producer takes nothing outside of a transaction
# Who names no address means the default one, which is another here.
default = f"from kafka import KafkaProducer\nKafkaProducer.DEFAULT_CONFIG['bootstrap_servers'] = {BOOTSTRAP!r}\n"
program = Program(*PYTHON, "-W", "ignore", "-c", default + at(BOOTSTRAP, "".join(wanted)) + "producer.flush()\nprint('end')\n")
program.wait()
values = [record.value for record in take(consumer("foobar"), 1103)]
plain, [another, keyed], gzipped, [with_headers] = values[:100], values[100:102], values[102:1102], values[1102:]
equal((set(plain), another, keyed, with_headers), ({b"some_message_bytes"}, b"another_message", b"bar", b"c29tZSB2YWx1ZQ=="))
equal(gzipped, [b"msg %d" % number for number in range(1000)])
equal([json.loads(record.value) for record in take(consumer("fizzbuzz"), 1)], [{"foo": "bar"}])
equal([(record.key, record.value) for record in take(consumer("flipflap"), 1)], [(b"ping", b"1234")])
if VERSION >= (2, 3):
    equal([record.value for record in take(consumer("txn_topic", isolation_level="read_committed"), 1)], [b"yes"])
done()
