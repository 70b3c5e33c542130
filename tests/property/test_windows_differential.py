"""The windows of the engine give what the oracle gives, in its order: rows, times, late rows, whatever the batches."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.batching import cuts
from tests.conformance.window_adapter import operator_for, run
from tests.property.window_oracle import AGGREGATES, SCHEMA, engine_aggregates, same, told, with_rows
from tests.property.window_strategies import cases

Json = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples * 5 // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

some_aggregates = st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=4, unique=True)


@thorough
@given(case=cases(), names=some_aggregates, batch=st.sampled_from(["1", "7", "all"]))
def test_the_engine_agrees_with_the_oracle(case: Json, names: list[str], batch: str) -> None:
    case = with_rows(case)
    wanted = told(case, names)
    operator = operator_for(case, engine_aggregates(names), SCHEMA)
    found = run(operator, case["input"], cuts(len(case["input"]), batch), SCHEMA)
    for one, other in zip(wanted.rows, found.rows, strict=False):
        assert same(one, other), f"wanted {one}\n   got {other}"
    assert len(found.rows) == len(wanted.rows)
    assert same(found.side, wanted.side)
