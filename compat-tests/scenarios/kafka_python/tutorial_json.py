"""Tutorial: a dictionary through JSON and back."""
# broker: own
from _helpers import *

forget("sample-topic")
program("json_producer.py").wait()
forever = program("json_consumer.py")
line = forever.wait_for(
    lambda line: line.startswith("Received"), meanwhile=lambda: program("json_producer.py").wait()
)
equal(line, "Received: {'user_id': 123, 'action': 'login', 'timestamp': '2023-11-15T10:30:00Z'}")
done()
