"""What the workloads of windows share: count, sum and max of price per key, in order and out of order, and their peers.

Bytewax and Quix Streams take rows one by one, hundreds of times slower than columns, so a line of their own holds
them on a fifth of the rows.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benches import data
from benches.case import Options, Outcome, Subject, Target, Variant
from benches.peers import bytewax_flow, duckdb_sql, polars_frames, quix

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"arrival": "in order"}, {"arrival": "disorder"}, {"arrival": "in order", "against": "rows"}]


def rows_of(n: int, variant: Variant) -> int:
    """Return the rows of a variant: a fifth where the peers go row by row."""
    return n // 5 if "against" in variant else n


def table_of(n: int, variant: Variant) -> pa.Table:
    """Return the stream as it arrives."""
    return data.disordered(n) if variant["arrival"] == "disorder" else data.stream(n)


def bound_of(variant: Variant) -> int:
    """Return out_of_order in ms."""
    return data.DISORDER_MS if variant["arrival"] == "disorder" else 0


def push_all(engine: Any, pieces: list[pa.RecordBatch]) -> Outcome:
    """Push every piece, flush, take the results as Arrow columns, and sum them up."""
    tables = [engine.push(piece).results.to_arrow() for piece in pieces]
    tables.append(engine.flush().results.to_arrow())
    totals = (pc.sum(table["total"]).as_py() or 0.0 for table in tables)
    return Outcome(sum(table.num_rows for table in tables), total=sum(totals))


def engine_subject(window: Callable[[], Any], table: pa.Table, bound: int, options: Options) -> Subject:
    """Return the subject that pushes a table as record batches into a fresh engine of one windowed stream."""
    pieces = data.batches(table, options.batch_rows)

    def prepare() -> Any:
        import fyke
        from fyke import agg

        keyed = fyke.stream("rows", time="ts", unit="ms", out_of_order=f"{bound}ms").key_by("key")
        windowed = keyed.window(window())
        return fyke.Engine(windowed.aggregate(n=agg.count(), total=agg.sum("price"), most=agg.max("price")))

    return Subject(lambda engine: push_all(engine, pieces), prepare, is_fyke=True)


def limit_subject(
    loop: Callable[[tuple[np.ndarray, ...]], int], capacity: int, integers: int, sum_column: int
) -> Subject:
    """Return the subject of a limit that writes its results into columns.

    Args:
        loop: calls the limit with the columns to write into.
        capacity: room for so many results.
        integers: columns of int64 before the two of float64.
        sum_column: where the sums stand among them.
    """
    out = (*(np.empty(capacity, np.int64) for _ in range(integers)), *(np.empty(capacity) for _ in range(2)))

    def work(_: object) -> Outcome:
        results = loop(out)
        if results > capacity:
            raise ValueError(f"{results:,} results, and room for {capacity:,}")
        return Outcome(results, total=float(out[sum_column][:results].sum()))

    return Subject(work)


def column_peers(table: pa.Table, sql: str, frames: Callable[[Any], Any]) -> dict[str, Subject]:
    """Return DuckDB and polars, of what is installed."""
    peers = {}
    if importlib.util.find_spec("duckdb"):
        peers["DuckDB"] = Subject(duckdb_sql.subject(sql, table))
    if importlib.util.find_spec("polars"):
        peers["polars"] = Subject(polars_frames.subject(frames, table))
    return peers


def row_peers(table: pa.Table, bound: int, kind: str, size: int, every: int = 0) -> dict[str, Subject]:
    """Return Bytewax and Quix Streams, of what is installed."""
    peers = {}
    if importlib.util.find_spec("bytewax"):
        window = bytewax_flow.windower(kind, size, every)
        peers["Bytewax"] = Subject(lambda rows: bytewax_flow.run(window, bound, rows), bytewax_flow.rows(table))
    if importlib.util.find_spec("quixstreams"):
        close_after = 4 * (size + data.DISORDER_MS)
        peers["Quix Streams"] = Subject(quix.subject(kind, size, every, bound), quix.rows(table, close_after))
    return peers


def at_least(times: float, peer: str) -> Target:
    """Claim: at least so many times a peer's rate."""
    return Target(f"at least {times:g}x the rate of {peer}", times, lambda s: s[peer] / s["engine"], at_least=True)


def targets(variant: Variant, peers: Mapping[str, Subject]) -> tuple[Target, ...]:
    """Claim DuckDB's rate in order and half of it out of order, and 200 times that of each peer that goes by row."""
    if "against" in variant:
        return tuple(at_least(200, peer) for peer in peers)
    return tuple(at_least(0.5 if variant["arrival"] == "disorder" else 1, peer) for peer in peers if peer == "DuckDB")
