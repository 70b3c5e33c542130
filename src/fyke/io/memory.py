"""Events that are in the process already: Arrow tables, readers and frames, or any iterable of rows.

Arrow data is passed on as it is, without a copy. Rows (mappings, dataclasses, objects with __struct_fields__) are put
into columns a batch at a time.
"""

import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fyke.errors import DataError
from fyke.io import Batch
from fyke.io.bounded import Bounded
from fyke.io.rows import Columns
from fyke.io.tables import batches_of, is_table


class Memory(Bounded):
    """Read from what is in memory.

    An iterator can be read once; a second reading raises DataError.

    Args:
        data: the events in arrival order: anything with `__arrow_c_stream__` or `__arrow_c_array__`, a NumPy structured
            array, or an iterable of rows.
        columns: the columns to pass on. Default: all.
        batch_size: rows per batch, at most.

    >>> [batch.first for batch in Memory([{"a": 1}, {"a": 2}, {"a": 3}], batch_size=2)]
    [0, 2]
    """

    def __init__(self, data: Any, *, columns: Sequence[str] | None = None, batch_size: int = 65_536) -> None:
        super().__init__(batch_size)
        if isinstance(data, str | bytes | Mapping) or not (is_table(data) or isinstance(data, Iterable)):
            raise DataError(f"expected a path, a table or an iterable of rows, got {type(data).__name__}")
        self._data = data
        self._wanted = columns
        self._is_once = isinstance(data, Iterator)
        self._is_read = False

    @property
    def name(self) -> str:
        return "memory"

    def _read(self, start: int) -> Generator[Batch, None, None]:
        if self._is_read and self._is_once:
            raise DataError("an iterator can be read only once: give a list or a table to replay it again")
        self._is_read = True
        first = 0
        for rows in batches_of(self._data, self._wanted) if is_table(self._data) else self._rows():
            yield Batch(rows, first)
            first += rows.num_rows
        if not first and isinstance(self._data, pa.Table | pa.RecordBatch):
            yield Batch(pa.RecordBatch.from_pylist([], self._data.schema), 0)

    def _rows(self) -> Iterator[pa.RecordBatch]:
        columns = Columns(self.name, columns=self._wanted)
        rest = iter(self._data)
        first = 0
        while chunk := list(itertools.islice(rest, self._batch_size)):
            yield columns.batch(chunk, first)
            first += len(chunk)
