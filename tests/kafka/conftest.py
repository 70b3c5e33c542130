"""The broker that the tests of this folder share, and topics on it. Those that use it carry the mark `kafka`."""

import os
import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka.broker import Broker, BrokerError, answers

LIFETIME_S = 900


def pytest_collection_modifyitems(items):
    for item in items:
        if "brokers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)
            item.add_marker(pytest.mark.xdist_group("kafka"))  # one broker for all


@pytest.fixture(scope="session")
def brokers(tmp_path_factory):
    """host:port of the broker named by FYKE_TEST_BROKERS, else of one started for this run and ended with it."""
    given = os.environ.get("FYKE_TEST_BROKERS")
    if given:
        if not answers(given.partition(",")[0], within_s=10):
            pytest.fail(f"no broker answers at FYKE_TEST_BROKERS={given}", pytrace=False)
        yield given
        return
    broker = Broker(tmp_path_factory.mktemp("kafka"), seconds=LIFETIME_S)
    try:
        broker.start()
    except BrokerError as error:
        pytest.fail(str(error), pytrace=False)
    yield broker.address
    broker.stop()


@pytest.fixture(scope="session")
def admin(brokers):
    return AdminClient({"bootstrap.servers": brokers})


@pytest.fixture
def make_topic(admin):
    """A function that makes a topic of its own for the test: make_topic(partitions=1, **settings) -> name."""
    made = []

    def make(partitions=1, **settings):
        name = f"fyke-test-{uuid.uuid4().hex[:12]}"
        config = {key.replace("_", "."): str(value) for key, value in settings.items()}
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(10)
        made.append(name)
        return name

    yield make
    if made:
        for done in admin.delete_topics(made).values():
            done.result(10)
