"""equal-join: a small price, followed by any big price of the same type, within 100 s; one key, T types."""

from __future__ import annotations

from typing import Any

import numpy as np

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import column, engine_subject

ROWS = 1_000_000
WINDOW_MS = 100_000
VARIANTS: list[Variant] = [{"types": 1_000}, {"types": 100_000}]
MATCHES = {1_000: 234_408, 100_000: 2_345}  # at n = 1,000,000


def pattern() -> Any:
    import fyke
    from fyke import col, ref

    begun = fyke.begin("small", col.price < 50)
    return begun.followed_by_any("big", col.price > 950, col.type == ref("small").type).within(f"{WINDOW_MS}ms")


def case(n: int, variant: Variant, options: Options) -> Case:
    types = int(variant["types"])
    table = data.stream(n, keys=1, types=types)
    ts, type_, price = (column(table, name) for name in ("ts", "type", "price"))
    room = max(1, n // 2)
    out = (np.zeros(room, np.int64), np.zeros(room, np.int64))
    references: dict[str, Subject] = {}
    targets: tuple[Target, ...] = ()
    if types != VARIANTS[0]["types"]:
        fewer = data.stream(n, keys=1, types=int(VARIANTS[0]["types"]))
        references = {"1,000 types": engine_subject(pattern, fewer, options)}
        text = "no slower than T=1,000 by more than 1.5x"
        targets = (Target(text, 1.5, lambda s: s["engine"] / s["1,000 types"]),)
    return Case(
        events=n,
        matches=MATCHES.get(types) if n == ROWS else None,
        engine=engine_subject(pattern, table, options),
        limit=Subject(lambda _: limits.equal_join(ts, type_, price, types, WINDOW_MS, out)),
        references=references,
        targets=targets,
    )
