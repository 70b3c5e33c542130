"""Nothing grows with what is gone, and what a result shows stays as long as the result."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fyke
from fyke import begin, col, prev, ref

SECOND = 1_000_000_000
FAR = 10**9 * SECOND


def batches(n: int, size: int = 20_000, rotate: int = 10, text_keys: bool = False) -> Iterator[pa.RecordBatch]:
    """n events, one a second, with values 0 to 99; every `rotate` events the key changes for good."""
    for first in range(0, n, size):
        t = np.arange(first, min(first + size, n))
        key: Any = pa.array(t // rotate)
        if text_keys:
            key = pa.array([f"customer number {k}" for k in (t // rotate).tolist()])
        yield pa.record_batch({"t": t, "key": key, "x": t * 37 % 100})


def assert_empty(engine: fyke.Engine, most_bytes: int) -> None:
    """Nothing is open, held or pinned, and the core's own tables are small."""
    engine.check()
    s = engine.statistics()
    held = (s.partials, s.held, s.keys, s.waiting, s.pinned_rows, s.segments, s.payload_bytes)
    assert held == (0, 0, 0, 0, 0, 0, 0)
    assert s.bytes < most_bytes


HIGH_LOW = begin("high", col.x > 50).followed_by_any("low", col.x < 50).within("60s").by("key")


@pytest.mark.parametrize("text_keys", [False, True])
def test_a_million_events_with_rotating_keys_leave_nothing(text_keys: bool) -> None:
    engine = fyke.Engine(HIGH_LOW, time="t", unit="s", out_of_order="10s", timeouts=True)
    matches = 0
    most_partials = most_bytes = 0
    for batch in batches(1_000_000, text_keys=text_keys):
        matches += len(engine.push(batch))
        s = engine.statistics()
        most_partials, most_bytes = max(most_partials, s.partials), max(most_bytes, s.bytes + s.payload_bytes)
    assert most_partials < 100, "sixty seconds hold sixty events"
    assert most_bytes < 20_000_000
    matches += len(engine.advance(FAR))
    assert matches == pairs_by_hand(1_000_000)
    assert_empty(engine, 10_000_000)
    assert engine.statistics().late == 0


def pairs_by_hand(n: int) -> int:
    """Count the pairs of a high before a low among the ten events of each key."""
    x = (np.arange(n) * 37 % 100).reshape(-1, 10)
    highs_before = np.cumsum(x > 50, axis=1) - (x > 50)
    return int((highs_before * (x < 50)).sum())


def test_a_million_rows_one_by_one_and_out_of_order_leave_nothing() -> None:
    """Small pushes, of a few rows each, in an order that keeps the reorder buffer busy; some keys stay open long."""
    engine = fyke.Engine(HIGH_LOW, time="t", unit="s", out_of_order="30s")
    n = 1_000_000
    t = np.arange(n)
    shuffled = t.reshape(-1, 20)[:, ::-1].reshape(-1)
    table = pa.record_batch({"t": shuffled, "key": shuffled // 10, "x": shuffled * 37 % 100})
    matches, most_segments, at = 0, 0, 0
    for size in cycle((1, 2, 500, 3, 2000, 1)):
        matches += len(engine.push(table.slice(at, size)))
        most_segments = max(most_segments, engine.statistics().segments)
        at += size
        if at >= n:
            break
    matches += len(engine.flush())
    assert matches == pairs_by_hand(n)
    assert most_segments < 500
    assert_empty(engine, 10_000_000)


def test_held_matches_and_branching_patterns_leave_nothing() -> None:
    branching = (
        begin("a", col.x > 60)
        .followed_by_any("b", col.x > ref("a").x, col.x != prev.x)
        .one_or_more()
        .allow_combinations()
        .not_followed_by("c", col.x == 99)
        .within("30s")
        .by("key")
        .skip(fyke.skip.past_last_event())
    )
    engine = fyke.Engine(branching, time="t", unit="s", key_ttl="120s", timeouts=True)
    found = sum(len(engine.push(batch)) for batch in batches(150_000))
    found += len(engine.advance(FAR))
    assert found > 10_000
    assert_empty(engine, 20_000_000)


def test_a_result_stays_right_over_a_million_further_rows() -> None:
    engine = fyke.Engine(HIGH_LOW, time="t", unit="s", timeouts=True)
    engine.push([{"t": 1, "key": -1, "x": 80, "note": ["kept"]}])
    held = engine.push([{"t": 2, "key": -1, "x": 20, "note": b"\x00"}, {"t": 3, "key": -1, "x": 10}, {"t": 0, "x": 1}])
    first = held[0]
    arrow = engine.push(pa.record_batch({"t": [4, 5], "key": [-2, -2], "x": [99, 1], "note": [{"deep": [1]}, None]}))
    for batch in batches(1_000_000):
        engine.push(pa.record_batch({"t": pa.array(batch["t"]).cast(pa.int64()), "key": batch["key"], "x": batch["x"]}))
        engine.compact()
    ends = [*held, *engine.flush()]
    assert first["high"] == {"t": 1, "key": -1, "x": 80, "note": ["kept"]}
    assert [(m.key, m["high"]["x"], m["low"]["x"]) for m in ends[:1]] == [(-1, 80, 20)]
    assert first["low"]["note"] == b"\x00"
    assert list(held.late) == [{"t": 0, "x": 1}]
    assert [(m["high"].position, m["low"].position, m["low"]["x"]) for m in arrow if m.key == -1] == [(0, 2, 10)]


def test_a_result_lets_its_rows_go_when_it_is_dropped() -> None:
    class Row:
        def __init__(self, **values: Any) -> None:
            self.__dict__.update(values)

    engine = fyke.Engine(HIGH_LOW, time="t", unit="s")
    rows = [Row(t=1, key="k", x=80), Row(t=2, key="k", x=20)]
    alive = [weakref.ref(row) for row in rows]
    engine.push(rows)
    result = engine.flush()
    del rows
    gc.collect()
    assert [r() is not None for r in alive] == [True, True]
    match = result[0]
    del result
    gc.collect()
    assert match["high"]["x"] == 80
    del match
    gc.collect()
    assert [r() for r in alive] == [None, None]
    assert_empty(engine, 1_000_000)


def test_rows_that_concern_no_pattern_are_not_kept() -> None:
    engine = fyke.Engine(HIGH_LOW, time="t", unit="s", out_of_order="1h")
    engine.push([{"t": t, "key": "k", "x": 50} for t in range(1000)])
    s = engine.statistics()
    assert (s.waiting, s.pinned_rows, s.segments, s.payload_bytes) == (0, 0, 0, 0)
    assert s.rows == 1000


def test_one_open_partial_match_keeps_one_row_and_not_its_batch() -> None:
    engine = fyke.Engine(HIGH_LOW.within("10s"), time="t", unit="s")
    t = np.arange(1_000_000)
    x = np.full(len(t), 50)
    x[[5, 400_000, 999_999]] = 99
    for first in range(0, len(t), 100_000):
        rows = slice(first, first + 100_000)
        engine.push(pa.record_batch({"t": t[rows] // 200_000, "key": t[rows], "x": x[rows]}))
    assert engine.statistics().pinned_rows > 100_000
    assert (engine.statistics().partials, engine.statistics().waiting) == (2, 1)
    engine.compact()
    s = engine.statistics()
    assert (s.pinned_rows, s.segments) == (3, 1)
    assert s.payload_bytes < 1_000
    engine.check()


def test_key_ttl_forgets_what_prev_needs() -> None:
    jump = begin("jump", col.x > prev.x + 90).by("key")
    engine = fyke.Engine(jump, time="t", unit="s", key_ttl="60s")
    most = 0
    for batch in batches(300_000):
        engine.push(batch)
        most = max(most, engine.statistics().keys)
    assert most < 60, "sixty seconds of ten events a key"
    engine.advance(FAR)
    assert_empty(engine, 10_000_000)
    assert engine.statistics().expired_keys == 30_000


def test_prev_without_key_ttl_keeps_one_row_a_key() -> None:
    jump = begin("jump", col.x > prev.x + 90).by("key")
    engine = fyke.Engine(jump, time="t", unit="s")
    for batch in batches(100_000, rotate=1000):
        engine.push(batch)
    engine.flush()
    engine.compact()
    s = engine.statistics()
    assert (s.keys, s.pinned_rows, s.segments, s.partials) == (100, 100, 1, 0)
