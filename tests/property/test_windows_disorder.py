"""What disorder does to windows: nothing to final results while no element is late, and only late elements are missing.

Watermarks follow the highest time so far, row by row: W = highest - bound - 1.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.window_adapter import Ran, operator_for, run
from tests.property.window_oracle import SCHEMA, engine_aggregates, same
from tests.property.window_strategies import END, rows, triggers, windows

Json = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples * 3 // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

TIMED = ("tumbling", "hopping", "session", "session_dynamic")
ORDERLESS = ("rows", "sum", "total", "least", "var", "first", "last", "cheapest", "top")


@st.composite
def elements(draw: st.DrawFn, longest: int = 30) -> list[Json]:
    """Elements in order of time, each with a number."""
    n = draw(st.integers(0, longest))
    steps = draw(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), min_size=n, max_size=n))
    now, found = draw(st.sampled_from([0, -25])), []
    for number, (step, key) in enumerate(steps):
        now += step
        found.append({"t": now, "key": key, "row": draw(rows()) | {"key": key, "id": number}})
    return found


def arriving(arrived: list[Json], bound: int) -> list[Json]:
    """Put the watermark that each element brings after it, and the end after all."""
    items: list[Json] = []
    highest = None
    for element in arrived:
        highest = element["t"] if highest is None else max(highest, element["t"])
        items += [element, {"watermark": highest - bound - 1}]
    return [*items, END]


def final(ran: Ran) -> list[Json]:
    """The final rows without what hangs on arrival: how many there were before, and when they came."""
    kept = [{name: value for name, value in row.items() if name != "revision"} for _, _, row in ran.rows]
    kept = [row for row in kept if row["final"]]
    return sorted(kept, key=lambda row: (row["key"], row["window_start"], row["window_end"]))


def on_engine(case: Json, items: list[Json]) -> Ran:
    operator = operator_for(case, engine_aggregates(ORDERLESS), SCHEMA)
    return run(operator, items, (), SCHEMA)


@thorough
@given(
    window=windows(TIMED),
    in_order=elements(),
    lateness=st.integers(1, 9),
    bound=st.integers(0, 8),
    delays=st.lists(st.integers(0, 8), min_size=30, max_size=30),
    data=st.data(),
)
def test_final_results_do_not_hang_on_the_arrival_order(
    window: Json, in_order: list[Json], lateness: int, bound: int, delays: list[int], data: st.DataObject
) -> None:
    """Sessions need a lateness of a tick: see semantics.md, note 78."""
    trigger = data.draw(triggers(window["kind"]))
    case: Json = {"window": window, "trigger": trigger and trigger | {"purge": False}}
    session = window["kind"].startswith("session")
    case["allowed_lateness"] = lateness if session or data.draw(st.booleans()) else 0
    case["emit_rest"] = trigger is not None and trigger["kind"] == "count"
    # Elements of equal time keep their order, which is part of the claim: they have the same delay.
    arrived = sorted(in_order, key=lambda e: (e["t"] + min(delays[e["t"] % 30], bound), e["row"]["id"]))
    wanted, found = on_engine(case, arriving(in_order, 0)), on_engine(case, arriving(arrived, bound))
    assert same(final(found), final(wanted))
    assert "late" not in found.side


@thorough
@given(
    size=st.integers(1, 9),
    in_order=elements(),
    lateness=st.integers(0, 12),
    bound=st.integers(0, 4),
    order=st.permutations(range(30)),
)
def test_with_late_elements_final_results_are_those_of_all_others(
    size: int, in_order: list[Json], lateness: int, bound: int, order: list[int]
) -> None:
    """Tumbling windows: an element is in its one window, or in the late output."""
    arrived = [in_order[i] for i in order if i < len(in_order)]
    for place, element in enumerate(arrived):
        element["row"]["id"] = place  # equal times go by arrival
    case: Json = {"window": {"kind": "tumbling", "size": size, "offset": 0}, "allowed_lateness": lateness}
    found = on_engine(case, arriving(arrived, bound))
    late = {row["id"] for row in found.side.get("late", [])}
    taken = sorted((e for e in arrived if e["row"]["id"] not in late), key=lambda e: (e["t"], e["row"]["id"]))
    wanted = on_engine(case | {"allowed_lateness": 0}, [*taken, END])
    assert same(final(found), final(wanted))
    assert late == too_late(arrived, size, lateness, bound)


def too_late(arrived: list[Json], size: int, lateness: int, bound: int) -> set[int]:
    """Say of which elements the window was gone when they came."""
    highest, found = None, set()
    for element in arrived:
        end = element["t"] // size * size + size
        if highest is not None and end - 1 + lateness <= highest - bound - 1:
            found.add(element["row"]["id"])
        highest = element["t"] if highest is None else max(highest, element["t"])
    return found
