"""The interval join gives what the oracle gives, in its order, whatever the batches; a restored one goes on as one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.batching import cuts
from tests.conformance.join_adapter import feed_of, ids_of, operator_for, rows_of
from tests.oracle.joins import run_join_case
from tests.oracle.window_definition import FYKE_WINDOWS
from tests.property.join_strategies import inputs, intervals
from tests.unit.two_inputs import run

Json = dict[str, Any]

thorough = settings(max_examples=settings.default.max_examples, deadline=None)


@thorough
@given(join=intervals(), items=inputs(), batch=st.sampled_from(["1", "7", "all"]))
def test_the_engine_agrees_with_the_oracle(join: Json, items: list[Json], batch: str) -> None:
    case = {"join": join, "input": items}
    wanted = run_join_case(case, FYKE_WINDOWS)
    found = run(operator_for(case), feed_of(case), cuts(len(items), batch))
    assert [tuple(row.values()) for row in rows_of(found)] == [(r.l, r.r, r.ts, r.at) for r in wanted.results]
    assert ids_of(found, "late") == wanted.late


@thorough
@given(join=intervals(), items=inputs(), stop=st.integers(0, 40))
def test_a_join_restored_after_any_item_goes_on_as_the_oracle(join: Json, items: list[Json], stop: int) -> None:
    case = {"join": join, "input": items}
    wanted = run_join_case(case, FYKE_WINDOWS)
    stop = min(stop, len(items))
    feed, first, second = feed_of(case), operator_for(case), operator_for(case)
    first.step(feed.batches(0, stop))
    second.restore(first.export())
    rest = run(second, feed, start=stop, check=False)
    assert rows_of(rest) == [{"l": r.l, "r": r.r, "ts": r.ts, "at": r.at} for r in wanted.results if r.at >= stop]
    assert ids_of(rest, "late") == [i for i in wanted.late if i >= stop]


@thorough
@given(join=intervals(), items=inputs())
def test_two_elements_that_are_not_late_always_find_each_other(join: Json, items: list[Json]) -> None:
    case = {"join": join | {"how": "inner"}, "input": items}
    found = run(operator_for(case), feed_of(case))
    late = set(ids_of(found, "late"))
    taken = [(at, item) for at, item in enumerate(items) if "t" in item and at not in late]
    lower, upper = operator_for(case).definition.bounds
    wanted = {
        (i, j)
        for i, left in taken
        for j, right in taken
        if (left["side"], right["side"]) == ("l", "r") and left["key"] == right["key"]
        and lower <= right["t"] - left["t"] <= upper
    }  # fmt: skip
    assert {(row["l"], row["r"]) for row in rows_of(found)} == wanted
    assert len(rows_of(found)) == len(wanted)
