"""Rows and watermarks for an operator of one input, cut into batches anywhere; what comes out, put together again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fyke.operator import END, Batch, Marks, Operator

Item = tuple[int, dict[str, Any]] | int
"""A row with its time, or a watermark; its origin is its place in the list."""


@dataclass
class Run:
    """What an operator gave: rows with time and origin, the side outputs' rows, the watermarks behind the results."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    side: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def batch_of(items: Sequence[Item], first: int, schema: pa.Schema) -> Batch:
    """Make a batch of items of which the first has the origin `first`."""
    rows = [(first + i, item) for i, item in enumerate(items) if not isinstance(item, int)]
    marks = [(first + i, item) for i, item in enumerate(items) if isinstance(item, int)]
    columns = [pa.array([row[name] for _, (_, row) in rows], schema.field(name).type) for name in schema.names]
    return Batch(
        pa.RecordBatch.from_arrays(columns, schema=schema),
        np.array([time for _, (time, _) in rows], np.int64),
        np.array([origin for origin, _ in rows], np.uint64),
        Marks(np.array([origin for origin, _ in marks], np.uint64), np.array([time for _, time in marks], np.int64)),
    )


def plain(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Give times as integers of ns: every int64 is one, and pandas is not asked."""
    arrays = [c.cast(pa.int64()) if c.type == pa.timestamp("ns", "UTC") else c for c in rows.columns]
    return pa.RecordBatch.from_arrays(arrays, names=rows.schema.names)


def run(
    operator: Operator,
    items: Sequence[Item],
    schema: pa.Schema,
    cuts: Iterable[int] = (),
    start: int = 0,
    into: Run | None = None,
) -> Run:
    """Step through items from `start`, cut before each place in `cuts`; invariants are checked after each step."""
    out = Run() if into is None else into
    ends = sorted({cut for cut in cuts if start < cut < len(items)} | {len(items)})
    for end in ends:
        found = operator.step([batch_of(items[start:end], start, schema)])
        operator.check()
        assert found.results.rows.schema == operator.schema
        out.rows += plain(found.results.rows).to_pylist()
        out.times += found.results.times.tolist()
        out.origins += found.results.origins.tolist()
        out.marks += zip(found.results.marks.origins.tolist(), found.results.marks.times.tolist(), strict=True)
        for name, table in found.side.items():
            out.side.setdefault(name, []).extend(table.to_pylist())
        start = end
    return out


def rising(items: Sequence[Item]) -> list[Item]:
    """Leave out watermarks that do not rise, as the engine does."""
    out: list[Item] = []
    highest = -(2**63)
    for item in items:
        if isinstance(item, int):
            if item <= highest:
                continue
            highest = item
        out.append(item)
    return out


def ended(items: Sequence[Item]) -> list[Item]:
    """Add the end of the input."""
    return [*items, END]
