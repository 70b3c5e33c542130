"""Values to columns of a type, where one bad value must not spoil the others: it is found, named and left out.

A column is converted as a whole. Only if that fails it is halved, and halved again, until what fails is one value; so
the price is paid by batches that hold a bad one, O(bad * log rows) conversions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from fyke.errors import DefinitionError

__all__ = ["BAD", "columns_of_rows", "converted", "excerpt", "schema_of"]

# What pyarrow raises for a value that does not fit; OverflowError and TypeError come from Python objects.
BAD: Final = (pa.ArrowException, OverflowError, TypeError, ValueError)


def schema_of(schema: pa.Schema | Mapping[str, pa.DataType]) -> pa.Schema:
    """Give a schema with at least one column and no name twice.

    Raises:
        DefinitionError: it is none.
    """
    if isinstance(schema, Mapping):
        for name, kind in schema.items():
            if not isinstance(name, str) or not isinstance(kind, pa.DataType):
                raise DefinitionError(f"schema: expected a name and an Arrow type, got {name!r}: {kind!r}")
        schema = pa.schema(list(schema.items()))
    if not isinstance(schema, pa.Schema):
        raise DefinitionError(f"schema: expected an Arrow schema or {{name: Arrow type}}, got {schema!r:.60}")
    twice = {name for name in schema.names if schema.names.count(name) > 1}
    if twice or not schema.names:
        raise DefinitionError(f"schema: {f'`{min(twice)}` occurs twice' if twice else 'it has no columns'}")
    return schema


def excerpt(value: object, n_chars: int = 60) -> str:
    """Give a value's repr, cut to a length that fits into a message.

    >>> excerpt("x" * 100, 10)
    "'xxxxxx..."
    """
    text = repr(value)
    return text if len(text) <= n_chars else text[: n_chars - 3] + "..."


def converted(
    values: Any, convert: Callable[[Any], pa.Array], kind: pa.DataType, say: Callable[[Any, Exception], str]
) -> tuple[pa.Array, dict[int, str]]:
    """Convert values, an array or a list; bad ones become null.

    Args:
        values: anything with a length and slices.
        convert: makes an array of some of them.
        kind: the type of that array.
        say: the error's text for one value, given as a slice of one.

    Returns:
        The array, and the text of each bad value's error by its place.
    """
    try:
        return convert(values), {}
    except BAD:
        pass
    parts: list[pa.Array] = []
    bad: dict[int, str] = {}
    todo = [(0, len(values))]  # what is to be converted yet, the first last
    while todo:
        low, high = todo.pop()
        part = values[low:high]
        try:
            parts.append(convert(part))
        except BAD as error:
            if high - low == 1:
                bad[low] = say(part, error)
                parts.append(pa.nulls(1, kind))
            else:
                middle = (low + high) // 2
                todo += [(middle, high), (low, middle)]
    return pa.concat_arrays(parts), bad


def columns_of_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Put rows into columns; names that a row lacks are null, others dropped.

    Returns:
        The columns of all rows, and the text of each bad row's error by its place.
    """
    columns: list[pa.Array] = []
    bad: dict[int, str] = {}
    for field in schema:
        column, wrong = _column([row.get(field.name) for row in rows], field)
        columns.append(column)
        bad |= {row: text for row, text in wrong.items() if row not in bad}
    return pa.RecordBatch.from_arrays(columns, schema=schema), bad


def _column(values: list[Any], field: pa.Field) -> tuple[pa.Array, dict[int, str]]:
    def convert(part: list[Any]) -> pa.Array:
        if pa.types.is_integer(field.type):  # pyarrow would cut 1.5 to 1, and take true for 1
            for value in part:
                if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                    raise TypeError(f"{value!r} is no integer")
        return pa.array(part, field.type)

    def say(part: list[Any], _: Exception) -> str:
        return f"field `{field.name}`: expected {field.type}, got {excerpt(part[0])}"

    return converted(values, convert, field.type, say)
