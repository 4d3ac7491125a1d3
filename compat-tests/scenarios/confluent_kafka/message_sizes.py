"""The largest message that fits passes; above it MSG_SIZE_TOO_LARGE comes from the broker, and the producer goes on."""
# except: confluent-kafka 1.9.2: its producer refuses by itself what is larger than 1,000,000 bytes, whatever it is set to
from _helpers import *

topic, client = new_topic(), producer(message_max_bytes=4_000_000)
overhead = 61 + 11  # the batch's header, and the record around a value of this size
value = b"x" * (1048588 - overhead)
send_all(topic, [value], client)
try:
    send_all(topic, [value + b"x"], client)
    raise AssertionError("accepted")
except KafkaException as refusal:
    equal(refusal.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE)
send_all(topic, [b"small"], client)
equal([len(message.value()) for message in read_all(topic, 2)], [len(value), 5])
done()
