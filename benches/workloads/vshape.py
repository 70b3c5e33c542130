"""vshape: per key, neighbours only: any event, three falling prices, two rising ones; skip past the last event.

Run by the strategy that the planner chooses, and by the general one, which the target says nothing of.
"""

from __future__ import annotations

from typing import Any

from benches import data, limits
from benches.case import Case, Options, Subject, Variant, at_most_limit
from benches.peers import python_loop
from benches.workloads._fyke import column, engine_subject

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"strategy": "auto"}, {"strategy": "general"}]
MATCHES = {1_000_000: 12_666, 20_000_000: 269_928}


def pattern() -> Any:
    import fyke
    from fyke import col, prev

    falling = fyke.begin("start").next("down", col.price < prev.price).times(3).consecutive()
    rising = falling.next("up", col.price > prev.price).times(2).consecutive()
    return rising.by("key").skip(fyke.skip.past_last_event())


def case(n: int, variant: Variant, options: Options) -> Case:
    table = data.stream(n)
    key, price = (column(table, name) for name in ("key", "price"))
    rows = python_loop.rows(table, "key", "price")
    strategy = str(variant["strategy"])
    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=engine_subject(pattern, table, options, strategy=strategy),
        limit=Subject(lambda _: limits.vshape(key, price, data.N_KEYS)),
        peers={"Python loop": Subject(python_loop.vshape, rows)},
        targets=(at_most_limit(6),) if strategy == "auto" else (),
    )
