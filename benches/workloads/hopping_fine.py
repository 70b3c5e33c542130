"""hopping-fine: windows of 1 h every 1 s over one key, so that a row is in 3,600 of them; against windows of 1 s."""

from __future__ import annotations

import numpy as np

from benches import data, limits
from benches.case import Case, Options, Target, Variant
from benches.workloads import _windows
from benches.workloads._fyke import column

ROWS = 10_000_000
VARIANTS: list[Variant] = [{"size_s": 3_600, "every_s": 1}]


def case(n: int, variant: Variant, options: Options) -> Case:
    from fyke import hopping, tumbling

    table = data.stream(n, keys=1)
    ts, key, price = (column(table, name) for name in ("ts", "key", "price"))
    size, every = 3_600_000, 1_000
    windows = n // every + 1 + size // every - 1
    # The sum of each window is a difference of two running sums; each row is in 3,600 windows.
    slices = np.bincount(ts // every, weights=price)
    return Case(
        events=n,
        matches=windows,
        engine=_windows.engine_subject(lambda: hopping("1h", "1s"), table, 0, options),
        limit=_windows.limit_subject(
            lambda out: limits.hopping(ts, key, price, 1, size, every, 0, out), windows + 1, integers=3, sum_column=3
        ),
        references={"1 s tumbling": _windows.engine_subject(lambda: tumbling("1s"), table, 0, options)},
        targets=(Target("at most twice the time of windows of 1 s", 2.0, lambda s: s["engine"] / s["1 s tumbling"]),),
        total=float(slices.sum() * (size // every)),
    )
