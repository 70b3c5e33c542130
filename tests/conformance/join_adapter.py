"""Runs join cases on fyke's operators, and puts their results in the form of the corpora.

One corpus millisecond is one nanosecond, and an item of a case is one origin.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fyke import DefinitionError, col
from fyke.join import AsOf, Interval
from fyke.operators.asof_join import AsOfJoin
from fyke.operators.interval_join import IntervalJoin
from fyke.operators.joining import Joining
from tests.oracle.windows import watermark_of
from tests.unit.two_inputs import LEFT, RIGHT, Feed, Mark, Ran, Row, run

from .batching import cuts
from .cases import Case
from .join_cases import Pairs

SCHEMA = pa.schema([("key", pa.string()), ("id", pa.int64()), ("v", pa.int64())])
SIDES = {"l": LEFT, "r": RIGHT}


def run_join_on_engine(case: Case, batch: str | None = None) -> Pairs:
    """Run one case, in batches of the given size or of the environment's."""
    try:
        operator = operator_for(case)
    except DefinitionError:
        return Pairs(failed=True)
    items = feed_of(case)
    ran = run(operator, items, cuts(len(items.items), batch))
    return Pairs(rows_of(ran), ids_of(ran, "late"))


def operator_for(case: Case) -> Joining:
    """Make the operator of a case; `asof` is fyke's own kind."""
    given = case["join"]
    sides = (SCHEMA, [col.key]), (SCHEMA, [col.key])
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


def ids_of(ran: Ran, output: str) -> list[int]:
    """Give the places of the rows in a side output of both sides."""
    return sorted(row[1] for side in ("left", "right") for row in ran.side.get(f"{output}_{side}", []))
