"""Fixtures for the integration tests of kafka-python 2.0.2, whose source distribution has none.

They know one broker, at `KAFKA_URI`; topics are made by its admin client.
"""

import itertools
import os
import urllib.parse
import uuid

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.client_async import KafkaClient

PARTITIONS = 4
_numbers = itertools.count()


class RunningBroker:
    """The part of the original fixture of a broker that the tests look at."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    @property
    def settings(self):
        """What every client is made with."""
        return {"bootstrap_servers": "%s:%d" % (self.host, self.port), "client_id": "test-%d" % next(_numbers)}


@pytest.fixture(scope="module")
def kafka_broker():
    address = urllib.parse.urlparse(os.environ["KAFKA_URI"])
    return RunningBroker(address.hostname, address.port)


@pytest.fixture
def make(kafka_broker):
    """Makes clients, and closes them after the test."""
    made = []

    def client(kind, *topics, **settings):
        made.append(kind(*topics, **dict(kafka_broker.settings, **settings)))
        return made[-1]

    yield client
    for one in reversed(made):
        one.close()


@pytest.fixture
def topic(make, request):
    name = "%s-%s" % (request.node.originalname, uuid.uuid4().hex[:12])
    make(KafkaAdminClient).create_topics([NewTopic(name, PARTITIONS, 1)])
    return name


@pytest.fixture
def kafka_client(make):
    return make(KafkaClient)


@pytest.fixture
def kafka_admin_client(make):
    return make(KafkaAdminClient)


@pytest.fixture
def kafka_producer_factory(make):
    return lambda **settings: make(KafkaProducer, **settings)


@pytest.fixture
def kafka_producer(kafka_producer_factory):
    return kafka_producer_factory()


@pytest.fixture
def kafka_consumer_factory(make, topic):
    def consumer(**settings):
        settings.setdefault("auto_offset_reset", "earliest")
        settings.setdefault("heartbeat_interval_ms", 500)
        return make(KafkaConsumer, topic, **settings)

    return consumer


@pytest.fixture
def kafka_consumer(kafka_consumer_factory):
    return kafka_consumer_factory()


@pytest.fixture
def send_messages(topic, kafka_producer):
    """Sends one message per number and returns their values."""

    def send(numbers, partition=0):
        values = [("%d of %s" % (number, uuid.uuid4())).encode() for number in numbers]
        futures = [kafka_producer.send(topic, value=value, partition=partition) for value in values]
        for future in futures:
            future.get(timeout=30)
        return values

    return send
