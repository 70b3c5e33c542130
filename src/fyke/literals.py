"""Constants in expressions: which are allowed, as one plain Python type each, as code and as JSON."""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from fyke.errors import ExpressionError

__all__ = ["Value", "plain", "value_code", "value_from_json", "value_to_json"]

Value: TypeAlias = bool | int | float | str | bytes | dt.datetime | dt.date | dt.timedelta

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_LONGEST: Final = dt.timedelta(microseconds=_INT64_MAX // 1000)


def plain(value: object) -> Value:
    """Bring a constant to one of the plain Python types, or refuse it.

    Args:
        value: also of NumPy or a subclass; a datetime without a zone is taken as UTC, every datetime is moved to UTC.

    Raises:
        ExpressionError: None, a Decimal, an integer or a time beyond int64 (nanoseconds), a time finer than
            microseconds, or no scalar.

    >>> plain(dt.datetime(2024, 5, 6))
    datetime.datetime(2024, 5, 6, 0, 0, tzinfo=datetime.timezone.utc)
    """
    module = type(value).__module__
    if module == "numpy" and hasattr(value, "item") and not isinstance(value, str | bytes):
        item = value.item()
        if type(value).__name__ in ("datetime64", "timedelta64") and not isinstance(item, dt.date | dt.timedelta):
            raise ExpressionError(f"{value!r}: write it as a datetime or timedelta (microseconds at the finest)")
        value = item
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise ExpressionError(f"{value} is beyond int64 ({_INT64_MIN} to {_INT64_MAX})")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, dt.datetime):
        if getattr(value, "nanosecond", 0):
            raise ExpressionError(f"{value!r}: a constant time has microseconds at the finest")
        since = value.replace(tzinfo=None) - dt.datetime(1970, 1, 1) - (value.utcoffset() or dt.timedelta(0))
        if not -_LONGEST <= since <= _LONGEST:
            raise ExpressionError(f"{value!r} is outside the years 1677 to 2262, the range of int64 nanoseconds")
        zoned = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return dt.datetime(
            zoned.year, zoned.month, zoned.day, zoned.hour, zoned.minute, zoned.second, zoned.microsecond, dt.UTC
        )
    if isinstance(value, dt.date):
        return dt.date(value.year, value.month, value.day)
    if isinstance(value, dt.timedelta):
        if not -_LONGEST <= value <= _LONGEST:
            raise ExpressionError(f"{value!r} is beyond int64 nanoseconds (292 years)")
        return dt.timedelta(value.days, value.seconds, value.microseconds)
    if value is None:
        raise ExpressionError("None is no value to compare with: write .is_null() or .is_not_null()")
    if isinstance(value, Decimal):
        raise ExpressionError(f"{value!r}: decimals are not supported in expressions; use an int or a float")
    raise ExpressionError(
        f"{value!r} is no constant: allowed are bool, int, float, str, bytes, datetime, date and timedelta"
    )


def value_code(value: Value) -> str:
    """Write a constant as Python code."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value!r}')"
    if isinstance(value, dt.datetime):
        # Kept in UTC, so the zone need not be written.
        return repr(value.replace(tzinfo=None))
    return repr(value)


def value_to_json(value: Value) -> dict[str, Any]:
    """Give a constant with its type, as JSON has fewer.

    >>> value_to_json(dt.timedelta(seconds=1))
    {'type': 'timedelta', 'value': 1000000}
    """
    if isinstance(value, bool):
        return {"type": "bool", "value": value}
    if isinstance(value, int):
        return {"type": "int", "value": value}
    if isinstance(value, float):
        return {"type": "float", "value": value if math.isfinite(value) else repr(value)}
    if isinstance(value, str):
        return {"type": "str", "value": value}
    if isinstance(value, bytes):
        return {"type": "bytes", "value": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dt.datetime):
        return {"type": "datetime", "value": value.isoformat()}
    if isinstance(value, dt.date):
        return {"type": "date", "value": value.isoformat()}
    return {"type": "timedelta", "value": value // dt.timedelta(microseconds=1)}


def value_from_json(node: Mapping[str, Any]) -> Value:
    """Read a constant that `value_to_json` wrote."""
    kind, value = node["type"], node["value"]
    if kind in ("bool", "int", "str"):
        if type(value).__name__ != kind:
            raise ExpressionError(f"literal {value!r} in JSON is said to be {kind} but is not")
        return value  # type: ignore[no-any-return]
    if kind == "float":
        return float(value)
    if kind == "bytes":
        return base64.b64decode(value, validate=True)
    if kind == "datetime":
        return dt.datetime.fromisoformat(value)
    if kind == "date":
        return dt.date.fromisoformat(value)
    if kind == "timedelta":
        return dt.timedelta(microseconds=value)
    raise ExpressionError(f"unknown type {kind!r} of a literal in JSON")
