"""kleene: type 0, followed by any combination of one or more 1s, followed by any 2, within 50 ms.

Counted without enumerating; and until the first 1,000 matches have been listed, in pushes of 1,000 rows.
"""

from __future__ import annotations

from typing import Any

from benches import data, limits
from benches.case import Case, Options, Subject, Variant
from benches.workloads._fyke import column

ROWS = 1_000_000
WINDOW_MS = 50
FIRST = 1_000
VARIANTS: list[Variant] = [{}]
MATCHES = {20_000: 5_933_575, 200_000: 72_407_947, 1_000_000: 317_593_366}


def pattern() -> Any:
    import fyke
    from fyke import col

    begun = fyke.begin("zero", col.type == 0).followed_by_any("ones", col.type == 1).one_or_more().allow_combinations()
    return begun.followed_by_any("two", col.type == 2).within(f"{WINDOW_MS}ms")


def case(n: int, variant: Variant, options: Options) -> Case:
    table = data.stream(n, keys=1)
    ts, type_ = column(table, "ts"), column(table, "type")
    pieces = data.batches(table, options.batch_rows)
    small = data.batches(table, FIRST)

    def engine(limit: int) -> Any:
        import fyke

        return fyke.Engine(pattern(), time="ts", unit="ms", schema=table.schema, limit=limit)

    def count(engine: Any) -> int:
        return sum(engine.push(piece).total for piece in pieces) + int(engine.flush().total)

    def first(engine: Any) -> None:
        found = 0
        for piece in small:
            found += engine.push(piece).positions().num_rows
            if found >= FIRST:
                return

    return Case(
        events=n,
        matches=MATCHES.get(n),
        engine=Subject(count, lambda: engine(0), is_fyke=True),
        limit=Subject(lambda _: limits.kleene(ts, type_, WINDOW_MS)),
        references={f"first {FIRST:,} listed": Subject(first, lambda: engine(FIRST), is_fyke=True)},
    )
