"""alter_configs of a topic: what is set acts at once, and what is not valid is refused."""
from _helpers import *
from kafka.admin import ConfigResource, ConfigResourceType

client, topic = admin(), new_topic()


def alter(**settings):
    named = {name.replace("_", "."): value for name, value in settings.items()}
    return client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])


send_all(topic, [b"x" * 5000])
alter(max_message_bytes="4000", retention_ms="777")
until(lambda: setting(ConfigResourceType.TOPIC, topic, "retention.ms") == "777", "the new setting")
until(lambda: setting(ConfigResourceType.TOPIC, topic, "max.message.bytes") == "4000", "the other one")
try:
    send_all(topic, [b"x" * 5000])
except kafka.errors.MessageSizeTooLargeError:
    pass
else:
    raise AssertionError("a message above the new limit was accepted")
send_all(topic, [b"x" * 3000])
try:
    answer = alter(retention_ms="soon")
except kafka.errors.InvalidConfigurationError:
    pass
else:
    assert "40" in str(answer) or "InvalidConfig" in str(answer), answer  # older versions do not raise
equal(setting(ConfigResourceType.TOPIC, topic, "retention.ms"), "777")
done()
