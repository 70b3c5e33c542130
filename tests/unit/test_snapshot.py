"""Snapshots of dict rows: every value of the payload and of the key comes back as it was, or cannot be written."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import fyke
from fyke import begin, col

START = dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=dt.UTC)
PAIR = begin("a", col.x == 1).followed_by("b", col.x == 2).within("1h").by("key")


@pytest.mark.parametrize(
    "key",
    [
        1, -(2**63), 2**63, 1.5, True, "é", "", b"\x00", (1, "a"), ((1, b"x"), dt.date(2024, 1, 1)),
        dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 12), START, dt.timedelta(microseconds=-1), UUID(int=7),
        Decimal("1.10"),
    ],
)  # fmt: skip
def test_a_key_of_any_type_is_the_same_key_after_a_restore(key: Any) -> None:
    original = fyke.Engine(PAIR, time="t", unit="s")
    original.push([{"t": 0, "x": 1, "key": key}])
    restored = fyke.Engine.restore(original.snapshot(), PAIR, time="t", unit="s")
    for engine in (original, restored):
        found = [*engine.push([{"t": 1, "x": 2, "key": key}]), *engine.flush()]
        assert [m.key for m in found] == [key]
        assert [type(m.key) for m in found] == [type(key)]


@pytest.mark.parametrize(
    "value",
    [
        None, True, 2**70, -0.0, 1e308, float("inf"), "\u2028\ud800", b"\xff", [1, [2.5, None]], {"a": {"b": [1]}},
        (1, (2,)), {"$bytes": "abc"}, {"$datetime": 5}, {"$dict": []}, {"$tuple": 1, "b": 2}, START,
        dt.datetime(2024, 1, 1), dt.date(2024, 1, 1), dt.timedelta(days=-3, seconds=2, microseconds=1), UUID(int=3),
        Decimal("-0.10"), Decimal("NaN"), {1: "a", "b": 2}, {(1, 2): 3}, dt.time(1, 2, 3),
        np.datetime64("2024-01-01T00:00:00.123456789"), {1, 2},
    ],
)  # fmt: skip
def test_a_payload_of_python_values_is_the_same_after_a_restore(value: Any) -> None:
    original = fyke.Engine(PAIR, time="t", unit="s")
    original.push([{"t": 0, "x": 1, "key": "k", "value": value}])
    restored = fyke.Engine.restore(original.snapshot(), PAIR, time="t", unit="s")
    (match,) = [*restored.push([{"t": 1, "x": 2, "key": "k"}]), *restored.flush()]
    assert repr(match["a"]["value"]) == repr(value)


def test_names_of_fields_that_are_no_strings_are_the_same_after_a_restore() -> None:
    original = fyke.Engine(PAIR, time="t", unit="s")
    original.push([{"t": 0, "x": 1, "key": "k", 5: "five", None: 0}])
    restored = fyke.Engine.restore(original.snapshot(), PAIR, time="t", unit="s")
    (match,) = [*restored.push([{"t": 1, "x": 2, "key": "k"}]), *restored.flush()]
    assert dict(match["a"]) == {"t": 0, "x": 1, "key": "k", 5: "five", None: 0}


def test_a_value_that_cannot_be_written_is_an_error_and_the_engine_goes_on() -> None:
    engine = fyke.Engine(PAIR, time="t", unit="s")
    engine.push([{"t": 0, "x": 1, "key": "k", "value": object()}])
    with pytest.raises(fyke.StateError, match="object object .* has no JSON form"):
        engine.snapshot()
    assert len([*engine.push([{"t": 1, "x": 2, "key": "k"}]), *engine.flush()]) == 1


def test_objects_come_back_as_rows_with_the_same_fields() -> None:
    """No class is looked up when a snapshot is read."""

    class Payment:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(fields)

    original = fyke.Engine(PAIR, time="t", unit="s")
    original.push([Payment(t=0, x=1, key="k", note="n")])
    restored = fyke.Engine.restore(original.snapshot(), PAIR, time="t", unit="s")
    (match,) = [*restored.push([{"t": 1, "x": 2, "key": "k"}]), *restored.flush()]
    assert match["a"] == {"t": 0, "x": 1, "key": "k", "note": "n"}


def test_a_pattern_with_a_lambda_takes_no_snapshot() -> None:
    engine = fyke.Engine(begin("a", lambda event: event.x > 0), time="t", unit="s")
    with pytest.raises(fyke.StateError, match="name it at module level"):
        engine.snapshot()


def test_a_snapshot_is_small_when_nothing_is_open() -> None:
    engine = fyke.Engine(PAIR, time="t", unit="s")
    empty = len(engine.snapshot())
    engine.push([{"t": n, "x": 1, "key": n, "blob": "x" * 1000} for n in range(1000)])
    assert len(engine.snapshot()) > 1_000_000
    engine.advance(10**15)
    assert len(engine.snapshot()) < empty + 500
