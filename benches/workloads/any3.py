"""any3: type 0, followed by any type 1, followed by any type 2, within W; every match out as columns.

Columns of arrival positions, one a stage, as the limit writes row numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import column

ROWS = 200_000
VARIANTS: list[Variant] = [{"window_ms": 50}, {"window_ms": 100}]
MATCHES = {50: 1_084_177, 100: 4_470_659}  # at n = 200,000


def pattern(window_ms: int) -> Any:
    import fyke
    from fyke import col

    begun = fyke.begin("first", col.type == 0).followed_by_any("second", col.type == 1)
    return begun.followed_by_any("third", col.type == 2).within(f"{window_ms}ms")


def case(n: int, variant: Variant, options: Options) -> Case:
    window_ms = int(variant["window_ms"])
    table = data.stream(n, keys=1)
    ts, type_ = column(table, "ts"), column(table, "type")
    # Counted first, so that the limit has room for all and its pages are there before the clock runs.
    room = limits.any3_count(ts, type_, window_ms)
    out = (np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64))
    pieces: list[pa.RecordBatch] = data.batches(table, options.batch_rows)

    def prepare() -> Any:
        import fyke

        return fyke.Engine(pattern(window_ms), time="ts", unit="ms", schema=table.schema)

    def work(engine: Any) -> int:
        matches = sum(engine.push(piece).positions().num_rows for piece in pieces)
        return int(matches + engine.flush().positions().num_rows)

    return Case(
        events=n,
        matches=MATCHES.get(window_ms) if n == ROWS else None,
        engine=Subject(work, prepare, is_fyke=True),
        limit=Subject(lambda _: limits.any3(ts, type_, window_ms, out)),
        targets=(
            Target("at least 20 M matches/s out as columns", 20.0, lambda s: room / s["engine"] / 1e6, at_least=True),
        ),
    )
