"""Windows by the clocks of a zone: around changes of the clock the engine's bounds are the oracle's."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fyke import agg
from tests.conformance.window_adapter import operator_for, run
from tests.oracle.window_bounds import DAY, bounds_of
from tests.oracle.window_definition import windowing
from tests.property.window_oracle import SCHEMA

Json = dict[str, Any]

HOUR = DAY // 24

# Clocks that jump at midnight, are set back over it, change by half an hour, skip a day, or never change; and a year
# with a change before 1970.
AROUND = [
    ("Europe/Zurich", "2024-03-31"),
    ("Europe/Zurich", "2024-10-27"),
    ("America/Havana", "2024-03-10"),
    ("America/Havana", "2024-11-03"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Australia/Lord_Howe", "2024-04-07"),
    ("Pacific/Apia", "2011-12-30"),
    ("Asia/Kathmandu", "1986-01-01"),
    ("America/New_York", "1967-04-30"),
    ("UTC", "2024-06-30"),
]


def midnight(day: str) -> int:
    """The midnight of a day in UTC, in ns."""
    return int(dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000_000


@settings(max_examples=settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    place=st.sampled_from(AROUND),
    days=st.integers(1, 3),
    every=st.integers(1, 4),
    offset=st.integers(-23, 23),
    hours=st.lists(st.tuples(st.integers(-60, 60), st.sampled_from([-1, 0, 1, HOUR // 2])), min_size=1, max_size=8),
)
def test_windows_of_days_begin_when_the_clock_shows_it(
    place: tuple[str, str], days: int, every: int, offset: int, hours: list[tuple[int, int]]
) -> None:
    zone, day = place
    window: Json = {"kind": "hopping", "size": days * DAY, "slide": every * DAY, "offset": offset * HOUR, "zone": zone}
    times = [midnight(day) + hour * HOUR + ns for hour, ns in hours]
    items = [
        {"t": t, "key": "a", "row": {"key": "a", "v": None, "x": None, "s": None, "gap": 1, "id": i}}
        for i, t in enumerate(times)
    ]
    definition = windowing({"window": window})
    wanted: dict[Any, list[int]] = {}
    for i, t in enumerate(times):
        for bounds in bounds_of(definition, t):
            wanted.setdefault(bounds, []).append(i)
    operator = operator_for({"window": window}, {"ids": agg.collect("id")}, SCHEMA)
    found = run(operator, [*items, {"watermark": "inf"}], (), SCHEMA)
    assert {(row["window_start"], row["window_end"]): row["ids"] for _, _, row in found.rows} == wanted
    assert [row["id"] for row in found.side.get("no_window", [])] == [
        i for i, t in enumerate(times) if not bounds_of(definition, t)
    ]
