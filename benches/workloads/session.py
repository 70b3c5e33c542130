"""session: count, sum and max of price per key; a silence of over 30 s ends a session. And 10^6 open ones at once."""

from __future__ import annotations

from typing import Any

from benches import data, limits
from benches.case import Case, Options, Variant
from benches.peers import duckdb_sql, polars_frames
from benches.workloads import _windows
from benches.workloads._fyke import column

ROWS = _windows.ROWS
VARIANTS: list[Variant] = [*_windows.VARIANTS, {"arrival": "in order", "keys": 1_000_000, "gap_s": 7_200}]
GAP_MS = 30_000


def case(n: int, variant: Variant, options: Options) -> Case:
    n, bound = _windows.rows_of(n, variant), _windows.bound_of(variant)
    keys = int(variant.get("keys", data.N_KEYS))
    gap = int(variant["gap_s"]) * 1_000 if "gap_s" in variant else GAP_MS
    if "keys" in variant:
        n *= 3  # so that 95% of the keys are there, all open till the end
        table = data.stream(n, keys)
    else:
        table = _windows.table_of(n, variant)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))

    def window() -> Any:
        from fyke import session

        return session(f"{gap}ms")

    if "against" in variant:
        peers = _windows.row_peers(table, bound, "session", gap)
    else:
        peers = _windows.column_peers(table, duckdb_sql.session(gap), lambda frame: polars_frames.session(frame, gap))
    return Case(
        events=n,
        matches=None,
        engine=_windows.engine_subject(window, table, bound, options),
        limit=_windows.limit_subject(
            lambda out: limits.session(ts, key, price, keys, gap, bound, out), n, integers=4, sum_column=4
        ),
        peers=peers,
        targets=_windows.targets(variant, peers),
        total=float(price.sum()),
    )
