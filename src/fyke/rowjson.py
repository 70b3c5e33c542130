"""Rows given as Python objects, as JSON text and back: what JSON lacks is tagged. No code is run.

A tag is an object of one member whose name starts with "$". A mapping of the data that would read as one, or whose keys
are no strings, is written as {"$dict": [[key, value], ...]}.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np

from fyke.errors import StateError

AS_THEY_ARE: Final = (str, int, float, bool, type(None))


def dump_row(row: Mapping[str, Any]) -> str:
    """Write one row.

    Raises:
        StateError: a value that cannot be written.

    >>> dump_row({"card": "x", "at": b"1"})
    '{"card":"x","at":{"$bytes":"MQ=="}}'
    """
    try:
        return json.dumps(_form(dict(row)), separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"row {dict(row)!r:.80} cannot be written into a snapshot: {error}") from None


def _form(value: Any) -> Any:
    """The value in what JSON has: objects, arrays, strings, numbers."""
    if type(value) in AS_THEY_ARE:
        return value
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)).startswith("$")):
            return {key: _form(inner) for key, inner in value.items()}
        return {"$dict": [[_form(key), _form(inner)] for key, inner in value.items()]}
    if isinstance(value, list):
        return [_form(inner) for inner in value]
    for types, tag, write, _ in TAGS:
        if isinstance(value, types):
            return {tag: write(value)}
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, np.generic):
        return _form(value.item())
    raise TypeError(f"{type(value).__name__} {value!r:.40} has no JSON form")


def _in_order(value: Any) -> list[Any]:
    return [_form(inner) for inner in sorted(value, key=repr)]  # equal sets, equal snapshots


def _numpy_time(parts: list[Any]) -> Any:
    dtype = np.dtype(parts[0])
    if dtype.kind not in "mM":
        raise ValueError(f"{dtype} is no time")
    return np.int64(parts[1]).astype(dtype)


# types, tag, value -> JSON, JSON -> value; the first that fits is taken
TAGS: Final[tuple[tuple[Any, str, Callable[[Any], Any], Callable[[Any], Any]], ...]] = (
    ((np.datetime64, np.timedelta64), "$numpy", lambda v: [v.dtype.name, int(v.astype("i8"))], _numpy_time),
    (dt.datetime, "$datetime", lambda v: v.isoformat(), dt.datetime.fromisoformat),
    (dt.date, "$date", lambda v: v.isoformat(), dt.date.fromisoformat),
    (dt.time, "$time", lambda v: v.isoformat(), dt.time.fromisoformat),
    (dt.timedelta, "$timedelta", lambda v: [v.days, v.seconds, v.microseconds], lambda j: dt.timedelta(*j)),
    (
        (bytes, bytearray),
        "$bytes",
        lambda v: base64.b64encode(v).decode(),
        lambda j: base64.b64decode(j, validate=True),
    ),
    (Decimal, "$decimal", str, Decimal),
    (uuid.UUID, "$uuid", str, uuid.UUID),
    (tuple, "$tuple", lambda v: [_form(inner) for inner in v], tuple),
    (frozenset, "$frozenset", _in_order, frozenset),
    (set, "$set", _in_order, set),
)
READERS: Final = {tag: read for _, tag, _, read in TAGS} | {"$dict": dict}


def load_row(text: str) -> dict[str, Any]:
    """Read what dump_row wrote; raises StateError if it did not."""
    try:
        row = json.loads(text, object_hook=_untag)
    except (
        ValueError,
        TypeError,
        OverflowError,
        AttributeError,
        IndexError,
        InvalidOperation,
        RecursionError,
    ) as error:
        raise StateError(f"a row of the snapshot is damaged: {error}") from None
    if not isinstance(row, dict):
        raise StateError("a row of the snapshot is not a mapping")
    return row


def _untag(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    tag, inner = next(iter(value.items()))
    if not tag.startswith("$"):
        return value
    if tag not in READERS:
        raise ValueError(f"unknown tag {tag!r:.20}")
    return READERS[tag](inner)
