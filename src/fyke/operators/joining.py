"""What the joins of two streams share while they run: a kernel over two sides, its steps and its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from fyke._core import JoinCore, JoinFound
from fyke.errors import StateError
from fyke.operator import Batch, Output, State
from fyke.operators.columns import Columns
from fyke.operators.sides import Sides, natural

__all__ = ["Joining"]


class Joining:
    """An operator with the inputs left, right that puts their rows together.

    Side outputs: late_left and late_right (time <= the smaller watermark of both), errors_left and errors_right (a part
    of the key is null).

    Args:
        sides: what it reads.
        core: the kernel over the sides' row stores.
        columns: those of its results.
    """

    counted: ClassVar[tuple[str, ...]]
    """The counts since the start, in the order in which the kernel restores them."""

    def __init__(self, sides: Sides, core: JoinCore, columns: Columns) -> None:
        self.sides = sides
        self.core = core
        self.columns = columns

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results."""
        return self.columns.schema

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks of both sides."""
        merged, segments, arrivals = self.sides.take(inputs)
        found = self.core.step(segments[0], segments[1], arrivals)
        side = self.sides.side_outputs(inputs, merged, found)
        if len(found.rows) == 0:
            return Output(Batch.empty(self.schema, merged.marks), side)
        times, origins = np.ascontiguousarray(found.rows["time"]), np.ascontiguousarray(found.rows["origin"])
        return Output(Batch(self.rows_of(found), times, origins, merged.marks), side)

    def rows_of(self, found: JoinFound) -> pa.RecordBatch:
        """Make the rows of results."""
        return self.columns.gather(self.sides, found.segments, found.rows)

    def statistics(self) -> dict[str, int]:
        """Give counts since the start, and what is held: keys, rows_left, rows_right, bytes."""
        counters = self.core.counters()
        for side in self.sides.fed:
            store = side.store.counters()
            counters["rows" if len(self.sides.fed) == 1 else f"rows_{side.name}"] = store["rows"]
            counters["bytes"] += store["bytes"] + store["payload_bytes"]
        return counters

    def export(self) -> State:
        """Give the whole state: held rows in the order of their arrival, watermarks, counts."""
        meta, state = self.sides.export([self.core.held(0), self.core.held(1)])
        counters = self.core.counters()
        return {"join": meta | {name: counters[name] for name in self.counted}, **state}

    def restore(self, state: State) -> None:
        """Take over what export gave; raises StateError if it is damaged or of something else."""
        try:
            meta: Any = state["join"]
            counters = tuple(natural(meta, name) for name in self.counted)
            (left, left_flags), (right, right_flags) = self.sides.restore(meta, state)
        except (KeyError, TypeError) as error:
            raise StateError(f"the state of a join: {error!r} is missing or damaged") from None
        self.core.restore(self.sides.merge.watermark, left, right, left_flags, right_flags, counters)

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        reason = self.core.check()
        assert reason is None, reason
