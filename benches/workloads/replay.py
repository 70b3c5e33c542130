"""replay: fraud from a file, against the sum of reading it alone and matching alone."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import WITHIN_MS, engine_subject, fraud_pattern
from benches.workloads.fraud import MATCHES

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"format": "parquet"}, {"format": "jsonl"}]


def write_jsonl(table: pa.Table, path: Path) -> None:
    """Write a line of about 60 bytes a row."""
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    with path.open("w") as file:
        file.writelines(
            f'{{"ts": {ts}, "key": {key}, "type": {type_}, "price": {price!r}}}\n' for ts, key, type_, price in rows
        )


def read_parquet(path: Path, options: Options) -> pa.Table:
    """Read with pyarrow, one thread."""
    with pq.ParquetFile(path) as file:
        return pa.Table.from_batches(file.iter_batches(batch_size=options.batch_rows, use_threads=False))


def read_jsonl(path: Path) -> pa.Table:
    """Read with pyarrow, one thread."""
    return pa.json.read_json(path, pa.json.ReadOptions(use_threads=False, block_size=1 << 22))


def read_jsonl_polars(path: Path) -> object:
    """Read with polars (its threads are held to one by the environment)."""
    import polars

    return polars.read_ndjson(path)


def case(n: int, variant: Variant, options: Options) -> Case:
    # polars reads this when it is first imported, which is after this line.
    os.environ["POLARS_MAX_THREADS"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="fyke-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    table = data.stream(n)
    kind = str(variant["format"])
    path = folder / f"fraud.{kind}"
    readers: dict[str, Callable[[], object]]
    if kind == "parquet":
        pq.write_table(table, path)
        readers = {"read by pyarrow": lambda: read_parquet(path, options)}
    else:
        write_jsonl(table, path)
        readers = {"read by pyarrow": lambda: read_jsonl(path)}
        if importlib.util.find_spec("polars"):
            readers["read by polars"] = lambda: read_jsonl_polars(path)

    def read_and_match(_: object) -> int:
        read = read_parquet(path, options) if kind == "parquet" else read_jsonl(path)
        ts, key, price = (np.ascontiguousarray(read[name].to_numpy()) for name in ("ts", "key", "price"))
        return limits.fraud(ts, key, price, data.N_KEYS, WITHIN_MS)

    def replay(_: object) -> int:
        import fyke

        return sum(1 for _ in fyke.replay(path, fraud_pattern(), time="ts", unit="ms", batch_size=options.batch_rows))

    def subject(read: Callable[[], object]) -> Subject:
        def work(_: object) -> None:
            read()

        return Subject(work)

    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=Subject(replay, is_fyke=True),
        limit=Subject(read_and_match),
        references={
            **{name: subject(read) for name, read in readers.items()},
            "matched alone": engine_subject(fraud_pattern, table, options),
        },
        targets=(
            Target(
                "at most 1.2x the fastest reading alone + matching alone",
                1.2,
                lambda s: s["engine"] / (min(s[name] for name in readers) + s["matched alone"]),
            ),
        ),
    )
