"""Single settings are set, appended to, subtracted from and removed; a broker's settings too."""
# broker: own
# only: confluent-kafka >= 2.16
from _helpers import *
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

client, topic = admin(), new_topic(**{"segment.ms": "77777"})
[broker] = client.list_topics(timeout=30).brokers


def setting(kind, name, key):
    resource = ConfigResource(kind, name)
    return results(client.describe_configs([resource]))[resource][key].value


def step(kind, name, key, operation, value, wanted):
    entry = ConfigEntry(key, value, incremental_operation=operation)
    results(client.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=[entry])]))
    until(lambda: setting(kind, name, key) == wanted, f"{key} {operation} {value}")


def of_topic(*arguments):
    step(ResourceType.TOPIC, topic, *arguments)


of_topic("flush.ms", AlterConfigOpType.SET, "88", "88")
of_topic("cleanup.policy", AlterConfigOpType.APPEND, "compact", "delete,compact")
of_topic("cleanup.policy", AlterConfigOpType.SUBTRACT, "delete", "compact")
of_topic("cleanup.policy", AlterConfigOpType.DELETE, None, "delete")
equal(setting(ResourceType.TOPIC, topic, "segment.ms"), "77777")
step(ResourceType.BROKER, str(broker), "log.retention.bytes", AlterConfigOpType.SET, "123456789", "123456789")
until(lambda: setting(ResourceType.TOPIC, topic, "retention.bytes") == "123456789", "the topic follows")
step(ResourceType.BROKER, str(broker), "log.retention.bytes", AlterConfigOpType.DELETE, None, "-1")
done()
