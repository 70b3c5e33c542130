"""Text to values, a column at a time: casts whose errors name the first bad row.

Shared by the readers of text. Arrow says that a cast failed; a person wants to know where, so on failure the column
is halved until one value is left: log2(n) further casts, paid only when the run ends anyway.
"""

import functools
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import DataError

TIME = pa.timestamp("ns", tz="UTC")


@functools.cache
def null_words() -> pa.Array:
    """Return how tables write "no value" where a number or a time is due; in a text column they are values as others.

    Made when it is asked for: the first array that Arrow makes of Python objects imports pandas, if it is there.
    """
    return pa.array(["", "NA", "N/A", "NULL", "Null", "null", "None"])


def first_failing(column: pa.Array, works: Callable[[pa.Array], object]) -> int:
    """Return the index of the first value on which `works` raises ArrowInvalid, given that it does on the column."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            works(column.slice(low, middle - low))
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low


def excerpt(value: object, n_chars: int = 60) -> str:
    """Return a value's repr, cut to a length that fits in a message.

    >>> excerpt("x" * 100, 10)
    "'xxxxxx..."
    """
    text = repr(value)
    return text if len(text) <= n_chars else text[: n_chars - 3] + "..."


def to_time(column: pa.Array) -> pa.Array:
    """Return ISO 8601 text as timestamps in ns, UTC where no zone is written (all values with a zone, or none)."""
    try:
        return column.cast(TIME)
    except pa.ArrowInvalid:
        return column.cast(pa.timestamp("ns")).cast(TIME)


def cast(column: pa.Array, target: pa.DataType, *, field: str, source: str, first: int) -> pa.Array:
    """Return a column of text or numbers as another type.

    Args:
        column: values as read.
        target: the type wanted; a timestamp is read from ISO 8601 text.
        field: the column's name, for the message.
        source: the log's name, for the message.
        first: position of the column's first row, for the message.

    Raises:
        DataError: a value that cannot be one; says field, value and row.
    """
    if column.type.equals(target):
        return column

    def convert(values: pa.Array) -> pa.Array:
        if pa.types.is_timestamp(target) and pa.types.is_string(values.type):
            return to_time(values).cast(target, safe=False)
        return values.cast(target)

    if pa.types.is_string(column.type) and not pa.types.is_string(target) and not pa.types.is_binary(target):
        column = pc.if_else(pc.is_in(column, value_set=null_words()), None, column)
    try:
        return convert(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if isinstance(error, pa.ArrowNotImplementedError):
            raise DataError(f"{source}: field `{field}`: {column.type} cannot be read as {target}") from error
        index = first_failing(column, convert)
        given = excerpt(column[index].as_py())
        what = "an ISO 8601 time (with a zone in every row, or in none)" if pa.types.is_timestamp(target) else target
        raise DataError(f"{source}: field `{field}`: expected {what}, got {given} at row {first + index}") from error
