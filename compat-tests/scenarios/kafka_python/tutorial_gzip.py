"""Tutorial: compression_type='gzip'."""
# broker: own
from _helpers import *

forget("sample-topic")
program("gzip_producer.py").wait()
records = take(consumer("sample-topic"), 100)
equal([record.value for record in records], [b"message %d" % number for number in range(100)])
done()
