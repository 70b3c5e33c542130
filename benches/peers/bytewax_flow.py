"""Bytewax: windows as a dataflow of one worker, without recovery; rows ready as (key, (datetime, price)).

Its clock is held still, so that the watermark follows the rows alone and nothing is late because a replay is slow.
Batches of 10,000 rows from the source: smaller ones are much slower, since each activation looks at all keys.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from benches.case import Outcome

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SOURCE_BATCH = 10_000

Row = tuple[str, tuple[datetime, float]]


def rows(table: pa.Table) -> Callable[[], list[Row]]:
    """Return what makes the rows when first called, and has them from then on."""

    def make() -> list[Row]:
        ts, key, price = (table[name].to_pylist() for name in ("ts", "key", "price"))
        times = (EPOCH + timedelta(milliseconds=t) for t in ts)
        return [(str(k), (t, p)) for t, k, p in zip(times, key, price, strict=True)]

    return functools.cache(make)


def windower(kind: str, size: int, every: int = 0) -> Any:
    """Return Bytewax's name for a kind of window; ms."""
    from bytewax.operators import windowing

    length = timedelta(milliseconds=size)
    if kind == "tumbling":
        return windowing.TumblingWindower(length, EPOCH)
    if kind == "hopping":
        return windowing.SlidingWindower(length, timedelta(milliseconds=every), EPOCH)
    return windowing.SessionWindower(length)


def run(windower: Any, out_of_order_ms: int, rows: list[Row]) -> Outcome:
    """Run the dataflow over the rows."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.operators import windowing
    from bytewax.testing import TestingSink, TestingSource, run_main

    clock = windowing.EventClock(
        lambda row: row[0],
        timedelta(milliseconds=out_of_order_ms),
        now_getter=lambda: EPOCH,
        to_system_utc=lambda _: None,
    )

    def fold(state: tuple[int, float, float], row: tuple[datetime, float]) -> tuple[int, float, float]:
        n, total, most = state
        price = row[1]
        return n + 1, total + price, price if price > most else most

    def merge(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
        return a[0] + b[0], a[1] + b[1], max(a[2], b[2])

    results: list[tuple[str, tuple[int, tuple[int, float, float]]]] = []
    flow = Dataflow("windows")
    stream = op.input("rows", flow, TestingSource(rows, batch_size=SOURCE_BATCH))
    windows = windowing.fold_window(
        "fold", stream, clock, windower, lambda: (0, 0.0, float("-inf")), fold, merge, ordered=False
    )
    op.output("results", windows.down, TestingSink(results))
    run_main(flow)
    return Outcome(len(results), total=sum(_totals(results)))


def _totals(results: list[tuple[str, tuple[int, tuple[int, float, float]]]]) -> Iterator[float]:
    return (aggregates[1] for _, (_, aggregates) in results)
