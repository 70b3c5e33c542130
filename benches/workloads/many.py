"""many: N patterns like fraud, each a little wider than the one before, in one engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import WITHIN_MS, column, engine_subject

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"patterns": n} for n in (1, 10, 100, 1_000)]
MATCHES = {1: 39, 10: 444, 100: 9_904, 1_000: 1_675_163}  # at n = 1,000,000
BOUNDS = {100: 10.0, 1_000: 100.0}  # times the time of one pattern


def patterns(n_patterns: int) -> list[Any]:
    """Return the N patterns, named p0, p1, ..."""
    import fyke
    from fyke import col

    return [
        fyke.begin("small", col.price < 1 + 0.01 * j)
        .followed_by("big", col.price > 999 - 0.01 * j)
        .within(f"{WITHIN_MS}ms")
        .by("key")
        .named(f"p{j}")
        for j in range(n_patterns)
    ]


def case(n: int, variant: Variant, options: Options) -> Case:
    n_patterns = int(variant["patterns"])
    table = data.stream(n)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))
    low = np.array([1 + 0.01 * j for j in range(n_patterns)])
    high = np.array([999 - 0.01 * j for j in range(n_patterns)])
    bound = BOUNDS.get(n_patterns)
    targets: tuple[Target, ...] = ()
    if bound is not None:
        text = f"N={n_patterns:,} at most {bound:g}x the time of N=1"
        targets = (Target(text, bound, lambda s: s["engine"] / s["one pattern"]),)
    return Case(
        events=n,
        matches=MATCHES[n_patterns] if n == ROWS else None,
        engine=engine_subject(lambda: patterns(n_patterns), table, options),
        limit=Subject(lambda _: limits.many(ts, key, price, data.N_KEYS, WITHIN_MS, low, high)),
        references={"one pattern": engine_subject(lambda: patterns(1), table, options)} if targets else {},
        targets=targets,
    )
