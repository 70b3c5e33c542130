"""The engine gives what the oracle gives: on random patterns and streams, whatever the batches, keys and disorder."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fyke
from tests.conformance.cases import bag, differences, outcome_of
from tests.conformance.engine_adapter import ids, run_on_engine
from tests.oracle import FYKE, run_case
from tests.property.strategies import cases, patterns, streams
from tests.unit.corpus_patterns import to_pattern

Json = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples * 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
shorter = settings(thorough, max_examples=settings.default.max_examples)


@pytest.mark.parametrize("batch", ["1", "7", "all"])
@thorough
@given(case=cases())
def test_engine_agrees_with_the_oracle(batch: str, case: Json) -> None:
    wanted = outcome_of(run_case(case, FYKE))
    wrong = differences(wanted, run_on_engine(case, batch))
    assert not wrong, "\n".join(wrong)


def seen(results: list[fyke.Results]) -> dict[str, Any]:
    """Collect what does not depend on which call reported it: matches with their time of release, and timeouts."""
    return {
        "matches": bag([ids(match), match.released] for result in results for match in result),
        "timeouts": bag([ids(timeout), timeout.released] for result in results for timeout in result.timeouts),
        "late": sum(len(result.late) for result in results),
    }


def accepted(pattern: Json) -> fyke.Pattern:
    """Build a pattern that is not refused and cannot fail at run time."""
    assume(not pattern["skip"].get("throw"))
    try:
        return to_pattern(pattern)
    except fyke.DefinitionError:
        assume(False)
        raise


def rows_of(events: list[Json], **more: Any) -> list[Json]:
    return [{"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"], **more} for e in events]


@shorter
@given(pattern=patterns(), stream=streams(), data=st.data())
def test_arrival_order_within_the_bound_does_not_count(pattern: Json, stream: list[Json], data: st.DataObject) -> None:
    built = accepted(pattern)
    delays = data.draw(st.lists(st.integers(0, 4), min_size=len(stream), max_size=len(stream)))
    bound = max(delays)
    rows = rows_of(stream)
    arrivals = sorted(range(len(rows)), key=lambda i: (rows[i]["t"] + delays[i], i))
    # The promise is for events of equal time that keep their order; otherwise their arrival decides.
    last: dict[int, int] = {}
    assume(all(last.get(rows[i]["t"], -1) < i and not last.update({rows[i]["t"]: i}) for i in arrivals))
    in_order = fyke.Engine(built, time="t", unit="ns", timeouts=True)
    disordered = fyke.Engine(built, time="t", unit="ns", timeouts=True, out_of_order=f"{bound}ns" if bound else 0)
    wanted = seen([in_order.push(rows), in_order.flush()])
    given_results = seen([disordered.push([rows[i]]) for i in arrivals] + [disordered.flush()])
    assert given_results == wanted
    assert not given_results["late"]


@shorter
@given(pattern=patterns(), first=streams(), second=streams(), batch=st.sampled_from([1, 3, 100]))
def test_keys_do_not_see_each_other(pattern: Json, first: list[Json], second: list[Json], batch: int) -> None:
    built = accepted(pattern)
    streams_by_key = {"x": rows_of(first, key="x"), "y": rows_of(second, key="y")}
    wanted = {}
    for key, rows in streams_by_key.items():
        alone = fyke.Engine(built, time="t", unit="ns", timeouts=True)
        wanted[key] = seen([alone.push(rows), alone.flush()])
    mixed = sorted([*streams_by_key["x"], *streams_by_key["y"]], key=lambda row: row["t"])
    together = fyke.Engine(built.by("key"), time="t", unit="ns", timeouts=True)
    results = [together.push(mixed[i : i + batch]) for i in range(0, len(mixed), batch)] + [together.flush()]
    for key, expected in wanted.items():
        mine = {
            "matches": bag([ids(m), m.released] for result in results for m in result if m.key == key),
            "timeouts": bag([ids(m), m.released] for result in results for m in result.timeouts if m.key == key),
            "late": 0,
        }
        assert mine == expected
