"""Several inputs -> one order of rows, and the watermark that holds for all of them.

Every operator with more than one input takes rows by (origin, input), and no input brings rows any more at or below the
least of their watermarks. What the combined watermark is after an origin depends on nothing but the inputs up to that
origin, so the size of batches changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fyke.errors import StateError
from fyke.operator import END, START, Batch, Int64s, Marks, UInt64s

__all__ = ["Merge", "Merged"]

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of all inputs in the order in which they are taken, and the combined watermark.

    Attributes:
        order: for each row, its place in the inputs' rows put one input after the other.
        inputs, rows: for each row, its input and its place there.
        times, origins: of each row.
        before: the combined watermark before these rows.
        marks: its changes; one of origin o stands after all rows of origin o.
    """

    order: Places
    inputs: Places
    rows: Places
    times: Int64s
    origins: UInt64s
    before: int
    marks: Marks

    def __len__(self) -> int:
        return len(self.times)

    @property
    def after(self) -> int:
        """The combined watermark after these rows."""
        return int(self.marks.times[-1]) if len(self.marks) else self.before


class Merge:
    """Puts the batches of several inputs in order; remembers each input's watermark.

    Args:
        n_inputs: how many there are.

    >>> import pyarrow as pa
    >>> def batch(v, origins, marks):
    ...     rows = pa.record_batch({"v": v})
    ...     return Batch(rows, np.array(v), np.array(origins, np.uint64), marks)
    >>> left = batch([10, 30], [0, 2], Marks.one(2, 20))
    >>> right = batch([15, 40], [1, 3], Marks.one(4, 25))
    >>> merged = Merge(2).step([left, right])
    >>> merged.times.tolist(), merged.inputs.tolist(), merged.rows.tolist()
    ([10, 15, 30, 40], [0, 1, 0, 1], [0, 0, 1, 1])
    >>> merged.marks.origins.tolist(), merged.marks.times.tolist()  # right's 25 makes left's 20 hold for both
    ([4], [20])
    """

    def __init__(self, n_inputs: int) -> None:
        self.watermarks = [START] * n_inputs

    @property
    def watermark(self) -> int:
        """The combined watermark: the least of the inputs'."""
        return min(self.watermarks)

    def step(self, inputs: Sequence[Batch]) -> Merged:
        """Take the next batch of every input. O(n log n), O(n) if only one of them has rows."""
        before = self.watermark
        marks = self._combined([batch.marks for batch in inputs])
        sizes = [len(batch) for batch in inputs]
        origins = np.concatenate([batch.origins for batch in inputs])
        times = np.concatenate([batch.times for batch in inputs])
        of_input = np.repeat(np.arange(len(inputs)), sizes)
        within = np.concatenate([np.arange(size) for size in sizes])
        order = np.arange(len(origins))
        if sum(size > 0 for size in sizes) > 1:  # else they are in order already
            order = np.argsort(origins, kind="stable")
            origins, times, of_input, within = origins[order], times[order], of_input[order], within[order]
        return Merged(order, of_input, within, times, origins, before, marks)

    def _combined(self, marks: Sequence[Marks]) -> Marks:
        """Give the rises of the least watermark; take over where each input's stands."""
        if not any(map(len, marks)):
            return Marks.none()
        before = self.watermark
        origins = np.sort(np.concatenate([each.origins for each in marks]), kind="stable")  # runs: merged, not sorted
        origins = origins[np.append(True, origins[1:] != origins[:-1])]
        least = np.full(len(origins), END, np.int64)
        for i, each in enumerate(marks):
            known = np.concatenate([np.array([self.watermarks[i]], np.int64), each.times])
            reached = np.maximum.accumulate(known)[np.searchsorted(each.origins, origins, side="right")]
            self.watermarks[i] = int(reached[-1])
            least = np.minimum(least, reached)
        rises = least > np.concatenate([np.array([before], np.int64), least[:-1]])
        return Marks(origins[rises], least[rises])

    def export(self) -> dict[str, Any]:
        """Give what JSON can say."""
        return {"watermarks": list(self.watermarks)}

    def restore(self, state: Any) -> None:
        """Take over what export gave; raises StateError if it is something else."""
        given = state.get("watermarks") if isinstance(state, dict) else None
        if (
            not isinstance(given, list)
            or len(given) != len(self.watermarks)
            or not all(type(w) is int and START <= w <= END for w in given)
        ):
            raise StateError(f"the watermarks of {len(self.watermarks)} inputs are {given!r:.80}")
        self.watermarks = list(given)
