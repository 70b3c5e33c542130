"""What sources and sinks do with Arrow tables: make them of what is Arrow's, join them, walk into them, name rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import DataError


def as_table(rows: Any, name: str) -> pa.Table:
    """Return columns as a table; text and bytes that are views, as in frames of polars, as plain text and bytes.

    Raises:
        DataError: they are not Arrow's.
    """
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        table = pa.table(rows)
        plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
        return table.cast(pa.schema([field.with_type(plain.get(field.type, field.type)) for field in table.schema]))
    raise DataError(f"{name}: expected a table or a record batch, got {type(rows).__name__}")


def is_table(data: object) -> bool:
    """Say whether data is columns that `batches_of` takes: Arrow's, or a NumPy array."""
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__") or isinstance(data, np.ndarray)


def batches_of(data: Any, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield columns as record batches, without a copy, and of them those asked for, if all of these are there.

    Raises:
        DataError: a NumPy array that is not structured.
    """
    if isinstance(data, np.ndarray):
        batches: Iterable[pa.RecordBatch] = [_from_structured(data)]
    elif hasattr(data, "__arrow_c_stream__"):
        batches = pa.RecordBatchReader.from_stream(data)
    else:
        batches = [pa.record_batch(data)]
    for rows in batches:
        names = rows.schema.names
        if columns is not None and set(columns) <= set(names):
            rows = rows.select([name for name in names if name in columns])
        yield rows


def _from_structured(array: "np.ndarray[Any, Any]") -> pa.RecordBatch:
    """Return a NumPy structured array as a batch.

    Raises:
        DataError: it has no fields, or one that is no scalar.
    """
    if array.dtype.names is None:
        raise DataError(f"a NumPy array of {array.dtype}: a structured array with named fields is needed")
    columns = []
    for name in array.dtype.names:
        try:
            columns.append(pa.array(np.ascontiguousarray(array[name]), from_pandas=False))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise DataError(f"field `{name}`: a NumPy field of {array.dtype[name]} has no Arrow type") from error
    return record_batch(columns, array.dtype.names, len(array))


def record_batch(columns: Sequence[pa.Array], names: Sequence[str], n_rows: int) -> pa.RecordBatch:
    """Return columns as a batch of so many rows, even where there are no columns."""
    if columns:
        return pa.RecordBatch.from_arrays(columns, names)
    # A batch of no columns has no length in Arrow's constructor; a struct array does.
    return pa.RecordBatch.from_struct_array(pa.array([{}] * n_rows, pa.struct([])))


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the tables one after the other; a column that came later is null before, numbers get wider.

    Raises:
        DataError: a column has two types that do not go together.
    """
    filled = [table for table in tables if table.num_rows] or list(tables[-1:])
    if not filled:
        return pa.table({})
    try:
        return pa.concat_tables(filled, promote_options="permissive").combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"results of other types than before: {error}") from error


def row_ids(table: pa.Table, columns: Sequence[str], name: str) -> list[tuple[Any, ...]]:
    """Return what identifies each row: the values of these columns, times as integers.

    Raises:
        DataError: the table lacks one of them, or it cannot be compared; names it.
    """
    return list(zip(*id_columns(table, columns, name), strict=True)) if columns else [()] * table.num_rows


def id_columns(table: pa.Table, columns: Sequence[str], name: str) -> list[list[Any]]:
    """Return the values of these columns, each as a list, times as integers.

    Raises:
        DataError: as `row_ids`.
    """
    found = []
    for column in columns:
        if column not in table.column_names:
            raise DataError(f"{name}: no column `{column}`; the columns are {', '.join(table.column_names)}")
        values = table[column]
        if pa.types.is_nested(values.type):
            raise DataError(f"{name}: column `{column}` is {values.type}, which cannot identify a row")
        if pa.types.is_temporal(values.type):
            values = values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())
        found.append(values.to_pylist())
    return found


def map_leaves(column: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return the column with every array of values in it changed, those of structs' fields and lists' items too."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return map_leaves(column.dictionary_decode(), change)
    if pa.types.is_struct(kind):
        fields = [map_leaves(field, change) for field in column.flatten()]
        return pa.StructArray.from_arrays(fields, [field.name for field in kind], mask=column.is_null())
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(_offsets(column), map_leaves(column.values, change), mask=None)
    return change(column)


def _offsets(column: pa.ListArray) -> pa.Array:
    """Return the list column's offsets with a null where the list is null, as `from_arrays` wants them."""
    valid = pc.is_valid(column).to_pylist()
    offsets = column.offsets.to_pylist()
    return pa.array([offset if ok else None for offset, ok in zip(offsets, [*valid, True], strict=True)], pa.int32())


__all__ = ["as_table", "batches_of", "concat", "id_columns", "is_table", "map_leaves", "record_batch", "row_ids"]
