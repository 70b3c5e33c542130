"""Rows by another key: order does not depend on how their writers interleave; silence, the end, what is refused."""

import json

import pyarrow as pa
import pytest

import fyke
from fyke import agg, col, tumbling
from fyke.errors import DefinitionError, StateError
from tests.kafka import memory
from tests.kafka.memory_app import Parts, parts_of, rows, runtime_of

SCHEMA = {"ts": pa.int64(), "card": pa.string(), "shop": pa.string(), "n": pa.int64()}


def an_app(**options):
    app = fyke.App("app", brokers="localhost:9092")
    return app, app.topic("in", schema=SCHEMA, time="ts", unit="s", **options)


def started(app, cluster, blobs=None, **options):
    blobs = {} if blobs is None else blobs
    plans = parts_of(app, cluster)
    return Parts([
        runtime_of(plan, cluster, blobs, name=f"one-{i}", part=f"{i}-", **options) for i, plan in enumerate(plans)
    ])  # fmt: skip


def put(cluster, partition, *events):
    for ts, n in events:
        value = {"ts": ts, "card": f"c{partition}", "shop": "s", "n": n}
        cluster.write("in", partition, json.dumps(value).encode())


def turn(parts, cluster, times=6):
    for _ in range(times):
        cluster.clock.now += 0.4
        parts.step(0)


PAIR = fyke.begin("one").next("other").by("shop").within("1h").skip(fyke.skip.past_last_event()).named("pair")


def pairs(stream):
    found = stream.rekey("shop").match(PAIR)
    return found.select("shop", one=col["one.n"], other=col["other.n"])


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("batch", [1, 100])
def test_neighbours_are_the_same_whichever_partition_is_read_first(first, batch):
    """Equal times go by partition, then by offset."""
    app, stream = an_app()
    pairs(stream).to("out")
    cluster = memory.Cluster({"in": 2, "out": 1})
    parts = started(app, cluster, batch=batch)
    given = {0: [(1, 10), (3, 11), (3, 12), (9, 13)], 1: [(2, 20), (3, 21), (9, 22)]}
    for partition in (first, 1 - first):
        put(cluster, partition, *given[partition])
        turn(parts, cluster, 40)
    assert [(row["one"], row["other"]) for row in rows(cluster, "out")] == [(10, 20), (11, 12)]


def test_nothing_comes_out_before_every_partition_has_passed_it_and_idle_ones_do_not_count():
    app, stream = an_app(idle="5s")
    stream.rekey("shop").select("n").to("out")
    cluster = memory.Cluster({"in": 2, "out": 1})
    parts = started(app, cluster)
    put(cluster, 0, (1, 1), (2, 2), (3, 3))
    turn(parts, cluster)
    assert rows(cluster, "out") == []
    cluster.clock.now += 3  # partition 1 has been silent for 5 s, partition 0 has not
    put(cluster, 0, (4, 4))
    turn(parts, cluster, 3)
    assert rows(cluster, "out") == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_what_was_idle_and_writes_again_comes_behind_what_is_out_already():
    app, stream = an_app(idle="5s")
    again = stream.rekey("shop")
    again.select("n").to("out")
    again.key_by("shop").window(tumbling("1s")).aggregate(n=agg.count()).late.select("n").to("late")
    cluster = memory.Cluster({"in": 2, "out": 1, "late": 1})
    parts = started(app, cluster)
    put(cluster, 0, (1, 1), (9, 2))
    turn(parts, cluster, 9)
    put(cluster, 0, (12, 3))
    turn(parts, cluster, 9)
    before = rows(cluster, "out")
    put(cluster, 1, (2, 7), (30, 8))
    put(cluster, 0, (30, 4))
    turn(parts, cluster, 9)
    assert [row["n"] for row in before] == [1, 2]
    assert [row["n"] for row in rows(cluster, "out")] == [1, 2, 3, 7]
    assert rows(cluster, "late") == [{"n": 7}]


def test_what_waits_is_part_of_the_state():
    app, stream = an_app()
    pairs(stream).to("out")
    cluster, blobs = memory.Cluster({"in": 2, "out": 1}), {}
    for partition, events in ((0, [(1, 10), (3, 11), (9, 12)]), (1, [(2, 20)]), (1, [(9, 21)])):
        put(cluster, partition, *events)
        parts = started(app, cluster, blobs)
        turn(parts, cluster)
        parts.stop()
    assert [(row["one"], row["other"]) for row in rows(cluster, "out")] == [(10, 20)]


def test_other_writers_than_before_are_an_error():
    app, stream = an_app()
    pairs(stream).to("out")
    cluster, blobs = memory.Cluster({"in": 2, "out": 1}), {}
    put(cluster, 0, (1, 10))
    parts = started(app, cluster, blobs)
    turn(parts, cluster)
    parts.stop()
    cluster.numbers["in"] = 3
    cluster.logs["in", 2] = memory.Log()
    with pytest.raises(DefinitionError, match="app-shop-rekey has 2 partitions and must have 3"):
        started(app, cluster, blobs)


def test_equal_keys_meet_in_one_partition_and_all_partitions_are_used():
    app, stream = an_app()
    stream.rekey("card", "n", name="fine", partitions=5).select("n").to("out")
    cluster = memory.Cluster({"in": 2, "out": 1})
    parts = started(app, cluster)
    for _ in range(2):
        put(cluster, 0, *((i, i) for i in range(40)))
        turn(parts, cluster, 2)
    partitions = {}
    for p in range(5):
        for entry in cluster.logs["app-fine-rekey", p]:
            if memory.is_visible(entry) and entry.value is not None:
                for n in pa.ipc.open_stream(entry.value).read_all()["n"].to_pylist():
                    partitions.setdefault(n, set()).add(p)
    assert all(len(found) == 1 for found in partitions.values())
    assert set().union(*partitions.values()) == set(range(5))


def test_mistakes_are_found_when_they_are_made():
    app, stream = an_app()
    with pytest.raises(DefinitionError, match=r"rekey\('shops'\): no such column; there are ts, card, shop, n"):
        stream.rekey("shops")
    with pytest.raises(DefinitionError, match="say the columns of the key"):
        stream.rekey()
    with pytest.raises(DefinitionError, match="the columns are not known yet: give map or process a schema="):
        stream.map(dict).rekey("shop")
    again = stream.rekey("shop")
    with pytest.raises(DefinitionError, match="there is app-shop-rekey already: give this one a name= of its own"):
        stream.rekey("shop")
    with pytest.raises(DefinitionError, match="nothing is sent anywhere"):
        app.plans()
    again.to("out")
    assert [plan.inputs for plan in app.plans()] == [["in"], ["app-shop-rekey"]]
    stream.map(lambda row: row, schema=pa.schema(list(SCHEMA.items()))).rekey("n").to("more")
    with pytest.raises(StateError, match="holds a lambda or local function"):
        app.plans()
