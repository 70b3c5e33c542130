"""Data of any accepted shape -> record batches of one schema, which is what a stream is made of.

The schema is given, or that of the first data, and holds from then on: a stream's types never depend on how its rows
are cut into batches. What comes later is taken only where no value changes: other widths of a number, int where float
is expected, null where anything is. All else is an error with its place, and asks for a schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from fyke.batches import RowView, plain_type, rows_of
from fyke.batches import arrow_batches as arrow_batches_of
from fyke.errors import DataError
from fyke.schema import type_of_arrow

__all__ = ["Columns", "plain_schema", "readable"]

CONVERSION = (pa.ArrowException, OverflowError, TypeError, ValueError)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Give a schema with the types that batches have once they are taken (no views, no run-end encoding)."""
    return pa.schema([field.with_type(plain_type(field.type)).remove_metadata() for field in schema])


class Columns:
    """Makes record batches of one schema.

    Args:
        schema: the schema; None: that of the first data.
        source: what errors call the origin of the data, as in 'stream "payments"'.

    >>> columns = Columns(None, 'stream "payments"')
    >>> columns.batch([{"card": "x", "amount": 1}], first=0).schema.types
    [DataType(string), DataType(int64)]
    >>> columns.batch([{"card": "x", "amount": 1.5}], first=1)
    Traceback (most recent call last):
    fyke.errors.DataError: stream "payments": field `amount`: expected int64, got float 1.5 at position 1; the first
        data said int64: give it a schema that says otherwise
    """

    def __init__(self, schema: pa.Schema | None, source: str) -> None:
        self.schema = None if schema is None else plain_schema(schema)
        self._given = schema is not None
        self._source = source

    def batch(self, data: Any, first: int) -> pa.RecordBatch:
        """Give data as one batch; settles the schema if it is open and there are rows, or columns of Arrow's.

        Args:
            data: a row, an iterable of rows, or Arrow data.
            first: the arrival number of its first row.

        Raises:
            DataError: a value does not fit; then nothing is settled.
        """
        batches = None if isinstance(data, Mapping) else arrow_batches_of(data)
        if batches is None:
            return self.of_rows([_mapping(row) for row in rows_of(data)], first)
        return self.of_arrow(batches[0] if len(batches) == 1 else _one_batch(batches), first)

    # -- rows

    def of_rows(self, rows: Sequence[Mapping[str, Any]], first: int) -> pa.RecordBatch:
        """Give rows as a batch; see `batch`."""
        if self.schema is None:
            if not rows:
                return pa.RecordBatch.from_arrays([], names=[])
            names = dict.fromkeys(name for row in rows for name in row)
            for name in names:
                if not isinstance(name, str):
                    raise self._wrong(f"field {name!r:.60}: a column is named by a str, not by {type(name).__name__}")
            arrays = [self._inferred(name, [row.get(name) for row in rows], first) for name in names]
            made = pa.RecordBatch.from_arrays(arrays, names=list(names))
            self.schema = made.schema
            return made
        known = set(self.schema.names)
        for i, row in enumerate(rows):
            if not row.keys() <= known:
                extra = next(name for name in row if name not in known)
                raise self._wrong(
                    f"field {extra!r:.60} at position {first + i} is not in the schema, whose columns are "
                    f"{', '.join(self.schema.names)}" + self._hint()
                )
        arrays = [self._column(field, [row.get(field.name) for row in rows], first) for field in self.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _inferred(self, name: str, values: list[Any], first: int) -> pa.Array:
        try:
            return pa.array(values)
        except CONVERSION as error:
            low, high = 0, len(values)  # the longest head that has a type
            while high - low > 1:
                middle = (low + high) // 2
                try:
                    pa.array(values[:middle])
                    low = middle
                except CONVERSION:
                    high = middle
            raise self._wrong(
                f"field `{name}`: {type(values[low]).__name__} {values[low]!r:.60} at position {first + low} is of "
                f"another type than the values before it, or of none that a column can have ({error})"
            ) from None

    def _column(self, field: pa.Field, values: list[Any], first: int) -> pa.Array:
        try:
            return _fit(values, field.type)
        except CONVERSION:
            pass
        for i, value in enumerate(values):
            try:
                _fit([value], field.type)
            except CONVERSION:
                raise self._wrong(
                    f"field `{field.name}`: expected {field.type}, got {type(value).__name__} {value!r:.60} at "
                    f"position {first + i}" + self._hint(field)
                ) from None
        # Each alone has a type of its own that fits, all together have none: one by one, then.
        return pa.concat_arrays([_fit([value], field.type) for value in values])

    # -- Arrow

    def of_arrow(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """Give a batch of plain types in the schema; see `batch`."""
        names = batch.schema.names
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise self._wrong(f"field `{twice}`: occurs twice in the batch at position {first}")
        if self.schema is None:
            if not names:
                return batch
            self.schema = batch.schema.remove_metadata()
        if batch.schema.equals(self.schema):
            return batch.replace_schema_metadata(None) if batch.schema.metadata else batch
        extra = [name for name in names if self.schema.get_field_index(name) < 0]
        if extra:
            raise self._wrong(
                f"field `{extra[0]}` of the batch at position {first} is not in the schema, whose columns are "
                f"{', '.join(self.schema.names)}" + self._hint()
            )
        arrays = []
        for field in self.schema:
            at = batch.schema.get_field_index(field.name)
            if at < 0:
                arrays.append(pa.nulls(len(batch), field.type))
                continue
            column = batch.column(at)
            try:
                arrays.append(_cast(column, field.type))
            except CONVERSION as error:
                raise self._wrong(
                    f"field `{field.name}`: expected {field.type}, got {column.type} in the batch at position {first}: "
                    f"{error}" + self._hint(field)
                ) from None
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _hint(self, field: pa.Field | None = None) -> str:
        if self._given:
            return ""
        if field is None:
            return "; they are those of the first data: give it a schema that has more"
        return f"; the first data said {field.type}: give it a schema that says otherwise"

    def _wrong(self, text: str) -> DataError:
        return DataError(f"{self._source}: {text}")


def _mapping(row: Any) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else dict(RowView([row], 0))


def _one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).combine_chunks()
    return table.to_batches()[0] if table.num_rows else batches[0].slice(0, 0)


def _fit(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Values as a column of the type; raises one of CONVERSION where one would change."""
    kind = type_of_arrow(type_)
    if kind == "opaque" and not pa.types.is_null(type_):
        return pa.array(values, type_)
    return _cast(pa.array(values), type_)


def _cast(column: pa.Array, type_: pa.DataType) -> pa.Array:
    """The column in the type; raises one of CONVERSION where a value would change, or means something else."""
    have = column.type
    if have == type_:
        return column
    if pa.types.is_null(have):
        return pa.nulls(len(column), type_)
    if pa.types.is_null(type_) and column.null_count == len(column):
        return pa.nulls(len(column))
    kinds = type_of_arrow(have), type_of_arrow(type_)
    if kinds[0] != kinds[1] and kinds != ("int64", "float64"):
        raise TypeError(f"{have} is not {type_}")
    return column.cast(type_)


def readable(rows: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """Give rows as dicts of Python's own values: times as datetimes and timedeltas, to the microsecond."""
    types = [_in_microseconds(field.type) for field in rows.schema]
    if types != rows.schema.types:
        rows = rows.cast(pa.schema(list(zip(rows.schema.names, types, strict=True))), safe=False)
    return rows.to_pylist()  # type: ignore[no-any-return]


def _in_microseconds(type_: pa.DataType) -> pa.DataType:
    """The type with times that Python can say."""
    types = pa.types
    if types.is_timestamp(type_) and type_.unit == "ns":
        return pa.timestamp("us", type_.tz)
    if types.is_duration(type_) and type_.unit == "ns":
        return pa.duration("us")
    if types.is_time64(type_) and type_.unit == "ns":
        return pa.time64("us")
    if types.is_struct(type_):
        return pa.struct([field.with_type(_in_microseconds(field.type)) for field in type_])
    if types.is_list(type_):
        return pa.list_(_in_microseconds(type_.value_type))
    if types.is_large_list(type_):
        return pa.large_list(_in_microseconds(type_.value_type))
    return type_
