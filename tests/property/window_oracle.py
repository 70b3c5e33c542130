"""What the oracle says of a case, in the form of the operator's results: rows with aggregates, side outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from fyke import agg
from tests.conformance.window_adapter import Ran
from tests.oracle.aggregates import aggregate
from tests.oracle.window_definition import FYKE_WINDOWS, Element, windowing
from tests.oracle.windows import WindowOperator, WindowResult, watermark_of

Json = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("key", pa.string()), ("v", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("gap", pa.int64()),
        ("id", pa.int64()),
    ]
)  # fmt: skip

# The result's column: the kind, its columns, its parameter.
AGGREGATES: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "rows": ("count", (), None),
    "numbers": ("count", ("x",), None),
    "total": ("sum", ("v",), None),
    "sum": ("sum", ("x",), None),
    "least": ("min", ("x",), None),
    "most": ("max", ("v",), None),
    "longest": ("max", ("s",), None),
    "mean": ("mean", ("x",), None),
    "var": ("var", ("x",), 1),
    "spread": ("std", ("v",), 0),
    "first": ("first", ("s",), None),
    "last": ("last", ("x",), None),
    "cheapest": ("arg_min", ("id", "x"), None),
    "dearest": ("arg_max", ("s", "v"), None),
    "median": ("median", ("gap",), None),
    "tenth": ("quantile", ("gap",), 0.1),
    "texts": ("distinct", ("s",), None),
    "top": ("top_k", ("s",), 2),
    "ids": ("collect", ("id",), None),
}


def engine_aggregates(names: Iterable[str]) -> dict[str, agg.Aggregate]:
    """Give the engine's definitions of some of the aggregates."""
    made = {}
    for name in names:
        kind, columns, parameter = AGGREGATES[name]
        made[name] = getattr(agg, kind)(*columns, *(() if parameter is None else (parameter,)))
    return made


def with_rows(case: Json) -> Json:
    """Give each element its whole row: key and place as well."""
    items = [
        item if "watermark" in item else item | {"row": item["row"] | {"key": item["key"], "id": at}}
        for at, item in enumerate(case["input"])
    ]
    return case | {"input": items}


def told(case: Json, names: Iterable[str]) -> Ran:
    """Run a case with rows on the oracle."""
    operator = WindowOperator(windowing(case), FYKE_WINDOWS)
    for at, item in enumerate(case["input"]):
        if "watermark" in item:
            operator.advance(watermark_of(item), at)
        else:
            operator.element(Element(at, item["t"], item["key"], item["row"]["gap"], row=item["row"]))
    ran = Ran([(result.at, result.time, row_of(result, names)) for result in operator.outcome.results])
    for name in ("late", "no_window"):
        ids = getattr(operator.outcome, name)
        if ids:
            ran.side[name] = [case["input"][i]["row"] for i in ids]
    return ran


def row_of(result: WindowResult, names: Iterable[str]) -> Json:
    """Show a result as the operator does."""
    start, end = result.bounds or (None, None)
    row: Json = {"key": result.key, "window_start": start, "window_end": end}
    row |= {"revision": result.revision, "final": result.final}
    return row | {name: aggregate(*AGGREGATES[name], result.elements) for name in names}


def same(one: Any, other: Any) -> bool:
    """Compare results as values: NaN is itself."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
