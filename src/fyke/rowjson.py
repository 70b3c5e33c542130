"""Rows given as Python objects, as JSON text and back: what JSON lacks is tagged. No code is run.

A tag is an object of one member whose name starts with "$". A mapping of the data that would read as one, or whose keys
are no strings, is written as {"$dict": [[key, value], ...]}.
"""

from __future__ import annotations

import base64
import datetime as dt
import importlib
import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np

from fyke.errors import StateError

AS_THEY_ARE: Final = (str, int, float, bool, type(None))
DAMAGE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


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
    if (
        type(value).__module__.partition(".")[0] == "pandas"
    ):  # before datetime: its times are subclasses, with nanoseconds
        if type(value).__name__ not in ("Timestamp", "Timedelta", "NaTType"):
            raise TypeError(f"{type(value).__name__} {value!r:.40} has no JSON form")
        return {"$pandas": _write_pandas(value)}
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


def _write_time(value: dt.datetime | dt.time) -> Any:
    return [value.isoformat(), 1] if value.fold else value.isoformat()


def _read_time(kind: type[dt.datetime] | type[dt.time]) -> Callable[[Any], Any]:
    return lambda j: kind.fromisoformat(j) if isinstance(j, str) else kind.fromisoformat(j[0]).replace(fold=j[1])


def _write_pandas(value: Any) -> list[Any]:
    zone = getattr(value, "tzinfo", None)
    return [type(value).__name__, int(value.value), None if zone is None else str(zone)]


def _read_pandas(parts: list[Any]) -> Any:
    kind, ns, zone = parts
    if kind not in ("Timestamp", "Timedelta", "NaTType"):
        raise ValueError(f"{kind!r:.20} is no time")
    try:
        pd: Any = importlib.import_module("pandas")
    except ImportError:
        return np.timedelta64(ns, "ns") if kind == "Timedelta" else np.datetime64(ns, "ns")
    return pd.NaT if kind == "NaTType" else pd.Timedelta(ns) if kind == "Timedelta" else pd.Timestamp(ns, tz=zone)


# types, tag, value -> JSON, JSON -> value; the first that fits is taken
TAGS: Final[tuple[tuple[Any, str, Callable[[Any], Any], Callable[[Any], Any]], ...]] = (
    ((np.datetime64, np.timedelta64), "$numpy", lambda v: [v.dtype.name, int(v.astype("i8"))], _numpy_time),
    (dt.datetime, "$datetime", _write_time, _read_time(dt.datetime)),
    (dt.date, "$date", lambda v: v.isoformat(), dt.date.fromisoformat),
    (dt.time, "$time", _write_time, _read_time(dt.time)),
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
READERS: Final = {tag: read for _, tag, _, read in TAGS} | {"$dict": dict, "$pandas": _read_pandas}


def load_row(text: str) -> dict[str, Any]:
    """Read what dump_row wrote; raises StateError if it did not."""
    try:
        row = json.loads(text, object_hook=_untag)
    except DAMAGE as error:
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
