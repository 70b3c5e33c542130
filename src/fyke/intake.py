"""A source while it runs: data of any shape -> rows of one schema, with times, arrival numbers and watermarks.

The watermark rises row by row with the highest time seen, whatever batch the rows come in; only where it rises stands
a mark.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fyke._core import rising_marks
from fyke.columns import Columns
from fyke.errors import StateError
from fyke.eventtime import TimeColumn
from fyke.nodes import Source
from fyke.operator import END, START, Batch, Int64s, Marks, UInt64s

__all__ = ["Intake"]


class Intake:
    """What a source knows while it runs.

    Attributes:
        position: the number of rows taken.
        watermark, highest: ns; START: none yet.
        is_idle: whether a minimum over inputs leaves it out of account.
    """

    def __init__(self, node: Source) -> None:
        self.node = node
        self.columns = Columns(node.given, f'stream "{node.name}"')
        self.position = 0
        self.watermark = START
        self.highest = START
        self.is_idle = False
        self._time = TimeColumn(node.time, node.unit)

    @property
    def schema(self) -> pa.Schema | None:
        """The columns, once they are known."""
        return self.columns.schema

    def decode(self, data: Any) -> tuple[pa.RecordBatch, Int64s]:
        """Give data as rows with their times; takes nothing yet but the schema.

        Raises:
            DataError: a value or a time is wrong; then nothing is taken at all.
        """
        before = self.columns.schema
        try:
            rows = self.columns.batch(data, self.position)
            if not len(rows):
                return rows, np.empty(0, np.int64)
            return rows, self._time.of(rows, self.position)
        except Exception:
            self.columns.schema = before
            raise

    def take(self, rows: pa.RecordBatch, times: Int64s, origins: UInt64s) -> Batch:
        """Take rows with these arrival numbers, of which there are some."""
        # What is late lies below the highest time anyway: it needs no look of its own.
        marks, passed, self.highest, self.watermark = rising_marks(
            times, origins, self.highest, self.watermark, self.node.out_of_order
        )
        self.position += len(rows)
        self.is_idle = False
        return Batch(rows, times, origins, Marks(marks, passed))

    def take_under(self, rows: pa.RecordBatch, times: Int64s, watermarks: Int64s, first: int) -> Batch:
        """Take rows with the watermark before each, which has an arrival number of its own; there are some rows."""
        numbers = np.arange(len(rows), dtype=np.uint64) * np.uint64(2) + np.uint64(first)
        before = np.concatenate([np.array([self.watermark], np.int64), np.maximum(watermarks[:-1], self.watermark)])
        rises = np.flatnonzero(watermarks > before)
        self.position += len(rows)
        self.highest = max(self.highest, int(times.max()))
        self.watermark = max(self.watermark, int(watermarks[-1]))
        self.is_idle = False
        return Batch(rows, times, numbers + np.uint64(1), Marks(numbers[rises], watermarks[rises]))

    def advance(self, watermark: int, origin: int) -> Marks:
        """Move the watermark from outside; never back."""
        if watermark <= self.watermark:
            return Marks.none()
        self.watermark = watermark
        return Marks.one(origin, watermark)

    def export(self) -> dict[str, Any]:
        """Give the state as JSON can say it; the schema apart."""
        return {
            "position": self.position,
            "watermark": self.watermark,
            "highest": self.highest,
            "is_idle": self.is_idle,
        }

    def restore(self, state: Any, schema: pa.Schema | None) -> None:
        """Take over what export gave.

        Raises:
            StateError: it is something else.
        """
        sound = (
            isinstance(state, dict)
            and all(type(state.get(name)) is int for name in ("position", "watermark", "highest"))
            and 0 <= state["position"] < 2**63
            and all(START <= state[name] <= END for name in ("watermark", "highest"))
            and isinstance(state.get("is_idle"), bool)
        )
        if not sound:
            raise StateError(f'the state of stream "{self.node.name}" is {state!r:.80}')
        if schema is not None and self.node.given is not None and schema != self.node.given:
            raise StateError(f'the snapshot has another schema of stream "{self.node.name}"')
        if schema is not None:
            self.columns.schema = schema
        self.position, self.watermark, self.highest = state["position"], state["watermark"], state["highest"]
        self.is_idle = state["is_idle"]
