"""Settings: what a guarantee depends on is ours, all else is the user's, and secrets are not shown."""

import pytest
from confluent_kafka import Consumer, Producer

from fyke.errors import DefinitionError
from fyke.kafka.settings import REFUSED, Settings, consumer_settings, is_incremental, producer_settings


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("prefix", ["", "consumer.", "producer."])
def test_what_a_guarantee_depends_on_is_not_the_users_to_set(name, prefix):
    with pytest.raises(DefinitionError, match=f'setting "{prefix}{name}" is not for the user to make: '):
        consumer_settings("b:1", "app", user={prefix + name: "x"})
    with pytest.raises(DefinitionError, match="is not for the user to make"):
        producer_settings("b:1", "app", user={prefix + name: "x"})


def test_the_users_settings_go_to_both_clients_or_to_the_one_named():
    user = {"security.protocol": "SSL", "consumer.fetch.min.bytes": 9, "producer.linger.ms": 1}
    consumer, producer = consumer_settings("b:1", "app", user=user), producer_settings("b:1", "app", user=user)
    assert consumer["security.protocol"] == producer["security.protocol"] == "SSL"
    assert (consumer["fetch.min.bytes"], producer["linger.ms"]) == (9, 1)
    assert "fetch.min.bytes" not in producer
    assert "linger.ms" not in consumer


def test_secrets_are_not_shown_and_the_rest_is():
    secrets = {
        "sasl.password": "sesame1",
        "sasl.username": "sesame2",
        "ssl.key.password": "sesame3",
        "ssl.key.pem": "sesame4",
        "ssl.keystore.password": "sesame5",
        "sasl.oauthbearer.client.secret": "sesame6",
        "sasl.oauthbearer.config": "secret=sesame7",
    }
    shown = repr(consumer_settings("b:1", "app", user={**secrets, "client.rack": "r1"}))
    assert "sesame" not in shown
    assert "'sasl.password': '***'" in shown
    assert "'client.rack': 'r1'" in shown
    assert str(Settings(secrets)).count("***") == len(secrets)


def test_nothing_is_committed_stored_or_reset_behind_our_back():
    settings = consumer_settings("b:1", "app")
    assert settings["enable.auto.commit"] is settings["enable.auto.offset.store"] is False
    assert settings["isolation.level"] == "read_committed"
    assert settings["auto.offset.reset"] == "error"


def test_only_a_producer_with_an_id_is_transactional():
    assert "transactional.id" not in producer_settings("b:1", "app")
    settings = producer_settings("b:1", "app", transactional_id="app-1-0", transaction_timeout_ms=10_000)
    assert (settings["transactional.id"], settings["transaction.timeout.ms"]) == ("app-1-0", 10_000)


@pytest.mark.parametrize(
    ("protocol", "assignor", "expected", "incremental"),
    [
        ("classic", "balanced", {"partition.assignment.strategy": "cooperative-sticky"}, True),
        ("classic", "together", {"partition.assignment.strategy": "range"}, False),
        ("consumer", "balanced", {"group.protocol": "consumer", "group.remote.assignor": "uniform"}, True),
        ("consumer", "together", {"group.protocol": "consumer", "group.remote.assignor": "range"}, True),
    ],
)
def test_the_assignor_follows_from_the_protocol_and_the_inputs(protocol, assignor, expected, incremental):
    settings = consumer_settings("b:1", "app", protocol=protocol, assignor=assignor)
    assert expected.items() <= settings.items()
    assert is_incremental(settings) is incremental
    # The broker of a KIP-848 group knows the session's length; the client refuses to be told.
    assert ("session.timeout.ms" in settings) is (protocol == "classic")


def test_librdkafka_takes_them_all():
    for protocol in ("classic", "consumer"):
        Consumer({**consumer_settings("127.0.0.1:1", "app", protocol=protocol, member="m1"), "log_level": 0}).close()
    Producer({**producer_settings("127.0.0.1:1", "app", transactional_id="x"), "log_level": 0})


def test_a_callback_among_the_settings_is_refused():
    with pytest.raises(DefinitionError, match="a callback cannot be given"):
        consumer_settings("b:1", "app", user={"error_cb": print})
