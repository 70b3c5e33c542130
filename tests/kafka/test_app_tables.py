"""A compacted topic as a table: read first, deleted by records without a value, part of the state."""

import json

import pyarrow as pa
import pytest

import fyke
from fyke.errors import DefinitionError
from tests.kafka import memory
from tests.kafka.memory_app import rows, run_to_end, runtime_of


def an_app():
    app = fyke.App("app", brokers="localhost:9092")
    limits = app.table("limits", key="card", schema={"limit": pa.float64()})
    payments = app.topic(
        "in", schema={"ts": pa.int64(), "card": pa.string(), "amount": pa.float64()}, time="ts", unit="s"
    )  # fmt: skip
    payments.key_by("card").enrich(limits).select("card", "amount", "limit").to("out")
    return app


def a_cluster():
    return memory.Cluster({"in": 2, "limits": 2, "out": 1})


def limit(cluster, card, value, partition=0):
    cluster.write("limits", partition, None if value is None else json.dumps({"limit": value}).encode(), card.encode())


def pay(cluster, ts, card, partition=0):
    cluster.write("in", partition, json.dumps({"ts": ts, "card": card, "amount": 1.0}).encode())


def found(cluster):
    return [(row["card"], row["limit"]) for row in rows(cluster, "out")]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_task_that_begins_reads_its_table_first(batch):
    """However many records the table has: no payment is judged without the limit that is there already."""
    cluster = a_cluster()
    for i in range(9):
        pay(cluster, i, "x")
        limit(cluster, "x" if i == 8 else f"other-{i}", float(i))
        pay(cluster, i, "y", partition=1)
    run_to_end(runtime_of(an_app().plans()[0], cluster, {}, batch=batch), cluster, steps=40)
    assert found(cluster).count(("x", 8.0)) == 9
    assert found(cluster).count(("y", None)) == 9


def test_a_record_without_a_value_deletes_its_key_and_the_table_is_part_of_the_state():
    cluster, blobs = a_cluster(), {}
    limit(cluster, "x", 1.0)
    limit(cluster, "y", 2.0)
    for change in (None, ("x", 3.0), ("y", None), ("x", None), ("y", 4.0)):
        if change is not None:
            limit(cluster, *change)
        runtime = runtime_of(an_app().plans()[0], cluster, blobs)
        for _ in range(4):
            runtime.step(0)
        pay(cluster, 1, "x")
        pay(cluster, 1, "y")
        run_to_end(runtime, cluster)
    assert found(cluster) == [
        ("x", 1.0), ("y", 2.0), ("x", 3.0), ("y", 2.0), ("x", 3.0), ("y", None), ("x", None), ("y", None),
        ("x", None), ("y", 4.0),
    ]  # fmt: skip


def test_a_deletion_counts_where_it_stands_among_the_records_of_its_batch():
    cluster = a_cluster()
    for value in (1.0, None, 2.0):
        limit(cluster, "x", value)
    for value in (1.0, 2.0, None):
        limit(cluster, "y", value)
    pay(cluster, 1, "x")
    pay(cluster, 1, "y")
    run_to_end(runtime_of(an_app().plans()[0], cluster, {}), cluster)
    assert found(cluster) == [("x", 2.0), ("y", None)]


def test_a_task_that_dies_while_it_reads_its_table_goes_on_with_that_first():
    cluster, blobs = a_cluster(), {}
    for i in range(9):
        limit(cluster, "x", float(i))
    pay(cluster, 1, "x")
    runtime = runtime_of(an_app().plans()[0], cluster, blobs, batch=2)
    for _ in range(3):
        cluster.clock.now += 0.4
        runtime.step(0)
    assert 0 < cluster.groups["app"].offsets["limits", 0][0] < 9
    cluster.expire("app", runtime._reader._client.name)
    run_to_end(runtime_of(an_app().plans()[0], cluster, blobs, batch=2), cluster)
    assert found(cluster) == [("x", 8.0)]


def test_a_topic_is_read_once():
    app = an_app()
    with pytest.raises(DefinitionError, match='topic "limits" is read already'):
        app.table("limits", key="card", schema={"limit": pa.float64()})
