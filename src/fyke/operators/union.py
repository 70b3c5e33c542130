"""The union of streams of one schema: rows in the order of their arrival, under the least of the watermarks."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from fyke.errors import StateError
from fyke.nodes import Union
from fyke.operator import Batch, Output, State
from fyke.operators.merge import Merge

__all__ = ["UnionRows"]


class UnionRows:
    """Merges batches; O(rows). Columns are brought into the order of the first input.

    Args:
        node: the definition.
        schemas: of the inputs; the same columns.
    """

    def __init__(self, node: Union, schemas: Sequence[pa.Schema]) -> None:
        self.schema = node.typed(schemas)
        self._merge = Merge(len(schemas))
        self.rows = 0

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows of every input."""
        merged = self._merge.step(inputs)
        self.rows += len(merged)
        parts = [self._in_order(batch.rows) for batch in inputs if len(batch)]
        if len(parts) > 1:
            together = pa.Table.from_batches(parts).combine_chunks().take(pa.array(merged.order))
            rows = together.combine_chunks().to_batches()[0]
        else:
            rows = parts[0] if parts else Batch.empty(self.schema).rows
        return Output(Batch(rows, merged.times, merged.origins, merged.marks))

    def _in_order(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([rows.column(name) for name in self.schema.names], schema=self.schema)

    def statistics(self) -> dict[str, int]:
        """Give the number of rows."""
        return {"rows": self.rows}

    def export(self) -> State:
        """Give the inputs' watermarks."""
        return {"union": {"rows": self.rows, "merge": self._merge.export()}}

    def restore(self, state: State) -> None:
        """Take them over."""
        given = state.get("union")
        if not isinstance(given, dict) or type(given.get("rows")) is not int:
            raise StateError("the state of a union is missing")
        self._merge.restore(given.get("merge"))
        self.rows = given["rows"]

    def check(self) -> None:
        """The watermarks are times; there is nothing else to be wrong."""

    def describe(self) -> str:
        """Say what waits for what."""
        return "rows pass as they arrive; the watermark is the least of the inputs'"
