"""Groups are deleted with their offsets, but not while they have members."""
from _helpers import *

topic, group, client = new_topic(), unique("group"), admin()
delete = client.delete_groups if VERSION >= (3, 0) else client.delete_consumer_groups


def outcome(name):
    """The name of a deletion's error, however the version tells it; success has none or a name of its own."""
    answer = delete([name])
    [(_, error)] = answer.items() if isinstance(answer, dict) else answer
    return error if isinstance(error, str) else getattr(error, "__name__", type(error).__name__)


send_all(topic, [b"x"] * 3)
reader = member(topic, group)
until(lambda: reader.owns(1) and len(reader.values) == 3, "a group that has read")
equal(outcome(group), "NonEmptyGroupError")
until(lambda: committed(group, topic) == 3, "the commit")
reader.leave()
until(lambda: outcome(group) in ("NoError", "OK"), "the deletion")
assert group not in groups()
equal(committed(group, topic), None)
equal(outcome(unique("stranger")), "GroupIdNotFoundError")
done()
