"""The consumer's examples in the package's own description, each fed with records until it has read one."""
# broker: own
from _helpers import *
from _readme import at, python_blocks
import json

blocks = python_blocks("kafka-python")
end = next(number for number, block in enumerate(blocks) if "KafkaProducer(bootstrap_servers=" in block)
default = f"import sys\nfrom kafka import KafkaConsumer\nKafkaConsumer.DEFAULT_CONFIG['bootstrap_servers'] = {BOOTSTRAP!r}\n"
topics = ("my_favorite_topic", "foobar", "json-foo", "txn_topic")
for topic in topics:
    forget(topic)
# A consumer that finds no topic looks again after minutes.
client = admin()
client.create_topics([NewTopic(topic, 3, 1) for topic in topics])
feeder, played = producer(), 0


def play(text, topic, value, **record):
    """Runs a program that reads for ever until it has shown a record, and a loop without a word for that shows it here."""
    global played
    running = Program(*PYTHON, "-W", "ignore", "-c", default + at(BOOTSTRAP, text))

    def feed():
        feeder.send(topic, value, **record)
        feeder.flush()

    running.wait_for(lambda line: line, meanwhile=feed)
    running.kill()
    played += 1


for block in blocks[:end]:
    if "msgpack" in block:  # a library that is not there, and that the example does not import
        continue
    if "'my_favorite_topic'" in block:
        play(block, "my_favorite_topic", b"x")
    elif "TopicPartition('foobar', 2)" in block:
        play(block + "print(msg)\n", "foobar", b"x", partition=2)
    elif "json-foo" in block:
        play(block + "    print(msg)\n", "json-foo", json.dumps({"a": 1}).encode())
    elif "txn_topic" in block:
        play(block, "txn_topic", b"x")
    else:  # it goes on with the consumer of the first one
        opened = "consumer = KafkaConsumer('my_favorite_topic')\n"
        shown = "" if "print" in block else "print(metrics)\n"
        play(opened + block + shown, "my_favorite_topic", b"x", headers=[("h", b"v")])
assert played >= 5, played
done()
