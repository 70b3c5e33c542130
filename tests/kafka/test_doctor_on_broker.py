"""The doctor on a real broker."""

import time

import pytest
from confluent_kafka import Producer

from tests.kafka import apps, clients
from tests.kafka.test_app import topics, write  # noqa: F401

pytestmark = pytest.mark.kafka


def findings(app, **how):
    return {f.about: (f.level, f.text) for f in app.examine(**how)}


def test_the_doctor_sees_topics_group_lag_time_and_open_transactions(brokers, topics, tmp_path):  # noqa: F811
    source, out = topics
    write(brokers, source, apps.events(200))
    app = apps.make_app(clients.new_name("app"), brokers, source, out, folder=tmp_path)
    before = findings(app)
    assert before["lag"][1].startswith("200 records wait")
    assert before["group"][0] == "warning"
    assert before["topics"] == ("ok", "all 4 are there")

    app.run(until="end")
    deadline = time.monotonic() + 10
    while True:  # the brokers mark the end of a transaction a moment after they have said that it is committed
        after = findings(app)
        if after["transactions"] == ("ok", "none is open") or time.monotonic() > deadline:
            break
    assert after["lag"][1].startswith("0 records wait")
    assert after["event time"][0] == "ok"
    assert after["transactions"] == ("ok", "none is open")
    assert after[f"topic {source}"] == ("warning", "one replica: it is lost with its broker")

    # Somebody begins a transaction in an output and ends it much later.
    other = Producer(clients.quiet(brokers, transactional_id=clients.new_name("tx")))
    other.init_transactions(20)
    other.begin_transaction()
    other.produce(f"{out}-hits", b"{}")
    other.flush(10)
    try:
        assert findings(app)["transactions"] == ("ok", "open in 1 partitions")
        level, text = findings(app, watch_s=0.5)[f"{out}-hits/0"]
        assert level == "problem"
        assert "a transaction hangs" in text
    finally:
        other.abort_transaction(20)


def test_the_doctor_names_topics_that_are_not_there(brokers, topics, tmp_path):  # noqa: F811
    source, _ = topics
    app = apps.make_app(clients.new_name("app"), brokers, source, clients.new_name("nowhere"), folder=tmp_path)
    missing = [about for about, (level, text) in findings(app).items() if "no such topic" in text]
    assert len(missing) == 3
