"""A window for each row: the engine gives what the oracle gives, whatever the batches and the restarts."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fyke import col, window
from fyke.operators.sliding import SlidingWindows
from tests.conformance.batching import cuts
from tests.conformance.window_adapter import Feed, Ran, run, take
from tests.oracle.aggregates import aggregate
from tests.oracle.sliding import Slid, run_sliding
from tests.property.window_oracle import AGGREGATES, SCHEMA, engine_aggregates, same, with_rows
from tests.property.window_strategies import inputs

Json = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples * 3 // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

some_aggregates = st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=4, unique=True)
lengths = st.sampled_from([0, 1, 3, 10, 2**63 - 1])


def operator_for(before: int, names: list[str]) -> SlidingWindows:
    return SlidingWindows(window.Sliding(before), engine_aggregates(names), SCHEMA, [col.key])


def row_of(slid: Slid, before: int, names: list[str]) -> tuple[int, int, Json]:
    """Show a window as the operator does."""
    start = max(slid.element.t - before, -(2**63))
    row: Json = {"key": slid.element.key, "window_start": start, "window_end": slid.element.t}
    row |= {"revision": 0, "final": True}
    return (slid.at, slid.element.t, row | {name: aggregate(*AGGREGATES[name], slid.elements) for name in names})


def agree(found: Ran, wanted: list[tuple[int, int, Json]]) -> None:
    for one, other in zip(wanted, found.rows, strict=False):
        assert same(one, other), f"wanted {one}\n   got {other}"
    assert len(found.rows) == len(wanted)


@thorough
@given(items=inputs(), before=lengths, names=some_aggregates, batch=st.sampled_from(["1", "7", "all"]))
def test_the_engine_agrees_with_the_oracle(items: list[Json], before: int, names: list[str], batch: str) -> None:
    items = with_rows({"input": items})["input"]
    wanted, late = run_sliding(items, before)
    found = run(operator_for(before, names), items, cuts(len(items), batch), SCHEMA)
    agree(found, [row_of(slid, before, names) for slid in wanted])
    assert [row["id"] for row in found.side.get("late", [])] == late


@thorough
@given(items=inputs(), before=lengths, names=some_aggregates, stop=st.integers(0, 40))
def test_a_restored_operator_goes_on_as_the_oracle(items: list[Json], before: int, names: list[str], stop: int) -> None:
    items = with_rows({"input": items})["input"]
    stop = min(stop, len(items))
    wanted, _ = run_sliding(items, before)
    first, second, feed, rest = operator_for(before, names), operator_for(before, names), Feed(items, SCHEMA), Ran()
    first.step([feed.batch(0, stop)])
    second.restore(first.export())
    second.check()
    take(rest, second.step([feed.batch(stop, len(items))]))
    agree(rest, [row_of(slid, before, names) for slid in wanted if slid.at >= stop])
