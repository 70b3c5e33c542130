"""JSON objects to columns, straight from their bytes by the compiled decoder: no object is made per record.

Types are the schema's, never guessed; fields that it does not name are passed over, though checked. A missing field and
null are null. Numbers fit their column or the record is a poison one: an int64 may be written 1.0, but not 1.5 or "1".
Text becomes times, dates and decimals where the schema says so. What nests (structs, lists, maps) goes through Python,
a column at a time. docs/decisions/007-kafka-json.md has the figures.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke._core import JSON_NULL, JsonDecoder
from fyke.errors import DefinitionError
from fyke.kafka.convert import BAD, converted, excerpt, schema_of
from fyke.kafka.formats import Columns, finished

__all__ = ["Json"]

FAULTS: Final = {  # enum json_fault of json_scan.h
    1: "the text ends too early",
    2: "not an object",
    3: "not JSON",
    4: "not a number",
    5: "a control character within a string",
    6: "an escape that means nothing",
    7: "not UTF-8",
    8: "something follows the object",
    9: "nested deeper than 1,024",
    10: "wrong type",
    11: "too large",
}
WRONG_TYPE: Final = 10
LIMIT_BYTES: Final = 2**31 - 1

# What the decoder makes of a column: its physical type, and the Arrow type that has.
PHYSICAL: Final = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "any": pa.string(),
}


class Json:
    """A JSON object a record.

    Args:
        schema: the columns to take.

    Raises:
        DefinitionError: the schema has a type that JSON cannot be read as.

    >>> orders = Json({"id": pa.int64(), "price": pa.float64()})
    >>> read = orders.decode([b'{"id": 1, "price": 2.5}', b'{"id": "x"}', b'{"price": 3, "other": []}'])
    >>> read.rows.to_pylist()
    [{'id': 1, 'price': 2.5}, {'id': None, 'price': 3.0}]
    >>> read.errors
    [(1, 'field `id`: expected int64, got "x" at byte 7')]
    """

    def __init__(self, schema: pa.Schema | Mapping[str, pa.DataType]) -> None:
        self.schema = schema_of(schema)
        self._kinds = [_kind(field) for field in self.schema]
        self._decoder = JsonDecoder(self.schema.names, self._kinds)

    def decode(self, values: list[bytes | None]) -> Columns:
        try:
            n, raw, outcomes, at, of_field = self._decoder.decode(values)
        except OverflowError:  # more than a column can hold: in halves
            return self._halved(values)
        columns: list[pa.Array] = []
        bad: dict[int, str] = {}
        for field, kind, (valid, data, text) in zip(self.schema, self._kinds, raw, strict=True):
            buffers = [valid, data] if text is None else [valid, data, text]
            column = pa.Array.from_buffers(PHYSICAL[kind], n, [None if b is None else pa.py_buffer(b) for b in buffers])
            if column.type != field.type:
                column, wrong = _finish(column, field, kind)
                bad |= {row: said for row, said in wrong.items() if row not in bad}
            columns.append(column)
        rows = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        if outcomes is None:
            return finished(rows, bad, np.arange(n), [], [])
        errors = [
            (int(i), self._said(values[i] or b"", int(outcomes[i]), int(at[i]), int(of_field[i])))
            for i in np.flatnonzero((outcomes != 0) & (outcomes != JSON_NULL))
        ]
        nulls = np.flatnonzero(outcomes == JSON_NULL).tolist()
        return finished(rows, bad, np.flatnonzero(outcomes == 0), errors, nulls)

    def _said(self, value: bytes, fault: int, at: int, field: int) -> str:
        """What is wrong with a value, and where."""
        where = f"field `{self.schema.names[field]}`: " if field >= 0 else ""
        if fault != WRONG_TYPE and field >= 0 and at < len(value):
            given = f"{FAULTS[fault]}: "
        elif fault == WRONG_TYPE:
            given = f"expected {self.schema.types[field]}, got "
        else:
            return f"{where}{FAULTS[fault]} at byte {at}" + (f": {_near(value, at)}" if at < len(value) else "")
        return f"{where}{given}{_near(value, at)} at byte {at}"

    def _halved(self, values: list[bytes | None]) -> Columns:
        """Each half alone, and their rows together again."""
        if len(values) == 1:
            empty = self.decode([])
            return Columns(empty.rows, np.array([], np.intp), [(0, f"larger than {LIMIT_BYTES:,} bytes")], [])
        middle = len(values) // 2
        one, other = self.decode(values[:middle]), self.decode(values[middle:])
        rows = pa.Table.from_batches([one.rows, other.rows]).combine_chunks().to_batches()[0]
        places = np.concatenate(
            [
                np.arange(middle) if one.places is None else one.places,
                middle + (np.arange(len(values) - middle) if other.places is None else other.places),
            ]
        )
        errors = one.errors + [(middle + i, text) for i, text in other.errors]
        return Columns(rows, places, errors, one.nulls + [middle + i for i in other.nulls])


def _near(value: bytes, at: int) -> str:
    """What stands at a byte, up to the end of the token as far as that is easily seen."""
    text = value[at : at + 40].decode("utf-8", "replace")
    if text[:1] == '"':
        close = text.find('"', 1)
        return text[: close + 1] if close > 0 else text[:20] + "..."
    if text[:1] in ("{", "["):
        return text[0] + "..."
    for i, letter in enumerate(text):
        if letter in ",}] \n\t\r" and i:
            return text[:i]
    return text[:20]


def _kind(field: pa.Field) -> str:
    """What the decoder is to make of a column."""
    kind, types = field.type, pa.types
    if types.is_integer(kind) and not types.is_uint64(kind):
        return "int64"
    if types.is_floating(kind):
        return "float64"
    if types.is_boolean(kind):
        return "bool"
    if types.is_duration(kind):
        return "int64"
    if (
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        or types.is_binary(kind) or types.is_large_binary(kind)
        or types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind)
    ):  # fmt: skip
        return "string"
    if types.is_decimal(kind) or types.is_uint64(kind) or types.is_nested(kind):
        return "any"
    raise DefinitionError(f"field `{field.name}`: JSON cannot be read as {kind}")


def _finish(column: pa.Array, field: pa.Field, kind: str) -> tuple[pa.Array, dict[int, str]]:
    """What the decoder made, as the schema's type."""
    to = field.type

    def convert(part: pa.Array) -> pa.Array:
        if pa.types.is_timestamp(to):
            return _times(part, to)
        if pa.types.is_time(to):  # Arrow casts no text to times of the day
            return pa.array([None if text is None else dt.time.fromisoformat(text) for text in part.to_pylist()], to)
        if kind != "any":
            return part.cast(to)
        if pa.types.is_nested(to):
            texts = part.to_pylist()
            return pa.array([None if text is None else _fitted(json.loads(text), to) for text in texts], to)
        # A decimal or an unsigned number, as a number or as text: its digits, not a float, are cast.
        return pc.utf8_trim(part, '"').cast(to)

    def say(part: pa.Array, _: Exception) -> str:
        return f"field `{field.name}`: expected {to}, got {excerpt(part[0].as_py())}"

    return converted(column, convert, to, say)


def _fitted(value: Any, kind: pa.DataType) -> Any:
    """A value that nests, as pyarrow takes it; it would also take text for a list, or true for 1."""
    types = pa.types
    if value is None:
        return None
    if types.is_struct(kind) and isinstance(value, dict):
        return {field.name: _fitted(value.get(field.name), field.type) for field in kind}
    if types.is_map(kind) and isinstance(value, dict):
        return [(name, _fitted(each, kind.item_type)) for name, each in value.items()]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        if isinstance(value, list):
            return [_fitted(each, kind.value_type) for each in value]
    elif types.is_boolean(kind) or isinstance(value, bool):
        if types.is_boolean(kind) and isinstance(value, bool):
            return value
    elif types.is_integer(kind):
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return int(value)
    elif types.is_floating(kind):
        if isinstance(value, int | float) and abs(value) < float("inf"):
            return float(value)
    elif not types.is_nested(kind) and isinstance(value, str):
        return pa.array([value]).cast(kind)[0].as_py()
    raise TypeError(f"{value!r:.40} is no {kind}")


def _times(part: pa.Array, to: pa.DataType) -> pa.Array:
    """ISO 8601 text as times; UTC where no zone is written. Beyond the years of nanoseconds, digits are the type's."""
    for unit in ("ns", to.unit):
        for zone in ("UTC", None):
            try:
                return part.cast(pa.timestamp(unit, zone)).cast(pa.timestamp(unit, "UTC")).cast(to, safe=False)
            except BAD:
                continue
    raise ValueError("no times")
