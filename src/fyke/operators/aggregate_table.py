"""Continuous aggregates: a table with a row a key, its aggregates over all rows so far, by arrival.

It is a global window of each key that says with every row what it holds (operators/windowed.py); what it says are the
changes of a table (changes.py), and the table can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke import window
from fyke.agg import Aggregate
from fyke.expr import Expr
from fyke.operator import Batch, Output, State
from fyke.operators.aggregates import result_arrays
from fyke.operators.changes import change_array, with_change
from fyke.operators.key_lookup import KeyLookup
from fyke.operators.keys import key_array, named_keys
from fyke.operators.windowed import RESULT_COLUMNS, Windowed
from fyke.trigger import per_update

__all__ = ["AggregateTable"]

_INSERT: Final = 0
_AFTER: Final = 2
# Log entries of csrc/agg_log.h: "say what you hold".
_LOG: Final = [("op", "u4"), ("pane", "u4"), ("a", "u4"), ("b", "u4")]
_FIRE: Final = 2


class AggregateTable:
    """Sums up all rows of each key, and says so with every row; an operator with one input. O(1) a row.

    Its columns: change (+I for the first row of a key, then +U), the key, the aggregates, revision (0, 1, 2, ... of
    each key). A change has the time of the row that made it; nothing is late. Side output: errors (a part of the key is
    null).

    Args:
        aggregates: by the name of the result's column.
        schema: the columns of the input.
        keys: the parts of the key, by name if they are no plain columns; none: the table has one row.

    Raises:
        DefinitionError: names that are there twice. SchemaError: an expression and the schema do not meet, or a column
            of the table would be called `change`.
    """

    def __init__(
        self,
        aggregates: Mapping[str, Aggregate],
        schema: pa.Schema,
        keys: Mapping[str, Expr] | Sequence[Expr] = (),
    ) -> None:
        self.windows = Windowed(window.global_window(), aggregates, schema, keys, trigger=per_update())
        named = named_keys(keys)
        plan = self.windows.plan.rows
        self.lookup = KeyLookup(self.windows.input, list(named.values()), plan.key_types)
        inner = self.windows.schema
        self.names = [name for name in inner.names if name not in RESULT_COLUMNS] + ["revision"]
        self.rows = pa.schema([inner.field(name) for name in self.names])
        self._schema = with_change(self.rows)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results."""
        return self._schema

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks; gives a change for every row with a key."""
        out = self.windows.step(inputs)
        results = out.results
        if len(results) == 0:
            return Output(Batch.empty(self.schema, results.marks), out.side)
        first = results.rows["revision"].to_numpy() == 0
        columns = [change_array(np.where(first, _INSERT, _AFTER)), *results.rows.select(self.names).columns]
        rows = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        return Output(Batch(rows, results.times, results.origins, results.marks), out.side)

    def get(self, *key: Any) -> dict[str, Any] | None:
        """Give the row of a key, or None. O(1), and its columns.

        Raises:
            DataError: it is no key of this table.
        """
        numbers = self.windows.core.numbers(self.lookup.store, self.lookup.segment(key))
        row: dict[str, Any] | None = self._read(numbers).to_pylist()[0] if numbers else None
        return row

    def to_arrow(self) -> pa.RecordBatch:
        """Give all rows, by key. O(n log n)."""
        return self._read(self.windows.core.numbers(None, None))

    def items(self) -> Iterator[dict[str, Any]]:
        """Give the rows one by one, as they stand at the first; by key."""
        yield from self.to_arrow().to_pylist()

    def __len__(self) -> int:
        return self.windows.core.counters()["windows"]

    def _read(self, numbers: Sequence[int]) -> pa.RecordBatch:
        n = len(numbers)
        revisions, keys, values, segments = self.windows.core.read(numbers)
        arrays = [key_array(part, *taken, n) for part, taken in zip(self.windows.keys, keys, strict=True)]
        python = self.windows.panes.replay(_fires(numbers), segments) if self.windows.logged else []
        arrays += result_arrays(self.windows.plan, values, segments, python)
        arrays.append(pa.array(revisions - 1))  # the one that it would say next is counted
        return pa.RecordBatch.from_arrays(arrays, schema=self.rows)

    def statistics(self) -> dict[str, int]:
        """Give counts since the start (rows, null_keys, overflows), and what is held (keys, bytes)."""
        counters = self.windows.statistics()
        return {name: counters[name] for name in ("rows", "null_keys", "overflows", "keys", "held_rows", "bytes")}

    def export(self) -> State:
        """Give the whole state, by key."""
        return self.windows.export()

    def restore(self, state: State) -> None:
        """Take over what export gave; raises StateError if it is damaged or of something else."""
        self.windows.restore(state)

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        self.windows.check()

    def describe(self) -> str:
        """Say what waits for what."""
        keys = ", ".join(map(repr, self.lookup.keys)) or "no key"
        names = ", ".join(column.name for column in self.windows.plan.columns)
        return f"table by {keys}: {names}, over all rows so far, by arrival\n  nothing waits; a key is kept for ever"


def _fires(numbers: Sequence[int]) -> npt.NDArray[Any]:
    log = np.zeros(len(numbers), _LOG)
    log["op"], log["pane"], log["a"] = _FIRE, numbers, np.arange(len(numbers))
    return log
