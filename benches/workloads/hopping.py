"""hopping: count, sum and max of price per key in windows of 60 s every 10 s."""

from __future__ import annotations

from typing import Any

from benches import data, limits
from benches.case import Case, Options, Variant
from benches.peers import duckdb_sql, polars_frames
from benches.workloads import _windows
from benches.workloads._fyke import column

ROWS = _windows.ROWS
VARIANTS = _windows.VARIANTS
SIZE_MS, EVERY_MS = 60_000, 10_000
PER_ROW = SIZE_MS // EVERY_MS


def window() -> Any:
    from fyke import hopping

    return hopping(f"{SIZE_MS}ms", f"{EVERY_MS}ms")


def case(n: int, variant: Variant, options: Options) -> Case:
    n = _windows.rows_of(n, variant)
    table, bound = _windows.table_of(n, variant), _windows.bound_of(variant)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))
    if "against" in variant:
        peers = _windows.row_peers(table, bound, "hopping", SIZE_MS, EVERY_MS)
    else:
        peers = _windows.column_peers(
            table,
            duckdb_sql.hopping(SIZE_MS, EVERY_MS),
            lambda frame: polars_frames.hopping(frame, SIZE_MS, EVERY_MS),
        )
    return Case(
        events=n,
        matches=None,
        engine=_windows.engine_subject(window, table, bound, options),
        limit=_windows.limit_subject(
            lambda out: limits.hopping(ts, key, price, data.N_KEYS, SIZE_MS, EVERY_MS, bound, out),
            PER_ROW * n,
            integers=3,
            sum_column=3,
        ),
        peers=peers,
        targets=_windows.targets(variant, peers),
        total=float(PER_ROW * price.sum()),
    )
