"""A window operator restored after any item goes on as the oracle does, which has never stopped."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.window_adapter import Feed, Ran, operator_for, take
from tests.property.window_oracle import AGGREGATES, SCHEMA, engine_aggregates, same, told, with_rows
from tests.property.window_strategies import cases

Json = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples * 3 // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@thorough
@given(
    case=cases(),
    names=st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=4, unique=True),
    stop=st.integers(0, 40),
    size=st.sampled_from([1, 3, 40]),
)
def test_a_restored_operator_goes_on_as_the_oracle(case: Json, names: list[str], stop: int, size: int) -> None:
    case = with_rows(case)
    items = case["input"]
    stop = min(stop, len(items))
    wanted = [one for one in told(case, names).rows if one[0] >= stop]
    first, second = (operator_for(case, engine_aggregates(names), SCHEMA) for _ in range(2))
    feed, rest = Feed(items, SCHEMA), Ran()
    first.step([feed.batch(0, stop)])
    state = first.export()
    second.restore(state)
    second.check()
    for start in range(stop, len(items), size):
        take(rest, second.step([feed.batch(start, min(start + size, len(items)))]))
        second.check()
    for one, other in zip(wanted, rest.rows, strict=False):
        assert same(one, other), f"wanted {one}\n   got {other}"
    assert len(rest.rows) == len(wanted)


def test_a_count_window_is_saved_between_two_results() -> None:
    """Every second row is a window, so after the first there is a part of a window without rows."""
    rows = [{"key": "a", "v": None, "x": None, "s": None, "gap": gap, "id": gap} for gap in (1, 2, 3, 4)]
    items = [{"t": 0, "key": "a", "row": row} for row in rows]
    case = {"window": {"kind": "count_sliding", "count": 1, "slide": 2}, "input": items}
    aggregates = engine_aggregates(["median", "ids"])
    for stop in range(5):
        first, second = (operator_for(case, aggregates, SCHEMA) for _ in range(2))
        feed, ran = Feed(items, SCHEMA), Ran()
        take(ran, first.step([feed.batch(0, stop)]))
        second.restore(first.export())
        take(ran, second.step([feed.batch(stop, 4)]))
        assert [(at, row["median"], row["ids"]) for at, _, row in ran.rows] == [(1, 2.0, [2]), (3, 4.0, [4])]
