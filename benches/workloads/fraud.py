"""fraud: a small price, followed by a big one of the same key, within 1,000 s; no skip."""

from __future__ import annotations

from benches import data, limits
from benches.case import Case, Options, Subject, Variant, at_most_limit
from benches.peers import python_loop
from benches.workloads._fyke import WITHIN_MS, column, engine_subject, fraud_pattern

ROWS = 1_000_000
VARIANTS: list[Variant] = [{}]
MATCHES = {1_000_000: 3_600, 20_000_000: 123_670}


def case(n: int, variant: Variant, options: Options) -> Case:
    table = data.stream(n)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))
    rows = python_loop.rows(table, "ts", "key", "price")
    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=engine_subject(fraud_pattern, table, options),
        limit=Subject(lambda _: limits.fraud(ts, key, price, data.N_KEYS, WITHIN_MS)),
        peers={"Python loop": Subject(lambda rows: python_loop.fraud(rows, WITHIN_MS), rows)},
        targets=(at_most_limit(3),),
    )
