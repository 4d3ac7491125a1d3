"""alter_configs of a broker: a topic without a setting of its own follows."""
# broker: own
from _helpers import *
from kafka.admin import ConfigResource, ConfigResourceType

client, topic = admin(), new_topic()
broker = str(client.describe_cluster()["brokers"][0]["node_id" if VERSION < (3, 0) else "broker_id"])
before = setting(ConfigResourceType.TOPIC, topic, "retention.bytes")
client.alter_configs([ConfigResource(ConfigResourceType.BROKER, broker, {"log.retention.bytes": "123456789"})])
until(lambda: setting(ConfigResourceType.BROKER, broker, "log.retention.bytes") == "123456789", "the new setting")
until(lambda: setting(ConfigResourceType.TOPIC, topic, "retention.bytes") == "123456789", "the topic follows")
nothing = {"log.retention.bytes": ("DELETE", None)} if VERSION >= (3, 0) else {}  # older versions replace all
client.alter_configs([ConfigResource(ConfigResourceType.BROKER, broker, nothing)])
until(lambda: setting(ConfigResourceType.TOPIC, topic, "retention.bytes") == before, "the topic follows back")
done()
