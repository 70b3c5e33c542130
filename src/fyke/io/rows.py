"""Rows as Python objects, to columns and back.

`Columns` puts rows (mappings, dataclasses, objects with __struct_fields__) into record batches and remembers the types
it saw, so that batches cut anywhere have the same ones. `to_rows` gives the rows of a table as dicts.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import DataError
from fyke.io.cast import excerpt
from fyke.io.tables import map_leaves, record_batch

# What pyarrow raises for a Python value that does not go into a column.
_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError)


class Columns:
    """Puts rows into columns, a batch at a time.

    A column that a batch lacks is null in it, but there, once any batch had it. int64 becomes float64 when a float
    comes, decimals and nested types get wider.

    Args:
        source: what error messages call the source.
        columns: the fields to take. Default: all.
        types: types of fields, instead of what their values look like.

    >>> columns = Columns("here")
    >>> columns.batch([{"a": 1}, {"a": 2.5, "b": "x"}], 0).to_pylist()
    [{'a': 1.0, 'b': None}, {'a': 2.5, 'b': 'x'}]
    >>> columns.batch([{"a": 3}], 2).to_pylist()
    [{'a': 3.0, 'b': None}]
    """

    def __init__(
        self, source: str, *, columns: Sequence[str] | None = None, types: Mapping[str, pa.DataType] | None = None
    ) -> None:
        self._source = source
        self._wanted = None if columns is None else frozenset(columns)
        self._declared = {name: kind for name, kind in (types or {}).items() if self._wants(name)}
        self._types: dict[str, pa.DataType] = dict(self._declared)

    def _wants(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted

    def batch(self, rows: Sequence[Any], first: int) -> pa.RecordBatch:
        """Return rows as columns; `first` is the position of the first, for messages.

        Raises:
            DataError: something that is no row, or values that have no common type; names field, value and row.
        """
        dicts = [
            row if type(row) is dict else as_dict(row, self._source, position)
            for position, row in enumerate(rows, first)
        ]
        for name in dict.fromkeys(name for row in dicts for name in row if self._wants(name)):
            self._types.setdefault(name, pa.null())
        columns = [self._column(name, [row.get(name) for row in dicts], first) for name in self._types]
        return record_batch(columns, list(self._types), len(dicts))

    def _column(self, name: str, values: list[Any], first: int) -> pa.Array:
        try:
            if name in self._declared:
                return pa.array(values, self._declared[name])
            column = pa.array(values)
            known = self._types[name] = _wider(self._types[name], column.type)
            return column.cast(known)
        except _REFUSALS as error:
            index, known = self._first_bad(name, values)
            expected = "a value of an Arrow type" if pa.types.is_null(known) else known
            got = f"{excerpt(values[index])} ({type(values[index]).__name__})"
            message = f"{self._source}: field `{name}`: expected {expected}, got {got} at row {first + index}"
            raise DataError(message) from error

    def _first_bad(self, name: str, values: list[Any]) -> tuple[int, pa.DataType]:
        """Return the index of the first value that does not go with those before it, and their type."""
        declared, known = self._declared.get(name), self._types[name]

        def together(some: list[Any]) -> pa.DataType:
            column = pa.array(some, declared)
            return column.cast(_wider(known, column.type)).type

        low, high = 0, len(values)  # the first `low` values go together, the first `high` do not
        while high - low > 1:
            middle = (low + high) // 2
            try:
                together(values[:middle])
            except _REFUSALS:
                high = middle
            else:
                low = middle
        return low, together(values[:low])


def _wider(known: pa.DataType, given: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of both.

    Raises:
        ArrowTypeError: they are not the same, both numbers, both nested, or one of them null.
    """
    if known == given:
        return known
    kinds = {_kind(known), _kind(given)}
    if "null" not in kinds and kinds not in ({"number"}, {"nested"}, {"decimal"}, {"decimal", "number"}):
        raise pa.ArrowTypeError(f"{known} and {given}")
    if "decimal" in kinds and (pa.types.is_floating(known) or pa.types.is_floating(given)):
        raise pa.ArrowTypeError(f"{known} and {given}")
    both = [pa.schema([("", known)]), pa.schema([("", given)])]
    return pa.unify_schemas(both, promote_options="permissive").field(0).type


def _kind(given: pa.DataType) -> str:
    if pa.types.is_integer(given) or pa.types.is_floating(given):
        return "number"
    if pa.types.is_decimal(given):
        return "decimal"
    return "nested" if pa.types.is_nested(given) else str(given)


def as_dict(row: Any, source: str, position: int) -> Mapping[str, Any]:
    """Return a row as a mapping from field to value.

    Raises:
        DataError: it is no mapping, dataclass or Struct.
    """
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    names = getattr(row, "__struct_fields__", None)
    if names is not None:
        return {name: getattr(row, name) for name in names}
    expected = "expected a row (a mapping, a dataclass or a msgspec Struct)"
    raise DataError(f"{source}: {expected}, got {excerpt(row)} ({type(row).__name__}) at row {position}")


def to_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as dicts.

    Python's times end at microseconds: finer ones are rounded down.

    >>> [str(row["at"]) for row in to_rows(pa.table({"at": pa.array([1_999], pa.timestamp("ns", "UTC"))}))]
    ['1970-01-01 00:00:00.000001+00:00']
    """
    for rows in table.to_batches(max_chunksize=16_384):
        columns = [map_leaves(column, _in_microseconds) for column in rows.columns]
        yield from record_batch(columns, rows.schema.names, rows.num_rows).to_pylist()


def _in_microseconds(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", kind.tz))
    if pa.types.is_duration(kind) and kind.unit == "ns":
        ns = column.cast(pa.int64())
        return pc.divide(pc.subtract(ns, pc.if_else(pc.less(ns, 0), 999, 0)), 1_000).cast(pa.duration("us"))
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


__all__ = ["Columns", "as_dict", "to_rows"]
