"""The contract of an operator: what every box of a stream graph takes and gives.

An operator takes batches of rows with the watermarks that stand between them, and gives the same. Two numberings make
what it does independent of the size of batches:

    origin      the arrival number, counted by the engine, of the input (a row, or a watermark from outside) that a row
                or a watermark comes from. Rows that one input sets free all have its origin.
    watermark   (origin, time) pairs: after everything of that origin, no more rows with a time <= that time.

So a row is judged under the last watermark whose origin is below its own, and an operator with several inputs takes
their rows and watermarks by (origin, input). What an operator sets free because a watermark rose has the origin of that
watermark, stands before it, and has a time above the watermark before it: it is never late for the next operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["END", "START", "Batch", "Marks", "Operator", "Output", "State"]

START: Final = -(2**63)
"""The watermark before the first one: nothing is late."""
END: Final = 2**63 - 1
"""The watermark at the end of the input."""

Int64s: TypeAlias = npt.NDArray[np.int64]
UInt64s: TypeAlias = npt.NDArray[np.uint64]
State: TypeAlias = "dict[str, pa.RecordBatch | dict[str, Any]]"
"""Sections of a snapshot by name: Arrow records, or what JSON can say."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Watermarks: after everything of origin origins[i] the watermark is times[i].

    Attributes:
        origins: strictly ascending.
        times: ns, strictly ascending; END is the end of the input.
    """

    origins: UInt64s
    times: Int64s

    @classmethod
    def none(cls) -> Marks:
        """Give no watermark at all."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64))

    @classmethod
    def one(cls, origin: int, time: int) -> Marks:
        """Give a single watermark."""
        return cls(np.array([origin], np.uint64), np.array([time], np.int64))

    def __len__(self) -> int:
        return len(self.times)

    def under(self, origins: UInt64s, before: int) -> Int64s:
        """Give the watermark in force at each origin; `before`: the one from earlier batches. O(n log marks)."""
        known = np.concatenate([np.array([before], np.int64), self.times])
        return known[np.searchsorted(self.origins, origins, side="left")]

    def releasing(self, times: Int64s) -> UInt64s:
        """Give the origin of the first watermark at or above each time; there must be one. O(n log marks)."""
        return self.origins[np.searchsorted(self.times, times, side="left")]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in the order in which they reach an operator, and the watermarks between them.

    Attributes:
        rows: the columns, of plain types (see batches.arrow_batches).
        times: ns, the time of each row in the stream.
        origins: ascending, not strictly.
        marks: the watermarks.
    """

    rows: pa.RecordBatch
    times: Int64s
    origins: UInt64s
    marks: Marks

    @classmethod
    def empty(cls, schema: pa.Schema, marks: Marks | None = None) -> Batch:
        """Give no rows of a schema."""
        rows = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
        return cls(rows, np.empty(0, np.int64), np.empty(0, np.uint64), Marks.none() if marks is None else marks)

    def __len__(self) -> int:
        return len(self.times)

    def take(self, index: npt.NDArray[Any]) -> Batch:
        """Give the rows at these ascending places, with all watermarks."""
        return Batch(self.rows.take(pa.array(index)), self.times[index], self.origins[index], self.marks)


@dataclass(frozen=True, slots=True)
class Output:
    """What a step of an operator gives.

    Attributes:
        results: the rows for the next operator, with every watermark of the input that still holds behind it.
        side: other outputs by name, as tables of rows: "late", "no_window", "errors"; those that have a place in time
            still, as "timeouts", as batches.
    """

    results: Batch
    side: Mapping[str, pa.Table | Batch] = field(default_factory=dict)


class Operator(Protocol):
    """A box of a stream graph while it runs. Made for the schemas of its inputs; not thread-safe."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results."""
        ...

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks of every input, in the order of the inputs.

        Raises:
            LimitError, SkipError: a bound was met; the operator has then stopped.
        """
        ...

    def statistics(self) -> dict[str, int]:
        """Give counts since the start and of what is held: at least late, keys, bytes where these mean something."""
        ...

    def export(self) -> State:
        """Give the whole state as logical records, equal for equal states. Nothing in it is code."""
        ...

    def restore(self, state: State) -> None:
        """Take over what export gave, in a fresh operator of the same definition and schemas.

        Raises:
            StateError: it is damaged or of something else; every value in it is checked.
        """
        ...

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        ...
