"""tumbling: count, sum and max of price per key in windows of 60 s."""

from __future__ import annotations

from typing import Any

from benches import data, limits
from benches.case import Case, Options, Variant
from benches.peers import duckdb_sql, polars_frames
from benches.workloads import _windows
from benches.workloads._fyke import column

ROWS = _windows.ROWS
VARIANTS = _windows.VARIANTS
SIZE_MS = 60_000
WINDOWS = {1_000_000: 169_395}
TOTALS = {1_000_000: 499_645_497.60}


def window() -> Any:
    from fyke import tumbling

    return tumbling(f"{SIZE_MS}ms")


def case(n: int, variant: Variant, options: Options) -> Case:
    n = _windows.rows_of(n, variant)
    table, bound = _windows.table_of(n, variant), _windows.bound_of(variant)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))

    def limit(out: Any) -> int:
        if bound:
            return limits.hopping(ts, key, price, data.N_KEYS, SIZE_MS, SIZE_MS, bound, out)
        return limits.tumbling(ts, key, price, data.N_KEYS, SIZE_MS, out)

    if "against" in variant:
        peers = _windows.row_peers(table, bound, "tumbling", SIZE_MS)
    else:
        peers = _windows.column_peers(
            table, duckdb_sql.tumbling(SIZE_MS), lambda frame: polars_frames.tumbling(frame, SIZE_MS)
        )
    return Case(
        events=n,
        matches=WINDOWS.get(n),
        engine=_windows.engine_subject(window, table, bound, options),
        limit=_windows.limit_subject(limit, n, integers=3, sum_column=3),
        peers=peers,
        targets=_windows.targets(variant, peers),
        total=TOTALS.get(n, float(price.sum())),
    )
