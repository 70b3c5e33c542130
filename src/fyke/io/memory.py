"""Events that are in the process already: Arrow tables, readers and frames, or any iterable of rows.

Arrow data is passed on as it is, without a copy. Rows (mappings, dataclasses, objects with __struct_fields__) are put
into columns a batch at a time.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fyke.errors import DataError
from fyke.io import Batch


class Memory:
    """Read from what is in memory: anything with `__arrow_c_stream__` or `__arrow_c_array__`, or an iterable of rows.

    An iterator can be read once; a second reading raises DataError.

    Args:
        data: the events in arrival order.
        columns: the columns to pass on. Default: all.
        batch_size: rows per batch, at most.

    >>> [batch.first for batch in Memory([{"a": 1}, {"a": 2}, {"a": 3}], batch_size=2)]
    [0, 2]
    """

    name = "memory"

    def __init__(self, data: Any, *, columns: Sequence[str] | None = None, batch_size: int = 65_536) -> None:
        is_arrow = hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")
        if isinstance(data, str | bytes | Mapping) or not (is_arrow or isinstance(data, Iterable)):
            raise DataError(f"expected a path, a table or an iterable of rows, got {type(data).__name__}")
        self._data = data
        self._is_arrow = is_arrow
        self._wanted = None if columns is None else frozenset(columns)
        self._batch_size = batch_size
        self._is_once = isinstance(data, Iterator)
        self._is_read = False

    def fraction_read(self) -> float | None:
        return None

    def __iter__(self) -> Iterator[Batch]:
        if self._is_read and self._is_once:
            raise DataError("an iterator can be read only once: give a list or a table to replay it again")
        self._is_read = True
        position = 0
        for rows in self._arrow() if self._is_arrow else self._rows():
            for start in range(0, rows.num_rows, self._batch_size):
                yield Batch(rows.slice(start, self._batch_size), position + start)
            position += rows.num_rows

    def _arrow(self) -> Iterator[pa.RecordBatch]:
        if hasattr(self._data, "__arrow_c_stream__"):
            batches: Iterable[pa.RecordBatch] = pa.RecordBatchReader.from_stream(self._data)
        else:
            batches = [pa.record_batch(self._data)]
        for rows in batches:
            names = rows.schema.names
            if self._wanted is not None and self._wanted <= set(names):
                rows = rows.select([name for name in names if name in self._wanted])
            yield rows

    def _rows(self) -> Iterator[pa.RecordBatch]:
        rest = iter(self._data)
        position = 0
        while chunk := [_as_dict(row) for row in itertools.islice(rest, self._batch_size)]:
            names = dict.fromkeys(name for row in chunk for name in row if self._wanted is None or name in self._wanted)
            columns = [_column([row.get(name) for row in chunk], name, position) for name in names]
            yield pa.RecordBatch.from_arrays(columns, list(names))
            position += len(chunk)


def _as_dict(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    names = getattr(row, "__struct_fields__", None)
    if names is not None:
        return {name: getattr(row, name) for name in names}
    raise DataError(f"expected a row (a mapping, a dataclass or a msgspec Struct), got {type(row).__name__}")


def _column(values: list[Any], name: str, first: int) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        kinds = list(dict.fromkeys(type(value).__name__ for value in values if value is not None))
        raise DataError(
            f"field `{name}`: values of one type expected, got {' and '.join(kinds)} in rows {first} to "
            f"{first + len(values) - 1} ({error})"
        ) from error
