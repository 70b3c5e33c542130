"""The interval join of two streams: rows of one key whose times are so far apart as the definition says.

A pair comes as soon as the second of its rows arrives; nothing waits for the watermark but rows that come alone. The
semantics and the state are the kernel's, csrc/join_interval.h.
"""

from __future__ import annotations

from fyke._core import IntervalJoinCore
from fyke.duration import format_ns
from fyke.join import Interval, check_how
from fyke.operators.columns import Columns
from fyke.operators.joining import Joining
from fyke.operators.sides import Given, Sides

__all__ = ["IntervalJoin"]


class IntervalJoin(Joining):
    """Joins two streams by an interval of time. A row costs O(log n + its pairs), n rows held of its key and side.

    Args:
        definition: the interval.
        left, right: the schema and the keys of each side.
        how: inner, left, right or outer: which side's rows come alone if they find no partner.
        suffix: for columns of the right side whose names are there on the left.

    Raises:
        DefinitionError, SchemaError: the sides do not fit together.
    """

    counted = ("pairs", "alone", "late", "null_keys")

    def __init__(
        self,
        definition: Interval,
        left: Given,
        right: Given,
        how: str = "inner",
        suffix: str = "_right",
    ) -> None:
        self.definition = definition
        self.how = check_how(how)
        sides = Sides(left, right)
        outer = (how in ("left", "outer"), how in ("right", "outer"))
        core = IntervalJoinCore(sides.left.store, sides.right.store, *definition.bounds, *outer)
        super().__init__(sides, core, Columns(sides, suffix))

    def describe(self) -> str:
        """Say what waits for what."""
        lower, upper = self.definition.bounds
        apart = f"from {format_ns(lower)} to {format_ns(upper)}" + (" (nothing joins)" if lower > upper else "")
        lines = [
            f"interval join ({self.how}) by {self.sides.key}: right time - left time {apart}",
            "  a pair comes when the second of its rows arrives, at the later time of the two",
            f"  a left row is kept until the watermark of both sides reaches its time {_plus(upper)}",
            f"  a right row is kept until the watermark of both sides reaches its time {_plus(-lower)}",
        ]
        if self.how != "inner":
            which = "a row of either side" if self.how == "outer" else f"a {self.how} row"
            lines.append(f"  {which} that has found no partner comes then, alone")
        return "\n".join(lines)


def _plus(ns: int) -> str:
    return f"{'-' if ns < 0 else '+'} {format_ns(abs(ns))}"
