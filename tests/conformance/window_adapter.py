"""Runs window cases on fyke's operators, and puts their results in the form of the corpora.

One corpus millisecond is one nanosecond, and an item of a case is one origin.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fyke import DefinitionError, agg, col, trigger, window
from fyke import expr as ex
from fyke.operator import START, Batch, Marks
from fyke.operators.windowed import Windowed
from tests.oracle.windows import watermark_of

from .batching import cuts
from .cases import Case
from .window_cases import Row, in_flinks_terms
from .window_cases import Windowed as Outcome

SCHEMA = pa.schema([("key", pa.string()), ("v", pa.int64()), ("id", pa.int64())])

AGGREGATES = {
    "count": agg.count(),
    "sum": agg.sum("v"),
    "min": agg.min("v"),
    "max": agg.max("v"),
    "values": agg.collect("v"),
    "ids": agg.collect("id"),
}


@dataclass
class Ran:
    """All that came out: results as (origin, time, columns), and the side outputs as lists of rows."""

    rows: list[tuple[int, int, Row]] = field(default_factory=list)
    side: dict[str, list[Row]] = field(default_factory=dict)


def run_window_on_engine(case: Case, batch: str | None = None) -> Outcome:
    """Run one case in Flink's terms."""
    return in_flinks_terms(detailed_on_engine(case, batch))


def detailed_on_engine(case: Case, batch: str | None = None) -> Outcome:
    """Run one case, with revision, final, time and closing; batches of the given size or of the environment's."""
    try:
        operator = operator_for(case, AGGREGATES)
    except DefinitionError:
        return Outcome(failed=True)
    return outcome(case, run(operator, case["input"], cuts(len(case["input"]), batch)))


def operator_for(case: Case, aggregates: dict[str, agg.Aggregate], schema: pa.Schema = SCHEMA) -> Windowed:
    """Make the operator of a case."""
    return Windowed(window_for(case["window"]), aggregates, schema, [col.key], **windowing_for(case))


def windowing_for(case: Case) -> dict[str, Any]:
    """Give what goes with a window, by the operators' names."""
    given = case.get("trigger")
    return {
        "trigger": None if given is None else trigger_for(given),
        "allowed_lateness": f"{case.get('allowed_lateness') or 0}ns",
        "emit_rest": case.get("emit_rest", False),
    }


def window_for(given: dict[str, Any]) -> window.Window:
    """Make the window."""
    offset, zone = given.get("offset", 0), given.get("zone")
    match given["kind"]:
        case "tumbling":
            return window.Tumbling(given["size"], offset, zone)
        case "hopping":
            return window.Hopping(given["size"], given["slide"], offset, zone)
        case "session":
            return window.Session(given["gap"])
        case "session_dynamic":
            return window.Session(ex.Column(given.get("column", "v")))
        case "count":
            return window.CountWindow(given["count"])
        case "count_sliding":
            return window.CountWindow(given["count"], given["slide"])
        case "global":
            return window.GlobalWindow()
    raise ValueError(given)


def trigger_for(given: dict[str, Any]) -> trigger.Trigger:
    """Make the trigger."""
    kind = {"event_time": "at_end", "continuous_event_time": "continuous"}.get(given["kind"], given["kind"])
    return trigger.Trigger(kind, given.get("interval") or given.get("n"), given.get("purge", False))


class Feed:
    """The items of a case as batches; one with `row` has these columns, else key, v and its place."""

    def __init__(self, items: list[dict[str, Any]], schema: pa.Schema) -> None:
        self.items, self.schema = items, schema
        self.reached = START

    def batch(self, start: int, stop: int) -> Batch:
        """Give the batch that holds items[start:stop]; to be called in order."""
        here = list(enumerate(self.items[start:stop], start))
        rows = [(at, item) for at, item in here if "t" in item]
        marks = []
        for at, item in here:
            if "watermark" in item and watermark_of(item) > self.reached:
                self.reached = watermark_of(item)
                marks.append((at, self.reached))
        columns = [item.get("row") or {"key": item["key"], "v": item["v"], "id": at} for at, item in rows]
        return Batch(
            pa.RecordBatch.from_pylist(columns, self.schema),
            np.array([item["t"] for _, item in rows], np.int64),
            np.array([at for at, _ in rows], np.uint64),
            Marks(np.array([at for at, _ in marks], np.uint64), np.array([w for _, w in marks], np.int64)),
        )


def run(operator: Any, items: list[dict[str, Any]], cut: Any = (), schema: pa.Schema = SCHEMA) -> Ran:
    """Feed all items, a new batch before each of the places in `cut`; check the operator after each."""
    feed, ran = Feed(items, schema), Ran()
    for start, stop in itertools.pairwise([0, *(place for place in cut if 0 < place < len(items)), len(items)]):
        take(ran, operator.step([feed.batch(start, stop)]))
        operator.check()
    return ran


def take(ran: Ran, output: Any) -> None:
    """Add what a step gave."""
    found = output.results
    ran.rows += zip(found.origins.tolist(), found.times.tolist(), with_ints(found.rows), strict=True)
    for name, table in output.side.items():
        ran.side.setdefault(name, []).extend(table.to_pylist())


def with_ints(rows: pa.RecordBatch) -> list[Row]:
    """Give rows with times as numbers of ns."""
    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in rows.columns]
    return pa.RecordBatch.from_arrays(columns, rows.schema.names).to_pylist()


def outcome(case: Case, ran: Ran) -> Outcome:
    """Put all in the corpora's form. A row without a gap is an error of the operator's input, and ends a case."""
    errors = [row["id"] for row in ran.side.get("errors", [])]
    rows = [row_of(case, at, time, row) for at, time, row in ran.rows]
    side = {name: [row["id"] for row in ran.side.get(name, [])] for name in ("late", "no_window")}
    return Outcome(rows, **side, failed=bool(errors), error_at=errors[0] if errors else None)


def row_of(case: Case, at: int, time: int, row: Row) -> Row:
    """Show a result as the corpora do; first and last go by the order in which the window holds its elements."""
    told = {"key": row["key"], "start": row["window_start"], "end": row["window_end"]}
    told |= {name: row[name] for name in ("count", "sum", "min", "max")}
    told |= {"first": row["values"][0], "last": row["values"][-1], "ids": row["ids"], "at": at}
    closing = row["final"] and "watermark" in case["input"][at] and closes(case)
    return told | {"revision": row["revision"], "final": row["final"], "time": time, "closing": closing}


def closes(case: Case) -> bool:
    """Whether what a watermark makes final is told besides what Flink tells."""
    given = case.get("trigger") or {}
    kind = (case.get("window") or case["join"]["window"])["kind"]
    if kind.startswith("count") or given.get("kind") in ("count", "per_update"):
        return True
    return bool(case.get("allowed_lateness")) and kind != "global" and not given.get("purge")
