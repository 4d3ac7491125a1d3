"""acks=0: nothing is answered, everything arrives."""
# except: kafka-python 2.3.3: it never sends a request that wants no answer
from _helpers import *

settings = {"enable_idempotence": False} if VERSION >= (2, 1) else {}
topic = new_topic()
send_all(topic, [b"first"])  # the leader serves; who asks for no answer learns of no error
send_all(topic, [b"%d" % number for number in range(200)], acks=0, **settings)
equal([record.value for record in read_all(topic, 201)][1:], [b"%d" % number for number in range(200)])
done()
