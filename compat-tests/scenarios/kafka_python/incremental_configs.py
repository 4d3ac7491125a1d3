"""Single settings are set, appended to, subtracted from and removed; resources are listed by type."""
# only: kafka-python >= 3.0
from _helpers import *
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType

topic, client = new_topic(**{"segment.ms": "77777"}), admin()


def step(key, operation, value, wanted):
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {key: (operation, value)})])
    until(lambda: setting(ConfigResourceType.TOPIC, topic, key) == wanted, f"{key} {operation} {value}")


step("flush.ms", AlterConfigOp.SET, "88", "88")
step("cleanup.policy", AlterConfigOp.APPEND, "compact", "delete,compact")
step("cleanup.policy", AlterConfigOp.SUBTRACT, "delete", "compact")
step("cleanup.policy", AlterConfigOp.DELETE, None, "delete")
equal(setting(ConfigResourceType.TOPIC, topic, "segment.ms"), "77777")
modified = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
[settings] = [found for names in modified.values() for found in names.values()]
assert {"flush.ms", "segment.ms"} <= set(settings) and "cleanup.policy" not in settings, settings
listed = client.list_config_resources(["TOPIC"])
assert topic in sum(listed.values(), []), listed
done()
