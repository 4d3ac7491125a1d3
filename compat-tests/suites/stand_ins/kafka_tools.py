"""kafka-topics.sh and kafka-acls.sh without a JVM, as far as librdkafka's tests call them; ends with 0 when it is done.

usage: kafka_tools.py kafka-topics|kafka-acls <options of the tool>
"""

from __future__ import annotations

import argparse
import sys

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

PATIENCE_SECONDS = 30


def options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for action in ("create", "alter", "delete", "add", "remove", "force", "if-not-exists"):
        parser.add_argument(f"--{action}", action="store_true")
    for value in ("bootstrap-server", "topic", "operation", "allow-principal", "allow-host", "deny-principal", "deny-host"):
        parser.add_argument(f"--{value}")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--replication-factor", type=int, default=1)
    parser.add_argument("--config", action="append", default=[])
    return parser.parse_args(words)


def topics(admin: AdminClient, wanted: argparse.Namespace) -> dict:
    if wanted.create:
        config = dict(pair.split("=", 1) for pair in wanted.config)
        return admin.create_topics([NewTopic(wanted.topic, wanted.partitions, wanted.replication_factor, config=config)])
    if wanted.alter:
        return admin.create_partitions([NewPartitions(wanted.topic, wanted.partitions)])
    return admin.delete_topics([wanted.topic], operation_timeout=10)


def acls(admin: AdminClient, wanted: argparse.Namespace) -> dict:
    allowed = wanted.allow_principal is not None
    principal = wanted.allow_principal if allowed else wanted.deny_principal
    host = (wanted.allow_host if allowed else wanted.deny_host) or "*"
    operation = AclOperation[(wanted.operation or "All").upper()]
    permission = AclPermissionType.ALLOW if allowed else AclPermissionType.DENY
    entry = (ResourceType.TOPIC, wanted.topic, ResourcePatternType.LITERAL, principal, host, operation, permission)
    return admin.create_acls([AclBinding(*entry)]) if wanted.add else admin.delete_acls([AclBindingFilter(*entry)])


def main(tool: str, words: list[str]) -> None:
    wanted = options(words)
    admin = AdminClient({"bootstrap.servers": wanted.bootstrap_server})
    for done in (topics if tool == "kafka-topics" else acls)(admin, wanted).values():
        done.result(PATIENCE_SECONDS)


main(sys.argv[1], sys.argv[2:])
