"""dicts: fraud pushed as lists of 10,000 dicts, against merely building the four columns from those dicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import WITHIN_MS, fraud_pattern, push_all
from benches.workloads.fraud import MATCHES

ROWS = 1_000_000
ROWS_PER_PUSH = 10_000
VARIANTS: list[Variant] = [{"rows_per_push": ROWS_PER_PUSH}]

TYPES = {"ts": np.int64, "key": np.int64, "type": np.int64, "price": np.float64}


def build_columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Build the four columns the short way."""
    return {name: np.array([row[name] for row in rows], dtype=dtype) for name, dtype in TYPES.items()}


def case(n: int, variant: Variant, options: Options) -> Case:
    table = data.stream(n)
    pieces = [batch.to_pylist() for batch in data.batches(table, ROWS_PER_PUSH)]

    def prepare() -> Any:
        import fyke

        return fyke.Engine(fraud_pattern(), time="ts", unit="ms", schema=table.schema)

    def build(_: object) -> None:
        for piece in pieces:
            build_columns(piece)

    def build_and_match(_: object) -> int:
        built = [build_columns(piece) for piece in pieces]
        ts, key, price = (np.concatenate([part[name] for part in built]) for name in ("ts", "key", "price"))
        return limits.fraud(ts, key, price, data.N_KEYS, WITHIN_MS)

    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=Subject(lambda engine: push_all(engine, pieces), prepare, is_fyke=True),
        limit=Subject(build_and_match),
        references={"columns built": Subject(build)},
        targets=(
            Target("at most 1.5x the cost of building the columns", 1.5, lambda s: s["engine"] / s["columns built"]),
        ),
    )
