"""Elections that nobody needs are answered as such."""
# only: kafka-python >= 2.3
from _helpers import *

topic, client = new_topic(partitions=2), admin()
if VERSION >= (3, 0):
    answer = client.elect_leaders(0, {topic: [0, 1]}, raise_errors=False)
else:
    answer = client.perform_leader_election(0, {topic: [0, 1]})
assert str(answer).count("84") >= 2 or str(answer).count("ElectionNotNeeded") >= 2, answer
done()
