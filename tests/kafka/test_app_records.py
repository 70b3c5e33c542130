"""Records that cannot be read, silence, the end, rows on their way out, states; on the broker in memory."""

import json

import pyarrow as pa
import pytest

import fyke
from fyke import agg, col, tumbling
from fyke.errors import DataError, DefinitionError, StateError
from tests.kafka import memory
from tests.kafka.memory_app import rows, run_to_end, runtime_of

SCHEMA = {"ts": pa.int64(), "card": pa.string(), "amount": pa.float64()}


def an_app(**options):
    app = fyke.App("app", brokers="localhost:9092")
    return app, app.topic("in", schema=SCHEMA, time="ts", unit="s", **options)


def a_cluster(partitions=1):
    return memory.Cluster({"in": partitions, "out": 1, "dead": 1})


def put(cluster, *values, partition=0):
    for value in values:
        cluster.write("in", partition, value if isinstance(value, bytes) else json.dumps(value).encode())


def event(ts, amount=1.0, card="x"):
    return {"ts": ts, "card": card, "amount": amount}


def started(app, cluster, blobs=None, **options):
    return runtime_of(app.plans()[0], cluster, {} if blobs is None else blobs, **options)


# -- poison


def test_a_record_that_cannot_be_read_ends_the_run_and_says_which():
    app, stream = an_app()
    stream.to("out")
    cluster = a_cluster()
    put(cluster, event(1), b"{", event(2))
    runtime = started(app, cluster)
    with pytest.raises(DataError, match=r'in/0: record 1 cannot be read: .* on_error="skip"'):
        run_to_end(runtime, cluster)
    runtime.fail()
    assert rows(cluster, "out") == []


def test_skipped_records_are_counted():
    app, stream = an_app(on_error="skip")
    stream.select("ts").to("out")
    cluster = a_cluster()
    put(cluster, event(1), b"{", event(2), {"ts": "x"})
    runtime = started(app, cluster)
    run_to_end(runtime, cluster)
    assert rows(cluster, "out") == [{"ts": 1}, {"ts": 2}]
    assert runtime.statistics().poison == 2


def test_a_dead_letter_is_the_record_as_it_was_with_error_and_origin_in_its_headers():
    app, stream = an_app(on_error="dead_letter", dead_letters="dead")
    stream.to("out")
    cluster = a_cluster()
    put(cluster, event(1))
    cluster.write("in", 0, b'{"ts": "soon"}', b"the key")
    run_to_end(started(app, cluster), cluster)
    (letter,) = [entry for entry in cluster.logs["dead", 0] if not entry.is_marker]
    headers = dict(letter.headers)
    assert (letter.value, letter.key) == (b'{"ts": "soon"}', b"the key")
    assert headers["fyke.error"] == b'field `ts`: expected int64, got "soon" at byte 7'
    assert [headers[f"fyke.{name}"] for name in ("topic", "partition", "offset")] == [b"in", b"0", b"1"]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_too_many_poison_records_in_a_row_end_the_run_however_they_are_read(batch):
    app, stream = an_app(on_error="skip", errors_in_a_row=3)
    stream.to("out")
    cluster = a_cluster()
    put(cluster, b"{", b"{", b"{", event(1), b"{", b"{", b"{", b"{", event(2))
    runtime = started(app, cluster, batch=batch)
    with pytest.raises(DataError, match="more than 3 records in a row cannot be read, the last at offset 7"):
        run_to_end(runtime, cluster)


def test_a_tombstone_is_no_row():
    app, stream = an_app()
    stream.to("out")
    cluster = a_cluster()
    cluster.write("in", 0, None, b"key")
    runtime = started(app, cluster)
    run_to_end(runtime, cluster)
    assert (runtime.statistics().tombstones, runtime.statistics().rows) == (1, 0)


# -- time


def windows(stream):
    return stream.key_by("card").window(tumbling("10s")).aggregate(n=agg.count()).select("card", "n")


def test_a_silent_partition_follows_the_wall_clock_where_that_is_asked_for():
    app, stream = an_app(idle="1s", advance="wall_clock", delay="5s")
    windows(stream).to("out")
    cluster = a_cluster()
    put(cluster, event(1))
    runtime = started(app, cluster)
    for now in (0.1, 1.0, 14.0):
        cluster.clock.now = now
        runtime.step(0)
    assert rows(cluster, "out") == []
    cluster.clock.now = 16.0  # 5 s before that the window has ended
    runtime.step(0)
    runtime.stop()
    assert rows(cluster, "out") == [{"card": "x", "n": 1}]


def test_what_the_clock_has_brought_about_is_not_brought_about_again_after_a_restart():
    app, stream = an_app(idle="1s", advance="wall_clock", delay="0s")
    windows(stream).to("out")
    cluster, blobs = a_cluster(), {}
    put(cluster, event(1))
    for _ in range(2):
        runtime = started(app, cluster, blobs)
        for _ in range(9):
            cluster.clock.now += 2
            runtime.step(0)
        runtime.stop()
    assert rows(cluster, "out") == [{"card": "x", "n": 1}]


def test_flush_lets_open_windows_come_out():
    app, stream = an_app()
    windows(stream).to("out")
    cluster = a_cluster()
    put(cluster, event(1), event(2))
    runtime = started(app, cluster)
    runtime.step(0)
    runtime.flush()
    runtime.stop()
    assert rows(cluster, "out") == [{"card": "x", "n": 2}]


# -- out


def test_a_lambda_at_the_end_of_a_stream_is_no_part_of_the_state():
    app, stream = an_app()
    windows(stream).map(lambda row: [{"text": f"{row['card']}{i}"} for i in range(row["n"])]).to("out", key="text")
    cluster, blobs = a_cluster(), {}
    for ts in (1, 2, 10, 20):
        put(cluster, event(ts))
        run_to_end(started(app, cluster, blobs), cluster, steps=3)
    assert rows(cluster, "out") == [{"text": "x0"}, {"text": "x1"}, {"text": "x0"}]
    assert [entry.key for entry in cluster.logs["out", 0] if not entry.is_marker] == [b"x0", b"x1", b"x0"]


def test_a_lambda_in_the_middle_of_a_stream_is_refused_before_anything_is_connected():
    app, stream = an_app()
    windows(stream.map(lambda row: row, schema=pa.schema(list(SCHEMA.items())))).to("out")
    with pytest.raises(StateError, match="holds a lambda or local function: name it at module level"):
        app.plans()[0]


def test_rows_go_to_a_function_before_they_are_committed():
    app, stream = an_app()
    seen = []
    stream.filter(col.amount > 5).to(seen.extend)
    cluster = a_cluster()
    put(cluster, event(1, 9.5), event(2, 1.0))
    run_to_end(started(app, cluster), cluster)
    assert seen == [{"ts": 1, "card": "x", "amount": 9.5}]


def test_numbers_that_json_has_no_word_for_are_null():
    app, stream = an_app()
    stream.select(ratio=col.amount / 0.0).to("out")
    cluster = a_cluster()
    put(cluster, event(1))
    run_to_end(started(app, cluster), cluster)
    assert rows(cluster, "out") == [{"ratio": None}]


@pytest.mark.parametrize(("options", "stamp"), [({}, 0), ({"event_time": True}, 7_000)])
def test_records_have_the_time_of_writing_unless_that_of_their_row_is_asked_for(options, stamp):
    """A topic that keeps records for a week would drop the results of old events at once."""
    app, stream = an_app()
    stream.to("out", **options)
    cluster = a_cluster()
    put(cluster, event(7))
    run_to_end(started(app, cluster), cluster)
    assert cluster.logs["out", 0][0].timestamp == stamp


# -- states


def test_a_partition_whose_state_another_instance_has_is_an_error_that_says_what_helps():
    app, stream = an_app()
    windows(stream).to("out")
    cluster = a_cluster()
    put(cluster, event(1))
    run_to_end(started(app, cluster, is_shared=False), cluster)
    with pytest.raises(StateError, match=r'partition 0 is not here: another instance has it, .* state="s3://'):
        started(app, cluster, is_shared=False).step(0)


def test_streams_without_state_keep_offsets_alone():
    app, stream = an_app()
    stream.filter(col.amount > 5).select("ts").to("out")
    cluster, blobs = a_cluster(), {}
    for ts in (1, 2):
        put(cluster, event(ts, 9.0), event(ts, 1.0))
        run_to_end(started(app, cluster, blobs), cluster)
    assert rows(cluster, "out") == [{"ts": 1}, {"ts": 2}]
    assert not blobs


def test_a_state_is_asked_for_where_the_streams_have_one_now():
    app, stream = an_app()
    stream.to("out")
    cluster = a_cluster()
    put(cluster, event(1))
    run_to_end(started(app, cluster), cluster)
    app, stream = an_app()
    windows(stream).to("out")
    with pytest.raises(StateError, match="is not here"):
        started(app, cluster).step(0)


def test_a_damaged_state_is_an_error():
    app, stream = an_app()
    windows(stream).to("out")
    cluster, blobs = a_cluster(), {}
    put(cluster, event(1))
    run_to_end(started(app, cluster, blobs), cluster)
    ((name, blob),) = blobs.items()
    blobs[name] = blob[:-1] + bytes([blob[-1] ^ 1])
    with pytest.raises(StateError, match=r"task 0, checkpoint 1-.*: CRC .* was committed: it is damaged"):
        started(app, cluster, blobs).step(0)


def test_more_partitions_than_before_are_an_error():
    """Keys would be in other partitions than their state."""
    app, stream = an_app()
    windows(stream).to("out")
    cluster, blobs = a_cluster(), {}
    put(cluster, event(1))
    run_to_end(started(app, cluster, blobs), cluster)
    cluster.numbers["in"] = 2
    cluster.logs["in", 1] = memory.Log()
    with pytest.raises(StateError, match="the inputs had 1 partitions and have 2"):
        started(app, cluster, blobs).step(0)


def test_only_the_last_state_of_a_task_is_kept():
    app, stream = an_app()
    windows(stream).to("out")
    cluster, blobs = a_cluster(2), {}
    runtime = started(app, cluster, blobs)
    for ts in range(10):
        put(cluster, event(ts), partition=ts % 2)
        cluster.clock.now += 1
        runtime.step(0)
    assert sorted(name.partition(".")[0] for name in blobs) == ["task-0", "task-1"]


# -- several inputs


def test_tasks_with_two_inputs_join_what_has_the_same_partition_number():
    app, left = an_app(idle="1s")
    right = app.topic("other", schema=SCHEMA, time="ts", unit="s")
    joined = left.key_by("card").join(right.key_by("card"), fyke.join.interval("-5s", "5s"))
    joined.select("card", "amount", "amount_right").to("out")
    cluster, blobs = memory.Cluster({"in": 2, "other": 2, "out": 1}), {}
    for p in (0, 1):
        put(cluster, event(10, 1.0, f"c{p}"), partition=p)
    run_to_end(started(app, cluster, blobs), cluster)
    for p in (0, 1):
        cluster.write("other", p, json.dumps(event(12, 2.0, f"c{p}")).encode())
    run_to_end(started(app, cluster, blobs), cluster)
    assert sorted(row["card"] for row in rows(cluster, "out")) == ["c0", "c1"]


# -- what is refused when it is written


def test_mistakes_are_found_when_they_are_made():
    app, stream = an_app()
    with pytest.raises(DefinitionError, match="nothing is sent anywhere"):
        app.plans()[0]
    with pytest.raises(DefinitionError, match='topic "in" is read already'):
        app.topic("in", schema=SCHEMA, time="ts", unit="s")
    with pytest.raises(DefinitionError, match="no such column; there are ts, card, amount"):
        stream.to("out", key="kard")
    with pytest.raises(DefinitionError, match="KeyedStream has no rows yet"):
        stream.key_by("card").to("out")
    with pytest.raises(DefinitionError, match="say the columns with schema="):
        app.topic("more", time="ts")
    with pytest.raises(DefinitionError, match='dead_letters= names the topic for on_error="dead_letter"'):
        app.topic("more", schema=SCHEMA, time="ts", unit="s", on_error="dead_letter")
    with pytest.raises(DefinitionError, match='advance="wall_clock" needs idle='):
        app.topic("more", schema=SCHEMA, time="ts", unit="s", advance="wall_clock", delay="1s")
    with pytest.raises(DefinitionError, match="guarantee='twice': expected one of exactly_once, at_least_once"):
        fyke.App("app", brokers="localhost:9092", guarantee="twice")
    with pytest.raises(DefinitionError, match="offsets are committed with the results"):
        fyke.App("app", brokers="localhost:9092", settings={"enable.auto.commit": True})
