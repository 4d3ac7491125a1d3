"""Tutorial: batch_size and linger_ms gather messages; all arrive in order."""
# broker: own
from _helpers import *

forget("sample-topic")
program("batch_producer.py").wait()
records = take(consumer("sample-topic"), 1000)
equal([record.value for record in records], [b"message %d" % number for number in range(1000)])
done()
