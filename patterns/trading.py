"""Shapes in prices."""

from __future__ import annotations

from datetime import timedelta

import fyke
from fyke import Pattern, col, prev, ref


def v_shape(
    depth: float = 0.02,
    falls: int = 2,
    rises: int = 2,
    within: str | timedelta = "1h",
    symbol: str = "symbol",
    price: str = "price",
) -> Pattern:
    """Find a price that falls without a pause, then rises without a pause until it is back at its top.

    One match per V, at the first price that reaches the top again. Stages: top, down (several), up (several), back.

    Args:
        depth: how deep the V is, as a part of the top's price; 0.02 is 2 %.
        falls: how many times in a row the price falls, at least.
        rises: how many times in a row it rises, at least, the last one to the top included; 2 or more.
        within: the longest time from the top until the price is back, exclusive.
        symbol: column of what is traded, the key.
        price: column of the price.
    """
    top = ref("top")[price]
    # The top is the last price before the fall, so it does not fall itself; the first price of all may be one.
    is_top = prev[price].is_null() | (col[price] >= prev[price])
    rising = col[price] > prev[price]
    return (
        fyke.begin("top", is_top)
        .next("down", col[price] < prev[price])
        .times_or_more(falls)
        .consecutive()
        .next("up", rising, col[price] < top)
        .times_or_more(rises - 1)
        .consecutive()
        .next("back", rising, col[price] >= top, ref("down")[price].min() <= top * (1 - depth))
        .within(within)
        .by(symbol)
        .named("v shape")
    )
