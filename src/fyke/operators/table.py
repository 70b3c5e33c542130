"""Tables: the latest row of each key, by arrival. They can be read, and they give their changes (changes.py).

`CompactedTable` is a log with keys seen as a table; `TableJoin` the joined rows of two tables. Both are one kernel,
csrc/join_latest.h. Nothing waits for a watermark and nothing is late: what counts is the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import JoinFound, LatestCore
from fyke.expr import Expr
from fyke.join import check_how
from fyke.operators.changes import CHANGE, DELETES, TABLE_BITS, change_array, require_table, with_change
from fyke.operators.columns import Columns
from fyke.operators.joining import Joining
from fyke.operators.key_lookup import KeyLookup
from fyke.operators.sides import NONE, Given, Sides, numbers_of

__all__ = ["COUNTED", "CompactedTable", "TableJoin"]

COUNTED = ("matched", "alone", "null_keys", "deletes", "useless_deletes")


class Table(Joining):
    """A table while it runs: its changes are its results; it can be read between steps.

    Args:
        sides: what it reads.
        core: the kernel.
        columns: those of a row.
        outer: of each side, whether its row needs none of the other.
    """

    counted = COUNTED

    def __init__(self, sides: Sides, core: LatestCore, columns: Columns, outer: tuple[bool, bool]) -> None:
        super().__init__(sides, core, columns)
        self.latest = core
        self.outer = outer
        self.changes = with_change(columns.schema)
        self.lookup = KeyLookup(sides.left.schema, sides.left.keys, sides.left.rows.key_types)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results: `change`, then those of a row."""
        return self.changes

    def rows_of(self, found: JoinFound) -> pa.RecordBatch:
        """Make the rows of results."""
        assert found.changes is not None  # the kernel of tables says them
        rows = self.columns.gather(self.sides, found.segments, found.rows)
        return pa.RecordBatch.from_arrays([change_array(found.changes), *rows.columns], schema=self.changes)

    def get(self, *key: Any) -> dict[str, Any] | None:
        """Give the row of a key, or None. O(1), and its columns.

        Raises:
            DataError: it is no key of this table.
        """
        found = self.latest.of_key(self.lookup.store, self.lookup.segment(key))
        if found is None or not self._there(found)[0]:
            return None
        row: dict[str, Any] = self._gather(found).to_pylist()[0]
        return row

    def to_arrow(self) -> pa.RecordBatch:
        """Give all rows, in the order of the arrival of what they are made of, the left side's first. O(n log n)."""
        found = self.latest.all_keys()
        found = found[self._there(found)]
        left, right = self.sides.left, self.sides.right
        by_left = numbers_of(left.store.segments, found["left_segment"], found["left_row"])
        by_right = numbers_of(right.store.segments, found["right_segment"], found["right_row"])
        return self._gather(found[np.lexsort((by_right, by_left))])

    def items(self) -> Iterator[dict[str, Any]]:
        """Give the rows one by one, as they stand at the first; in the order of to_arrow."""
        yield from self.to_arrow().to_pylist()

    def __len__(self) -> int:
        return int(self._there(self.latest.all_keys()).sum())

    def _there(self, found: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        left, right = found["left_segment"] != NONE, found["right_segment"] != NONE
        there: npt.NDArray[np.bool_] = (left | self.outer[1]) & (right | self.outer[0]) & (left | right)
        return there

    def _gather(self, found: npt.NDArray[Any]) -> pa.RecordBatch:
        return self.columns.gather(self.sides, (self.sides.left.store.segments, self.sides.right.store.segments), found)


class CompactedTable(Table):
    """A log as a table: the latest row of each key, by arrival; an operator with one input.

    Side output: errors (a part of the key is null).

    Args:
        log: the schema and the keys of the rows.
        delete: a condition: such a row deletes its key. A key that is not there is deleted without a change (counted).
        retract: whether a row that is replaced is said once more, as -U.

    Raises:
        SchemaError: they do not fit together, or the rows have a column `change`.
    """

    def __init__(self, log: Given, delete: Expr | None = None, retract: bool = False) -> None:
        self.delete = delete
        self.retract = retract
        sides = Sides(log, None, (() if delete is None else (delete,), ()))
        stores = sides.left.store, sides.right.store
        core = LatestCore(*stores, 1, (True, False), retract, (0 if delete is None else 1, 0))
        super().__init__(sides, core, Columns(sides, "", ((), sides.right.schema.names)), (True, False))

    def describe(self) -> str:
        """Say what waits for what."""
        deletes = "" if self.delete is None else f"; {self.delete!r} deletes"
        return (
            f"table by {self.sides.key}: the latest row of each key, by arrival{deletes}\n"
            "  nothing waits; a row is kept until the next of its key"
        )


class TableJoin(Table):
    """The joined rows of two tables by key; its changes say every row that goes, too (-U, -D).

    Side outputs: errors_left, errors_right (a part of the key is null).

    Args:
        left, right: the schema of the changes and the keys of each table.
        how: inner, left, right or outer: which table's rows need none of the other.
        suffix: for columns of the right table whose names are there on the left.

    Raises:
        DefinitionError, SchemaError: the tables do not fit together.
    """

    def __init__(self, left: Given, right: Given, how: str = "inner", suffix: str = "_right") -> None:
        self.how = check_how(how)
        require_table(left[0], "left")
        require_table(right[0], "right")
        outer = (how in ("left", "outer"), how in ("right", "outer"))
        sides = Sides(left, right, (DELETES, DELETES))
        core = LatestCore(sides.left.store, sides.right.store, 1, outer, True, (TABLE_BITS, TABLE_BITS))
        super().__init__(sides, core, Columns(sides, suffix, ((CHANGE,), (CHANGE,))), outer)

    def describe(self) -> str:
        """Say what waits for what."""
        return (
            f"table join ({self.how}) by {self.sides.key}\n"
            "  nothing waits; the latest row of each key of both tables is kept"
        )
