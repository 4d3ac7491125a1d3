"""acks=1."""
from _helpers import *

settings = {"enable_idempotence": False} if VERSION >= (2, 1) else {}
topic = new_topic()
results = send_all(topic, [b"%d" % number for number in range(200)], acks=1, **settings)
equal([record.value for record in read_all(topic, 200)], [b"%d" % number for number in range(200)])
equal([result.offset for result in results], list(range(200)))
done()
