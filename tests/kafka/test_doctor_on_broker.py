"""The doctor on a real broker."""

import time

import pytest
from confluent_kafka import Producer

from tests.cli.forked import fyke_command
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


APP = """
import fyke, pyarrow as pa
app = fyke.App("{name}", brokers="{brokers}", folder="state")
schema = {{"ts": pa.int64(), "card": pa.string(), "amount": pa.float64()}}
payments = app.topic("{source}", schema=schema, time="ts", unit="s")
payments.select("card").to("{target}")
"""


def test_the_commands_examine_and_reset_an_app(brokers, topics, tmp_path):  # noqa: F811
    source, out = topics
    write(brokers, source, apps.events(50))
    name = clients.new_name("app")
    values = {"name": name, "brokers": brokers, "source": source}
    (tmp_path / "well.py").write_text(APP.format(**values, target=f"{out}-hits"))
    (tmp_path / "ill.py").write_text(APP.format(**values, target="fyke-test-nowhere"))

    ill = fyke_command(tmp_path, "doctor", "ill:app")
    assert ill.returncode == 1
    first = ill.stdout.decode().splitlines()[0]
    assert first.split()[:3] == ["problem", "topic", "fyke-test-nowhere"]
    well = fyke_command(tmp_path, "doctor", "well:app")
    assert well.returncode == 0
    assert "50 records wait" in well.stdout.decode()

    done = fyke_command(tmp_path, "reset", "well:app", "--since", "latest", "--yes")
    assert done.stderr.decode() == f"{name} begins at latest when it is started next\n"
    assert "0 records wait" in fyke_command(tmp_path, "doctor", "well:app").stdout.decode()
    refused = fyke_command(tmp_path, "reset", "well:app", "--since", "2026-01-01T00:00:00", "--yes")
    assert refused.returncode == 2
    assert "say the zone" in refused.stderr.decode()
    assert fyke_command(tmp_path, "doctor", "well:payments").returncode == 2
