"""Tutorial: the same message with a key and without."""
# broker: own
import json

from _helpers import *

forget("sample-topic")
program("partition_strategy.py").wait()
records = take(consumer("sample-topic"), 2)
equal({record.key for record in records}, {b"123", None})
equal([json.loads(record.value)["user_id"] for record in records], [123, 123])
done()
