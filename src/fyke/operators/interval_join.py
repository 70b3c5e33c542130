"""The interval join of two streams: rows of one key whose times are so far apart as the definition says.

A pair comes as soon as the second of its rows arrives; nothing waits for the watermark but rows that come alone. The
semantics and the state are the kernel's, csrc/join_interval.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fyke._core import IntervalJoinCore
from fyke.duration import format_ns
from fyke.errors import StateError
from fyke.expr import Expr
from fyke.join import Interval, check_how
from fyke.operator import Batch, Output, State
from fyke.operators.sides import Columns, Sides, natural

__all__ = ["IntervalJoin"]

_COUNTERS: Final = ("pairs", "alone", "late", "null_keys")


class IntervalJoin:
    """Joins two streams by an interval of time; an operator with the inputs left, right.

    Side outputs: late_left and late_right (time <= the smaller watermark of both), errors_left and errors_right (a part
    of the key is null).

    Args:
        definition: the interval.
        left, right: the schema and the keys of each side.
        how: inner, left, right or outer: which side's rows come alone if they find no partner.
        suffix: for columns of the right side whose names are there on the left.

    Raises:
        DefinitionError, SchemaError: the sides do not fit together.
    """

    def __init__(
        self,
        definition: Interval,
        left: tuple[pa.Schema, Sequence[Expr]],
        right: tuple[pa.Schema, Sequence[Expr]],
        how: str = "inner",
        suffix: str = "_right",
    ) -> None:
        self.definition = definition
        self.how = check_how(how)
        self.sides = Sides(left, right)
        self.columns = Columns(self.sides, suffix)
        self.core = IntervalJoinCore(
            self.sides.left.store,
            self.sides.right.store,
            *definition.bounds,
            how in ("left", "outer"),
            how in ("right", "outer"),
        )

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results."""
        return self.columns.schema

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows of both sides. O(log n + pairs) a row, n rows held of its key and side."""
        merged, segments, arrivals = self.sides.take(inputs)
        found = self.core.step(segments[0], segments[1], arrivals)
        return self.columns.output(self.sides, inputs, merged, found)

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

    def statistics(self) -> dict[str, int]:
        """Give counts since the start (pairs, alone, late, null_keys), and what is held (keys, rows, bytes)."""
        counters = self.core.counters()
        stores = [side.store.counters() for side in (self.sides.left, self.sides.right)]
        counters["rows_left"], counters["rows_right"] = (store["rows"] for store in stores)
        counters["bytes"] += sum(store["bytes"] + store["payload_bytes"] for store in stores)
        return counters

    def export(self) -> State:
        """Give the whole state: rows that wait for partners, in the order of their arrival, watermarks, counts."""
        meta, state = self.sides.export([self.core.held(0), self.core.held(1)])
        counters = self.core.counters()
        return {"join": meta | {name: counters[name] for name in _COUNTERS}, **state}

    def restore(self, state: State) -> None:
        """Take over what export gave; raises StateError if it is damaged or of something else."""
        try:
            meta: Any = state["join"]
            counters = tuple(natural(meta, name) for name in _COUNTERS)
            (left, (left_matched,)), (right, (right_matched,)) = self.sides.restore(meta, state, ["matched"])
        except (KeyError, TypeError) as error:
            raise StateError(f"the state of an interval join: {error!r} is missing or damaged") from None
        if any((matched > 1).any() for matched in (left_matched, right_matched)):
            raise StateError("section rows: matched is 0 or 1")
        self.core.restore(
            self.sides.merge.watermark,
            left,
            right,
            np.ascontiguousarray(left_matched),
            np.ascontiguousarray(right_matched),
            counters,
        )

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        reason = self.core.check()
        assert reason is None, reason


def _plus(ns: int) -> str:
    return f"{'-' if ns < 0 else '+'} {format_ns(abs(ns))}"
