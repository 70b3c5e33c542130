"""disorder: fraud with its rows arriving up to 1 s out of order, none of them late."""

from __future__ import annotations

import numpy as np

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import WITHIN_MS, column, engine_subject, fraud_pattern
from benches.workloads.fraud import MATCHES

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"out_of_order_ms": data.DISORDER_MS}]


def case(n: int, variant: Variant, options: Options) -> Case:
    table = data.disordered(n)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))
    pieces = [ts[low : low + options.batch_rows] for low in range(0, n, options.batch_rows)]

    def argsort(_: object) -> None:
        for piece in pieces:
            np.argsort(piece, kind="stable")

    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=engine_subject(fraud_pattern, table, options, out_of_order=f"{data.DISORDER_MS}ms"),
        limit=Subject(lambda _: limits.disorder(ts, key, price, data.N_KEYS, WITHIN_MS, data.DISORDER_MS)),
        references={
            "fraud in order": engine_subject(fraud_pattern, data.stream(n), options),
            "stable argsort": Subject(argsort),
        },
        targets=(
            Target(
                "at most the time of fraud + 1.5x a stable argsort of the batches",
                1.0,
                lambda s: s["engine"] / (s["fraud in order"] + 1.5 * s["stable argsort"]),
            ),
        ),
    )
