"""The engine's side of a workload, the same for all: push batches, flush, count; through fyke's public names only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from benches import data
from benches.case import Options, Subject

WITHIN_MS = 1_000_000


def column(table: pa.Table, name: str) -> np.ndarray:
    """Return a column of the stream as a contiguous NumPy array, for the limits."""
    return np.ascontiguousarray(table[name].to_numpy())


def fraud_pattern() -> Any:
    """Return the pattern of fraud, which disorder, single, dicts and replay share."""
    import fyke
    from fyke import col

    begun = fyke.begin("small", col.price < 10)
    return begun.followed_by("big", col.price > 990).within(f"{WITHIN_MS}ms").by("key")


def push_all(engine: Any, pieces: Sequence[Any]) -> int:
    """Push every piece, flush, and return the number of matches."""
    matches = 0
    for piece in pieces:
        matches += len(engine.push(piece))
    return matches + len(engine.flush())


def engine_subject(pattern: Any, table: pa.Table, options: Options, **engine_options: Any) -> Subject:
    """Return the subject that pushes a table as record batches into a fresh engine."""
    pieces = data.batches(table, options.batch_rows)

    def prepare() -> Any:
        import fyke

        return fyke.Engine(pattern(), time="ts", unit="ms", schema=table.schema, **engine_options)

    return Subject(lambda engine: push_all(engine, pieces), prepare, is_fyke=True)
