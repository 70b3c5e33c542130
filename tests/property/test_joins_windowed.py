"""Joins by window give what the oracle gives, in its order, whatever the batches; a restored one goes on as one."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.batching import cuts
from tests.conformance.join_adapter import feed_of, firing_of, ids_of, operator_for
from tests.oracle.joins import JoinOutcome, run_join_case
from tests.oracle.window_definition import FYKE_WINDOWS
from tests.property.join_strategies import inputs, windowed
from tests.unit.two_inputs import Ran, run

Json = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples * 3 // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def wanted_rows(outcome: JoinOutcome, start: int = 0) -> list[tuple[Any, ...]]:
    """Both sides, what made them come, and what the firing says of itself."""
    told = [(joined, joined.fired) for joined in outcome.results if joined.at >= start]
    return [(j.l, j.r, j.ts, j.at, f.key, f.revision, f.final, f.time) for j, f in told if f is not None]


def found_rows(case: Json, ran: Ran) -> list[tuple[Any, ...]]:
    rows = [firing_of(case, *told) for told in ran.rows]
    return [tuple(value for name, value in row.items() if name != "closing") for row in rows]


@thorough
@given(case=windowed(), items=inputs(), batch=st.sampled_from(["1", "7", "all"]))
def test_the_engine_agrees_with_the_oracle(case: Json, items: list[Json], batch: str) -> None:
    case = case | {"input": items}
    wanted = run_join_case(case, FYKE_WINDOWS)
    found = run(operator_for(case), feed_of(case), cuts(len(items), batch))
    assert found_rows(case, found) == wanted_rows(wanted)
    assert ids_of(found, "late") == wanted.dropped
    assert ids_of(found, "no_window") == wanted.no_window


@thorough
@given(case=windowed(), items=inputs(), stop=st.integers(0, 40))
def test_a_join_restored_after_any_item_goes_on_as_the_oracle(case: Json, items: list[Json], stop: int) -> None:
    case = case | {"input": items}
    wanted = run_join_case(case, FYKE_WINDOWS)
    stop = min(stop, len(items))
    feed, first, second = feed_of(case), operator_for(case), operator_for(case)
    first.step(feed.batches(0, stop))
    second.restore(first.export())
    second.check()
    rest = run(second, feed, start=stop, check=False)
    assert found_rows(case, rest) == wanted_rows(wanted, stop)
    assert ids_of(rest, "late") == [i for i in wanted.dropped if i >= stop]
