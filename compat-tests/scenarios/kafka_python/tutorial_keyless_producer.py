"""Tutorial: a message without a key, though a key serializer is there."""
# broker: own
# except: kafka-python: the program itself fails: its serializer refuses the key that is not there
from _helpers import *

forget("user_topic")
program("keyless_producer.py").wait()
[record] = take(consumer("user_topic"), 1)
equal((record.key, record.value), (None, b"Message without key"))
done()
