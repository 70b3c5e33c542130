"""DuckDB: windows as SQL over the whole input at once, one thread; it holds all rows and keeps no state between calls.

Reads the Arrow table where it lies, as fyke does. A hopping window is a join of each row with its windows, a session a
running sum over the gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from benches.case import Outcome

AGGREGATES = "count(*) AS n, sum(price) AS total, max(price) AS most"


def tumbling(size: int) -> str:
    """Return the query of windows of `size` ms."""
    return f"SELECT key, ts // {size} AS w, {AGGREGATES} FROM rows GROUP BY ALL"


def hopping(size: int, every: int) -> str:
    """Return the query of windows of `size` ms every `every` ms, which divides it."""
    return (
        f"SELECT key, ts // {every} - hop AS w, {AGGREGATES} "
        f"FROM rows, (SELECT unnest(range({size // every})) AS hop) GROUP BY ALL"
    )


def session(gap: int) -> str:
    """Return the query of sessions that a silence of more than `gap` ms ends."""
    return (
        "WITH gaps AS (SELECT *, coalesce(ts - lag(ts) OVER (PARTITION BY key ORDER BY ts) > "
        f"{gap}, true) AS begins FROM rows), numbered AS (SELECT *, sum(begins::INT) OVER "
        "(PARTITION BY key ORDER BY ts ROWS UNBOUNDED PRECEDING) AS w FROM gaps) "
        f"SELECT key, w, min(ts), max(ts), {AGGREGATES} FROM numbered GROUP BY key, w"
    )


def subject(query: str, table: pa.Table) -> Callable[[Any], Outcome]:
    """Return what runs a query over the table and sums up its results."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.register("rows", table)

    def work(_: object) -> Outcome:
        results = connection.sql(query).to_arrow_table()
        return Outcome(results.num_rows, total=pa.compute.sum(results["total"]).as_py())

    return work
