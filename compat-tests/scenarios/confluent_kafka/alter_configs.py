"""alter_configs replaces a topic's settings, and what is set acts at once."""
from _helpers import *
from confluent_kafka.admin import ConfigResource

client, topic = admin(), new_topic(**{"flush.ms": "77"})
kind = ConfigResource.Type.TOPIC if hasattr(ConfigResource, "Type") else None


def settings():
    resource = ConfigResource(kind, topic)
    return {name: found.value for name, found in results(client.describe_configs([resource]))[resource].items()}


def alter(**wanted):
    named = {name.replace("_", "."): value for name, value in wanted.items()}
    results(client.alter_configs([ConfigResource(kind, topic, set_config=named)]))


send_all(topic, [b"x" * 5000])
alter(max_message_bytes="4000")
until(lambda: settings()["max.message.bytes"] == "4000", "the new setting")
assert settings()["flush.ms"] != "77", "what is not named is reset"
try:
    send_all(topic, [b"x" * 5000])
except KafkaException as refusal:
    equal(refusal.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE)
else:
    raise AssertionError("a message above the new limit was accepted")
send_all(topic, [b"x" * 3000])
try:
    alter(retention_ms="soon")
except KafkaException as refusal:
    equal(refusal.args[0].code(), KafkaError.INVALID_CONFIG)
else:
    raise AssertionError("a bad value was accepted")
equal(settings()["max.message.bytes"], "4000")
done()
