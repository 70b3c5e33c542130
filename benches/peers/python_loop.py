"""What one writes without a library: a plain Python loop for the one pattern, over rows in memory as tuples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa


def rows(table: pa.Table, *names: str) -> Callable[[], list[tuple[Any, ...]]]:
    """Return what makes the rows (the named columns) when first called, and has them from then on.

    Not at once: fyke's first round runs before, and its peak of memory shall be without them.
    """
    return functools.cache(lambda: list(zip(*(table[name].to_pylist() for name in names), strict=True)))


def fraud(rows: Sequence[tuple[int, int, float]], within: int) -> int:
    """Count the matches of fraud; rows of (ts, key, price)."""
    open_starts: dict[int, list[int]] = {}
    matches = 0
    for ts, key, price in rows:
        if price < 10:
            open_starts.setdefault(key, []).append(ts)
        elif price > 990 and key in open_starts:
            matches += sum(ts - start < within for start in open_starts.pop(key))
    return matches


def vshape(rows: Sequence[tuple[int, float]]) -> int:
    """Count the matches of vshape; rows of (key, price)."""
    lanes: dict[int, tuple[float, int, int]] = {}  # last price, falls in a row, rises after three falls
    matches = 0
    for key, price in rows:
        lane = lanes.get(key)
        falls = rises = 0
        if lane is not None:
            before, falls, rises = lane
            if price < before:
                falls, rises = (1 if rises else falls + 1), 0
            elif price > before and falls >= 3:
                rises += 1
            else:
                falls = rises = 0
        if rises == 2:
            matches += 1
            del lanes[key]  # skip past the last event: the next one has no predecessor
        else:
            lanes[key] = (price, falls, rises)
    return matches
