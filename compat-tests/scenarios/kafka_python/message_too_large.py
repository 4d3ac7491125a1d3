"""One byte more than max.message.bytes: MessageSizeTooLargeError, and nothing is written."""
from _helpers import *

small, usual = new_topic(**{"max.message.bytes": "20000"}), new_topic()
for topic, size in ((small, 20000), (usual, 1_048_588)):
    try:
        send_all(topic, [b"x" * size], max_request_size=4_000_000)
        raise AssertionError("accepted")
    except kafka.errors.MessageSizeTooLargeError:
        pass
    equal([result.offset for result in send_all(topic, [b"small"])], [0])
done()
