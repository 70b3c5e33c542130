"""single: fraud pushed one event at a time, as a dict; the latency of each push."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benches import data, limits
from benches.case import Case, Options, Outcome, Subject, Target, Variant
from benches.workloads._fyke import WITHIN_MS, column, fraud_pattern
from benches.workloads.fraud import MATCHES

ROWS = 1_000_000
VARIANTS: list[Variant] = [{}]


def case(n: int, variant: Variant, options: Options) -> Case:
    table = data.stream(n)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))

    def prepare() -> tuple[Any, list[dict[str, Any]]]:
        import fyke

        return fyke.Engine(fraud_pattern(), time="ts", unit="ms", schema=table.schema), table.to_pylist()

    def work(prepared: tuple[Any, list[dict[str, Any]]]) -> Outcome:
        engine, rows = prepared
        push, clock = engine.push, time.perf_counter_ns
        took = np.empty(len(rows), dtype=np.int64)
        matches = 0
        for i, row in enumerate(rows):
            begin = clock()
            results = push(row)
            took[i] = clock() - begin
            matches += len(results)
        p50, p99, p999 = (np.percentile(took, [50, 99, 99.9]) / 1e3).tolist()
        return Outcome(matches + len(engine.flush()), {"p50_us": p50, "p99_us": p99, "p99.9_us": p999})

    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=Subject(work, prepare, is_fyke=True),
        limit=Subject(lambda _: limits.fraud(ts, key, price, data.N_KEYS, WITHIN_MS)),
        targets=(
            Target("p50 of a push at most 3 us", 3.0, lambda s: s["p50_us"]),
            Target("p99 of a push at most 10 us", 10.0, lambda s: s["p99_us"]),
        ),
    )
