"""An app on a real broker: what it writes is what an engine per partition gives, in both guarantees."""

import json
import threading
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

import fyke
from fyke.errors import DefinitionError
from tests.kafka import apps, clients

pytestmark = pytest.mark.kafka


@pytest.fixture
def topics(brokers, admin, make_topic):
    """An input of four partitions, and a prefix of output topics that are there."""
    source, out = make_topic(4), clients.new_name("out")
    names = [f"{out}-{output}" for output in ("hits", "sums", "late", "dead")]
    for done in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        done.result(10)
    yield source, out
    for done in admin.delete_topics(names).values():
        done.result(10)


def write(brokers, topic, made):
    producer = Producer(clients.quiet(brokers, linger_ms=5))
    for partition, value, key in made:
        producer.produce(topic, value, key, partition=partition)
    assert producer.flush(10) == 0


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_an_app_writes_what_an_engine_for_each_partition_gives(brokers, topics, tmp_path, guarantee):
    source, out = topics
    made = apps.events(2000)
    write(brokers, source, made)
    app = apps.make_app(clients.new_name("app"), brokers, source, out, folder=tmp_path, guarantee=guarantee)
    statistics = app.run(until="end")
    assert apps.written(brokers, out) == apps.expected(made, source)
    assert statistics.rows == 2000


def test_a_run_goes_on_where_the_last_one_ended(brokers, topics, tmp_path):
    """State and offsets come back: matches and windows that lie across the end of a run are found once."""
    source, out = topics
    name, made = clients.new_name("app"), []
    for part in range(3):
        more = apps.events(300, seed=part, start=300 * part)
        made += more
        write(brokers, source, more)
        apps.make_app(name, brokers, source, out, folder=tmp_path).run(until="end")
    assert apps.written(brokers, out) == apps.expected(made, source)


@pytest.mark.parametrize(("state", "protocol"), [("changelog", "classic"), ("shared", "consumer")])
def test_a_state_moves_to_another_instance(brokers, admin, topics, tmp_path, state, protocol):
    """Through a compacted topic, or a store that all share; in groups of both kinds."""
    source, out = topics
    name, made = clients.new_name("app"), []
    where = state if state == "changelog" else str(tmp_path / state)
    for part in range(2):
        more = apps.events(300, seed=part, start=300 * part)
        made += more
        write(brokers, source, more)
        apps.make_app(
            name, brokers, source, out, folder=tmp_path / f"{part}", state=where, group_protocol=protocol
        ).run(until="end")  # fmt: skip
    assert apps.written(brokers, out) == apps.expected(made, source)
    if state == "changelog":
        admin.delete_topics([f"{name}-changelog"])[f"{name}-changelog"].result(10)


def test_a_run_from_the_start_begins_with_no_state(brokers, topics, tmp_path):
    source, out = topics
    name, made = clients.new_name("app"), apps.events(300)
    write(brokers, source, made)
    for since in (None, "earliest"):
        apps.make_app(name, brokers, source, out, folder=tmp_path).run(since=since, until="end")
    once = apps.expected(made, source)
    assert apps.written(brokers, out) == {
        output: {card: rows + rows for card, rows in by.items()} for output, by in once.items()
    }


def test_inputs_of_a_task_must_be_cut_alike(brokers, make_topic, tmp_path):
    one, other = make_topic(2), make_topic(3)
    app = fyke.App(clients.new_name("app"), brokers=brokers, folder=tmp_path)
    streams = [app.topic(name, schema=apps.SCHEMA, time="ts", unit="s") for name in (one, other)]
    streams[0].union(streams[1]).to("out")
    with pytest.raises(DefinitionError, match="inputs must have equally many partitions, .*: .* 2, .* 3"):
        app.run()


def test_rows_get_another_key_through_a_topic_of_the_apps_own(brokers, admin, topics, tmp_path):
    """Live, in two groups of one process, until all is there; then a second instance goes on."""
    source, out = topics
    name, made = clients.new_name("app"), apps.events(900, 3)
    source = f"{name}-in"
    admin.create_topics([NewTopic(source, 3, 1)])[source].result(10)
    wanted = None
    for part in range(2):
        write(brokers, source, made[part * 450 : (part + 1) * 450])
        wanted = apps.expected_by_amount(made[: (part + 1) * 450])["sums"]
        app = apps.make_app(
            name, brokers, source, out, streams=apps.by_amount, folder=tmp_path / f"{part}",
            state=str(tmp_path / "all"),
            commit_every="100ms",
        )  # fmt: skip
        running = threading.Thread(target=app.run)
        running.start()
        deadline = time.monotonic() + 40
        seen = {}
        while seen != wanted and time.monotonic() < deadline:
            seen = {}
            for value in clients.read_all(brokers, f"{out}-sums", within_s=40):
                row = json.loads(value)
                seen.setdefault(row["amount"], []).append(apps.plain(row))
        app.stop()
        running.join(30)
        assert seen == wanted
    for done in admin.delete_topics([source, f"{name}-amount-rekey"]).values():
        done.result(10)


def test_a_compacted_topic_is_a_table(brokers, make_topic, tmp_path):
    """Read to its end before anything else by a task that begins; both inputs of a task come to one instance."""
    limits, source, out = make_topic(2, cleanup_policy="compact"), make_topic(2), make_topic()
    app = fyke.App(clients.new_name("app"), brokers=brokers, folder=tmp_path, settings={"log_level": 0})
    table = app.table(limits, key="card", schema={"limit": apps.SCHEMA["amount"]})
    payments = app.topic(source, schema=apps.SCHEMA, time="ts", unit="s")
    payments.key_by("card").enrich(table).select("n", "limit").to(out)
    rows = [{"ts": n, "card": f"c{n % 4}", "n": n} for n in range(99)]
    write(brokers, source, [(row["n"] % 2, json.dumps(row).encode(), None) for row in rows])
    write(brokers, limits, [(n % 2, json.dumps({"limit": n % 4 + i}).encode(), b"c%d" % (n % 4))
                            for i in range(50) for n in range(4)] + [(1, None, b"c3")])  # fmt: skip
    app.run(until="end")
    rows = sorted((row["n"], row["limit"]) for row in map(json.loads, clients.read_all(brokers, out, within_s=40)))
    assert rows == [(n, None if n % 4 == 3 else n % 4 + 49.0) for n in range(99)]
