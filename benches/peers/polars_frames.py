"""polars: windows as a grouping of the whole input at once, by its streaming engine, one thread; keeps no state."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from benches.case import Outcome

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is first imported


def _aggregated(frame: Any, *by: str) -> Any:
    import polars as pl

    return frame.group_by(*by).agg(pl.len().alias("n"), pl.sum("price").alias("total"), pl.max("price").alias("most"))


def tumbling(frame: Any, size: int) -> Any:
    """Group by windows of `size` ms."""
    import polars as pl

    return _aggregated(frame.with_columns(w=pl.col("ts") // size), "key", "w")


def hopping(frame: Any, size: int, every: int) -> Any:
    """Group slices of `every` ms first, then the windows that each slice is in."""
    import polars as pl

    slices = _aggregated(frame.with_columns(s=pl.col("ts") // every), "key", "s")
    hops = pl.LazyFrame({"hop": list(range(size // every))}, schema={"hop": pl.Int64})
    placed = slices.join(hops, how="cross").with_columns(w=pl.col("s") - pl.col("hop"))
    return placed.group_by("key", "w").agg(pl.sum("n"), pl.sum("total"), pl.max("most"))


def session(frame: Any, gap: int) -> Any:
    """Number the sessions of each key by its gaps, then group by the numbers."""
    import polars as pl

    begins = (pl.col("ts").diff() > gap).fill_null(True).cum_sum().over("key")
    return _aggregated(frame.sort("ts").with_columns(w=begins), "key", "w")


def subject(query: Callable[[Any], Any], table: pa.Table) -> Callable[[Any], Outcome]:
    """Return what collects a query over the table and sums up its results."""
    import polars as pl

    frame = pl.from_arrow(table)

    def work(_: object) -> Outcome:
        results = query(frame.lazy()).collect(engine="streaming")  # type: ignore[union-attr]
        return Outcome(results.height, total=results["total"].sum())

    return work
