"""Nothing grows with what is gone: keys, windows, rows that aggregates hold; and a million open sessions fit."""

import gc
import weakref

import numpy as np
import pyarrow as pa

from fyke import agg, col, trigger, window
from fyke.operator import END, Batch, Marks
from fyke.operators.windowed import Windowed

SCHEMA = pa.schema([("key", pa.int64()), ("v", pa.float64())])
N = 50_000


def batch(i, keys, out_of_order=0):
    """N rows a nanosecond apart, with a watermark after each."""
    times = np.arange(i * N, (i + 1) * N, dtype=np.int64)
    origins = times.astype(np.uint64)
    rows = pa.RecordBatch.from_arrays([pa.array(keys), pa.array(times.astype(np.float64))], schema=SCHEMA)
    return Batch(rows, times, origins, Marks(origins, times - out_of_order - 1))


def run(operator, n_batches, keys):
    """Feed batches; gives the bytes that the kernel has after each."""
    used = []
    for i in range(n_batches):
        operator.step([batch(i, keys(i))])
        used.append(operator.core.counters()["bytes"])
    return used


def finish(operator):
    operator.step([Batch.empty(SCHEMA, Marks.one(10**12, END))])
    operator.check()
    held = operator.statistics()
    assert {name: held[name] for name in ("windows", "keys", "groups", "timers", "held_rows")} == dict.fromkeys(
        ("windows", "keys", "groups", "timers", "held_rows"), 0
    )


def test_rotating_keys_leave_nothing_behind():
    """A million rows, each of a key of its own."""
    for made in (window.Tumbling(1000), window.Hopping(1000, 300), window.Session(500)):
        operator = Windowed(made, {"n": agg.count(), "sum": agg.sum("v")}, SCHEMA, [col.key])
        used = run(operator, 20, lambda i: np.arange(i * N, (i + 1) * N) * 7919)
        assert max(used[5:]) <= used[4]
        assert operator.statistics()["results"] > 900_000
        finish(operator)


def test_few_keys_without_windows_are_kept():
    """They are most likely to come back; 1,024 of them, or as many as were live lately."""
    operator = Windowed(window.Tumbling(100), {"n": agg.count()}, SCHEMA, [col.key])
    operator.step([batch(0, np.arange(N))])
    assert operator.core.counters()["dictionary"] <= 1024 + 100
    for i in range(1, 5):
        operator.step([batch(i, np.arange(N) % 10)])
    assert operator.core.counters()["dictionary"] <= 1024 + 10
    assert operator.statistics()["keys"] == 10
    finish(operator)


def test_rows_that_aggregates_hold_go_with_their_windows():
    schema = pa.schema([("key", pa.int64()), ("text", pa.string())])
    operator = Windowed(window.Session(1000), {"last": agg.last("text")}, schema, [col.key], allowed_lateness="50ns")
    payload = []
    for i in range(120):
        times = np.arange(i * 500, (i + 1) * 500, dtype=np.int64)
        rows = pa.RecordBatch.from_pydict({"key": times % 50, "text": [f"text {t}" for t in times]}, schema)
        operator.step([Batch(rows, times, times.astype(np.uint64), Marks(times.astype(np.uint64), times - 1))])
        payload.append(operator.rows.counters()["segment_rows"])
    assert operator.rows.counters()["rows"] == 50  # one row a session, whatever it has seen
    assert max(payload) <= 70_000
    assert max(payload[70:]) <= max(payload[:70])


def test_a_million_sessions_are_open_at_once():
    operator = Windowed(window.Session(10**9), {"n": agg.count(), "sum": agg.sum("v")}, SCHEMA, [col.key])
    run(operator, 20, lambda i: np.arange(i * N, (i + 1) * N))
    held = operator.statistics()
    assert held["windows"] == held["keys"] == 1_000_000
    assert held["bytes"] < 300 * 1_000_000
    finish(operator)


def test_a_global_window_of_a_key_is_one_record():
    operator = Windowed(
        window.global_window(), {"n": agg.count()}, SCHEMA, [col.key], trigger=trigger.count(1000, purge=True)
    )
    used = run(operator, 20, lambda i: np.arange(N) % 500)
    assert max(used[11:]) <= used[10]  # the first results come with batch 10
    assert operator.statistics()["windows"] == 500


def test_windows_that_hold_rows_may_lie_in_a_cycle():
    """The collector empties the objects of a cycle one by one; the kernel gives its rows back to their store last."""
    schema = pa.schema([("key", pa.int64()), ("name", pa.string())])
    operator = Windowed(window.Tumbling(10 * N), {"first": agg.first("name")}, schema, [col.key])
    times = np.arange(1000, dtype=np.int64)
    rows = pa.RecordBatch.from_arrays([pa.array(times), pa.array([str(t) for t in times])], schema=schema)
    operator.step([Batch(rows, times, times.astype(np.uint64), Marks.none())])
    assert operator.statistics()["held_rows"] == 1000
    kept = weakref.ref(operator)
    operator.itself = [operator, operator.core]
    del operator
    gc.collect()
    assert kept() is None
