"""Runs join cases on fyke's operators, and puts their results in the form of the corpora.

One corpus millisecond is one nanosecond, and an item of a case is one origin.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fyke import DefinitionError, col
from fyke.join import AsOf, Interval
from fyke.operator import END
from fyke.operators.asof_join import AsOfJoin
from fyke.operators.interval_join import IntervalJoin
from fyke.operators.window_join import CoGroup, WindowJoin
from tests.oracle.windows import watermark_of
from tests.unit.two_inputs import LEFT, RIGHT, Feed, Mark, Ran, Row, run

from .batching import cuts
from .cases import Case
from .join_cases import Pairs
from .window_adapter import closes, window_for, windowing_for

SCHEMA = pa.schema([("key", pa.string()), ("id", pa.int64()), ("v", pa.int64())])
TIME = pa.timestamp("ns", "UTC")
SIDES = {"l": LEFT, "r": RIGHT}


def run_join_on_engine(case: Case, batch: str | None = None) -> Pairs:
    """Run one case, in batches of the given size or of the environment's."""
    try:
        operator = operator_for(case)
    except DefinitionError:
        return Pairs(failed=True)
    feed, cut = feed_of(case), cuts(len(case["input"]), batch)
    if case["join"]["kind"] == "interval":
        ran = run(operator, feed, cut)
        return Pairs(rows_of(ran), late=ids_of(ran, "late"))
    ran = run(operator, feed, cut, check=False)  # a late firing has a late time
    fired = [firing_of(case, *told) for told in ran.rows]
    rows = [{name: row[name] for name in ("l", "r", "ts", "at")} for row in fired if not row["closing"]]
    return Pairs(rows, dropped=ids_of(ran, "late"))


def operator_for(case: Case) -> Any:
    """Make the operator of a case; `asof` is fyke's own kind."""
    given = case["join"]
    sides = (SCHEMA, [col.key]), (SCHEMA, [col.key])
    if "window" in given:
        options = windowing_for(case)
        if given["kind"] == "cogroup":
            return CoGroup(window_for(given["window"]), *sides, **options)
        return WindowJoin(window_for(given["window"]), *sides, given.get("how", "inner"), **options)
    if given["kind"] == "asof":
        return AsOfJoin(AsOf(given["tolerance"]), *sides, given["how"], delete=col.v < 0 if given["delete"] else None)
    inclusive = given.get("lower_inclusive", True), given.get("upper_inclusive", True)
    definition = Interval(given["lower"], given["upper"], *inclusive)
    return IntervalJoin(definition, *sides, given.get("how", "inner"))


def feed_of(case: Case) -> Feed:
    """Give a case's input as rows and watermarks of two inputs."""
    return Feed(
        (SCHEMA, SCHEMA),
        [
            Mark(SIDES[item["side"]], watermark_of(item))
            if "watermark" in item
            else Row(SIDES[item["side"]], item["t"], (item["key"], at, item["v"]))
            for at, item in enumerate(case["input"])
        ],
    )


def rows_of(ran: Ran) -> list[dict[str, Any]]:
    """Give joined rows as a corpus does."""
    return [{"l": left, "r": right, "ts": time, "at": origin} for origin, time, (_, left, _, right, _) in ran.rows]


def firing_of(case: Case, at: int, time: int, row: tuple[Any, ...]) -> dict[str, Any]:
    """Show a row of a join by window as a corpus does, with the details that fyke tells."""
    key, _, end, revision, final, *both = row
    cogroup = case["join"]["kind"] == "cogroup"
    left, right = ([r["id"] for r in group] for group in both) if cogroup else (both[0], both[2])
    last = END if end is None else pa.scalar(end, TIME).value - 1
    told = {"l": left, "r": right, "ts": last, "at": at, "key": key, "revision": revision, "final": final, "time": time}
    return told | {"closing": final and "watermark" in case["input"][at] and closes(case)}


def ids_of(ran: Ran, output: str) -> list[int]:
    """Give the places of the rows in a side output of both sides."""
    return sorted(row[1] for side in ("left", "right") for row in ran.side.get(f"{output}_{side}", []))
