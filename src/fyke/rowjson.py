"""Rows given as Python objects, as JSON text and back: what JSON lacks is tagged. No code is run."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fyke.errors import StateError


def dump_row(row: Mapping[str, Any]) -> str:
    """Write one row.

    Raises:
        StateError: a value that cannot be written.

    >>> dump_row({"card": "x", "at": b"1"})
    '{"card":"x","at":{"$bytes":"MQ=="}}'
    """
    try:
        return json.dumps(dict(row), default=_tag, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise StateError(f"row {dict(row)!r:.80} cannot be written into a snapshot: {error}") from None


def _tag(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, dt.date):
        return {"$date": value.isoformat()}
    if isinstance(value, dt.timedelta):
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, uuid.UUID):
        return {"$uuid": str(value)}
    if isinstance(value, set | frozenset):
        return list(value)
    if hasattr(value, "item"):
        return value.item()  # a NumPy scalar
    raise TypeError(f"{type(value).__name__} {value!r:.40} has no JSON form")


def load_row(text: str) -> dict[str, Any]:
    """Read what dump_row wrote; raises StateError if it did not."""
    try:
        row = json.loads(text, object_hook=_untag)
    except (ValueError, TypeError) as error:
        raise StateError(f"a row of the snapshot is damaged: {error}") from None
    if not isinstance(row, dict):
        raise StateError("a row of the snapshot is not a mapping")
    return row


def _untag(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    tag, inner = next(iter(value.items()))
    if tag == "$datetime":
        return dt.datetime.fromisoformat(inner)
    if tag == "$date":
        return dt.date.fromisoformat(inner)
    if tag == "$timedelta":
        return dt.timedelta(*inner)
    if tag == "$bytes":
        return base64.b64decode(inner)
    if tag == "$decimal":
        return Decimal(inner)
    if tag == "$uuid":
        return uuid.UUID(inner)
    return value
