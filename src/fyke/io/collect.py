"""Results kept in the process, or given to a function: lists of rows, tables, NumPy arrays, callables."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fyke.io import Guarantee
from fyke.io.outlet import Outlet
from fyke.io.rows import to_rows
from fyke.io.tables import concat, row_ids

# Rows that were replaced are thrown away when there are more of them than of the others and this many.
COMPACT_ROWS = 65_536


class ListSink(Outlet):
    """Append each row to a list, as a dict; times are datetimes, rounded down to microseconds.

    Args:
        rows: the list to append to. Default: a new one, the sink's `rows`.

    >>> sink = ListSink()
    >>> sink.write(pa.table({"a": [1, 2]}))
    >>> sink.rows
    [{'a': 1}, {'a': 2}]
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        super().__init__("list")
        self.rows: list[dict[str, Any]] = [] if rows is None else rows

    def _write(self, table: pa.Table) -> None:
        self.rows += to_rows(table)


class MemorySink(Outlet):
    """Keep results as Arrow tables; with `id`, the latest row of each id only.

    Args:
        id: the columns that tell what a row is about; writing a row with the id of an earlier one replaces it, in its
            place. Default: every row is kept.

    >>> sink = MemorySink(id=["card"])
    >>> sink.write(pa.table({"card": ["a", "b"], "n": [1, 1]}))
    >>> sink.write(pa.table({"card": ["a"], "n": [2]}))
    >>> sink.to_arrow().to_pylist()
    [{'card': 'a', 'n': 2}, {'card': 'b', 'n': 1}]
    """

    def __init__(self, *, id: Sequence[str] = ()) -> None:
        super().__init__("memory")
        self._id = tuple(id)
        self.guarantee: Guarantee = "idempotent" if self._id else "append"
        self._tables: list[pa.Table] = []
        self._n_rows = 0
        self._place: dict[tuple[Any, ...], int] = {}  # by id: which of the ids it is, in order of appearance
        self._latest: list[int] = []  # of each id, the number of its latest row

    def _write(self, table: pa.Table) -> None:
        for number, id in enumerate(row_ids(table, self._id, self.name) if self._id else (), self._n_rows):
            place = self._place.setdefault(id, len(self._place))
            if place == len(self._latest):
                self._latest.append(number)
            else:
                self._latest[place] = number
        self._tables.append(table)
        self._n_rows += table.num_rows
        if self._id and self._n_rows > 2 * len(self._latest) + COMPACT_ROWS:
            self.to_arrow()

    def to_arrow(self) -> pa.Table:
        """Return what is kept as one table. O(rows written since the last call)."""
        together = concat(self._tables)
        if self._id:
            together = together.take(pa.array(self._latest, pa.int64()))
            self._latest = list(range(together.num_rows))
        self._tables = [together]
        self._n_rows = together.num_rows
        return together

    def to_numpy(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return what is kept as arrays by column: numbers and times in their own dtype, all else as objects."""
        table = self.to_arrow()
        return {name: table[name].to_numpy() for name in table.column_names}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return to_rows(self.to_arrow())

    def __len__(self) -> int:
        return len(self._latest) if self._id else self._n_rows


class CallSink(Outlet):
    """Call a function with each table, or with each row as a dict.

    What the function raises stops the run; a row is given to it at least once.

    Args:
        function: called with a table, or a dict.
        rows: whether with dicts, a call a row.

    >>> sink = CallSink(print, rows=True)
    >>> sink.write(pa.table({"a": [1, 2]}))
    {'a': 1}
    {'a': 2}
    """

    def __init__(self, function: Callable[[Any], object], *, rows: bool = False) -> None:
        super().__init__(getattr(function, "__qualname__", type(function).__name__))
        self._function = function
        self._rows = rows

    def _write(self, table: pa.Table) -> None:
        if not self._rows:
            if table.num_rows:
                self._function(table)
            return
        for row in to_rows(table):
            self._function(row)


__all__ = ["CallSink", "ListSink", "MemorySink"]
