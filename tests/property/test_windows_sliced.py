"""Windows put together from slices are those that rows are added to one by one: results, counts, snapshots."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fyke import agg, col, window
from fyke.operator import END, START, Batch, Marks
from fyke.operators.windowed import Windowed
from tests.conformance.window_adapter import Feed, Ran, take, window_for, windowing_for
from tests.property.window_oracle import SCHEMA, same, with_rows
from tests.property.window_strategies import cases

ROWS = pa.schema([("key", pa.string()), ("x", pa.float64()), ("s", pa.string())])
AGGREGATES = {
    "n": agg.count(),
    "sum": agg.sum("x"),
    "most": agg.max("x"),
    "first": agg.first("s"),
    "last": agg.last("x"),
    "spread": agg.std("x"),
}
COUNTED = ("rows", "late", "no_window", "null_keys", "results", "opened", "windows", "keys", "watermark")


def pair(made: window.Window) -> list[Windowed]:
    """The same operator with slices, and without."""
    return [Windowed(made, AGGREGATES, ROWS, [col.key], sliced=sliced) for sliced in (True, False)]


class Stream:
    """Rows and watermarks at random: mostly in order, some late, some far ahead, some watermarks that leap."""

    def __init__(self, seed: int, size: int, begin: int = 0) -> None:
        self.random = random.Random(seed)
        self.size, self.now, self.reached, self.origin = size, begin, START, 0

    def batch(self, n: int) -> Batch:
        rows, times, origins, marks = [], [], [], []
        draw = self.random
        for _ in range(n):
            self.now += draw.choice((0, 0, 1, 1, 2, 3)) if draw.random() > 0.01 else draw.randrange(2 * self.size)
            back = draw.randrange(4) if draw.random() < 0.8 else draw.randrange(self.size + 3)
            far = draw.randrange(3 * self.size) if draw.random() < 0.02 else 0
            key = draw.choice("aaabbc") if draw.random() > 0.02 else None
            rows.append(
                {"key": key, "x": draw.choice((None, 0.1, 2.5, -7.0, 1e300)), "s": draw.choice((None, "u", "vw"))}
            )
            times.append(self.now - back + far)
            origins.append(self.origin)
            self.origin += 1
            if draw.random() < 0.4 and (mark := self.now - draw.choice((1, 2, 5, self.size))) > self.reached:
                self.reached = mark
                marks.append((self.origin, mark))
                self.origin += 1
        return self.made(rows, times, origins, marks)

    def end(self) -> Batch:
        return self.made([], [], [], [(self.origin, END)])

    def made(self, rows: list[Any], times: list[int], origins: list[int], marks: list[tuple[int, int]]) -> Batch:
        return Batch(
            pa.RecordBatch.from_pylist(rows, ROWS),
            np.array(times, np.int64),
            np.array(origins, np.uint64),
            Marks(np.array([at for at, _ in marks], np.uint64), np.array([time for _, time in marks], np.int64)),
        )


def assert_same_step(operators: list[Windowed], batch: Batch) -> int:
    """Step both; gives how many results there were."""
    outs = [operator.step([batch]) for operator in operators]
    for operator in operators:
        operator.check()
    one, other = outs
    assert one.results.rows.equals(other.results.rows)
    assert one.results.times.tolist() == other.results.times.tolist()
    assert one.results.origins.tolist() == other.results.origins.tolist()
    assert one.side == other.side
    counts = [operator.statistics() for operator in operators]
    assert [counts[0][name] for name in COUNTED] == [counts[1][name] for name in COUNTED]
    return len(one.results)


def assert_same_state(operators: list[Windowed]) -> dict[str, Any]:
    states = [operator.export() for operator in operators]
    assert states[0] == states[1]
    for operator in operators:
        operator.check()
    return states[0]


@pytest.mark.parametrize(
    ("size", "every", "offset"), [(40, 1, 0), (64, 2, 1), (30, 7, -3), (21, 20, 5), (6, 3, 0), (5, 4, 0), (100, 3, 2)]
)
@pytest.mark.parametrize("seed", range(3))
def test_slices_give_what_windows_give_across_restores(size: int, every: int, offset: int, seed: int) -> None:
    made = window.Hopping(size, every, offset)
    operators, stream = pair(made), Stream(seed, size, -50)
    n = 0
    for step in range(14):
        n += assert_same_step(operators, stream.batch(60))
        if step % 3 == seed:
            state = assert_same_state(operators)
            if step % 2:
                operators = pair(made)
                for operator in operators:
                    operator.restore(state)
                    operator.check()
    n += assert_same_step(operators, stream.end())
    assert n > 100
    assert [operators[0].statistics()[name] for name in ("windows", "keys", "groups", "timers", "held_rows")] == [0] * 5


@pytest.mark.parametrize("begin", [START + 1, END - 120])
def test_slices_at_the_bounds_of_time(begin: int) -> None:
    draw = random.Random(begin)
    for size, every in ((40, 3), (9, 2)):
        operators, origin = pair(window.Hopping(size, every)), 0
        for step in range(4):
            times = [begin + draw.randrange(100) for _ in range(30)]
            rows = [{"key": draw.choice("ab"), "x": 1.5, "s": "u"} for _ in times]
            made = Stream(0, size).made(rows, times, [*range(origin, origin + 30)], [(origin + 30, begin + 25 * step)])
            assert_same_step(operators, made)
            state = assert_same_state(operators)
            if step == 2:
                operators = pair(window.Hopping(size, every))
                for operator in operators:
                    operator.restore(state)
            origin += 31
        assert_same_step(operators, Stream(0, size).made([], [], [], [(origin, END)]))


@settings(
    max_examples=max(10, settings.default.max_examples // 3),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=cases().filter(lambda case: case["window"]["kind"] == "hopping"), stop=st.integers(0, 40))
def test_any_case_is_the_same_with_slices(case: dict[str, Any], stop: int) -> None:
    case = with_rows(case)
    aggregates = {"n": agg.count(), "sum": agg.sum("v"), "last": agg.last("s")}
    options = windowing_for(case)
    operators = [
        Windowed(window_for(case["window"]), aggregates, SCHEMA, [col.key], sliced=sliced, **options)
        for sliced in (True, False)
    ]
    items, found = case["input"], (Ran(), Ran())
    for operator, ran in zip(operators, found, strict=True):
        feed = Feed(items, SCHEMA)
        take(ran, operator.step([feed.batch(0, min(stop, len(items)))]))
        operator.check()
    assert_same_state(operators)
    for operator, ran in zip(operators, found, strict=True):
        feed = Feed(items, SCHEMA)
        feed.batch(0, min(stop, len(items)))
        take(ran, operator.step([feed.batch(min(stop, len(items)), len(items))]))
        operator.check()
    assert same(found[0].rows, found[1].rows)
    assert same(found[0].side, found[1].side)
