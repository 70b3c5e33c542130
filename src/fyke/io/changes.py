"""What all changelogs share: rows in, labelled rows out, and the rows between that may have to be said once more.

A kind of changelog decides, by the columns it reads, which earlier rows each row takes back; see `changelog`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from fyke.errors import DataError, StateError
from fyke.io.rowstore import RowStore
from fyke.io.tables import as_table, concat

INSERT, BEFORE, AFTER, DELETE = "+I", "-U", "+U", "-D"
VERSION = 1

Change: TypeAlias = tuple[str, int]
"""A change, and the number of the row that it is about."""


class Changelog(ABC):
    """Rows in, changes out, rows remembered between.

    Attributes:
        n_repeated: results that had been said before, or that came after a later revision: they change nothing.
    """

    def __init__(self, keys: Sequence[str], column: str) -> None:
        self._keys = tuple(keys)
        self._column = column
        self._store = RowStore()
        self._schema = pa.schema([])
        self._next = 0
        self.n_repeated = 0

    def push(self, rows: pa.Table | pa.RecordBatch) -> pa.Table:
        """Return the changes that results make: a column of changes, then the results' columns.

        Args:
            rows: results in their order.

        Raises:
            DataError: a column is missing, of a wrong type, or named like the column of changes; nothing was taken.
        """
        table = as_table(rows, "changelog")
        if self._column in table.column_names:
            raise DataError(f"changelog: the results have a column `{self._column}`; name another one, column=")
        if table.num_rows == 0 or self._is_all_new(table):
            return table.add_column(0, self._column, pa.repeat(INSERT, table.num_rows))
        facts = self._checked(table)
        try:
            self._schema = pa.unify_schemas([self._schema, table.schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"changelog: results of other types than before: {error}") from error
        first, self._next = self._next, self._next + table.num_rows
        changes: list[Change] = []
        dropped: list[int] = []
        remembered = self._judge(facts, first, changes, dropped)
        numbers = [number for _, number in changes]
        earlier = list(dict.fromkeys(number for number in numbers if number < first))
        place = {number: index for index, number in enumerate(earlier)}
        both = concat([self._store.take(earlier), table]) if earlier else table
        order = [place[n] if n < first else len(earlier) + n - first for n in numbers]
        self._store.drop([number for number in dropped if number < first])
        self._store.add(remembered, table.take(pa.array([n - first for n in remembered], pa.int64())))
        labels = pa.array([change for change, _ in changes], pa.string())
        return both.take(pa.array(order, pa.int64())).add_column(0, self._column, labels)

    def _is_all_new(self, table: pa.Table) -> bool:
        """Say whether it is plain that all rows are new and none will be remembered."""
        return False

    @abstractmethod
    def _checked(self, table: pa.Table) -> Any:
        """Return what decides, as `_judge` wants it.

        Raises:
            DataError: a column is missing or of a wrong type.
        """

    @abstractmethod
    def _judge(self, facts: Any, first: int, changes: list[Change], dropped: list[int]) -> list[int]:
        """Say what the rows, numbered from `first` on, change, and which numbers are no longer remembered.

        Returns:
            The numbers among the new rows that are to be remembered, ascending.
        """

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """Return what a snapshot must agree with."""

    def __len__(self) -> int:
        """Return how many rows are remembered."""
        return len(self._store)

    def snapshot(self) -> bytes:
        """Return what is remembered, to go on with after a restart; belongs to the snapshot of the engine."""
        rows = self._store.take(self._store.numbers())
        rows = rows.replace_schema_metadata({"fyke.changelog": json.dumps(self._identity())})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        return bytes(sink.getvalue())

    def restore(self, state: bytes) -> None:
        """Remember what a changelog of the same keys remembered, in place of what this one does.

        Raises:
            StateError: it is no such snapshot.
        """
        try:
            with pa.ipc.open_stream(state) as reader:
                rows = reader.read_all()
            identity = json.loads((rows.schema.metadata or {})[b"fyke.changelog"])
        except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
            raise StateError(f"not the snapshot of a changelog: {error}") from error
        if identity != self._identity():
            raise StateError(f"the snapshot is of a changelog {identity}, not {self._identity()}")
        self._forget()
        self.push(rows.replace_schema_metadata(None))

    def _forget(self) -> None:
        self._store = RowStore()
        self._schema = pa.schema([])


__all__ = ["AFTER", "BEFORE", "DELETE", "INSERT", "VERSION", "Change", "Changelog"]
