"""Durations: "10m", "1h30m", timedelta or an integer with a unit, to int64 nanoseconds and back.

Time is nanoseconds everywhere behind this file; a bare number is refused because nobody remembers its unit.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final, TypeAlias

from fyke.errors import DefinitionError

__all__ = ["NS_PER_UNIT", "UNITS", "DurationLike", "check_time", "format_ns", "to_ns"]

DurationLike: TypeAlias = str | timedelta | int

NS_PER_UNIT: Final[dict[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
UNITS: Final = {unit: NS_PER_UNIT[unit] for unit in ("ns", "us", "ms", "s")}
"""What a number in a column of times can count."""
_INT64_MAX: Final = 2**63 - 1
_PART: Final = re.compile(r"(\d+)(ns|us|ms|s|m|h|d|w)")
_TEXT: Final = re.compile(r"(?:\d+(?:ns|us|ms|s|m|h|d|w))+")
_EXAMPLES: Final = 'write "250ms", "10m", "1h30m", a timedelta, or an integer with a unit'


def to_ns(value: DurationLike, unit: str | None = None, *, signed: bool = False) -> int:
    """Convert a duration to nanoseconds.

    Args:
        value: "10m", "1h30m" (units ns, us, ms, s, m, h, d, w), a timedelta, or an integer together with `unit`.
        unit: the unit of an integer: ns, us, ms, s, m, h, d or w.
        signed: it may be negative ("-5m"), as an offset is.

    Raises:
        DefinitionError: not a duration, negative without `signed`, an integer without a unit, or beyond int64
            nanoseconds (292 years).

    >>> to_ns("1h30m")
    5400000000000
    >>> to_ns(250, "ms")
    250000000
    >>> to_ns("-1h30m", signed=True)
    -5400000000000
    """
    if signed and isinstance(value, str) and value.strip().startswith("-"):
        return -to_ns(value.strip()[1:], unit)
    if signed and ((isinstance(value, int) and value < 0) or (isinstance(value, timedelta) and value < timedelta(0))):
        return -to_ns(-value, unit)
    if isinstance(value, bool):
        raise DefinitionError(f"{value!r} is not a duration: {_EXAMPLES}")
    if unit is not None and unit not in NS_PER_UNIT:
        raise DefinitionError(f"unit {unit!r} is not one of {', '.join(NS_PER_UNIT)}")
    if isinstance(value, int):
        if unit is None:
            raise DefinitionError(f"the duration {value} has no unit: write for example \"{value}s\" or \"{value}ms\"")
        ns = value * NS_PER_UNIT[unit]
    elif unit is not None:
        raise DefinitionError(f"a unit goes with an integer; the duration {value!r} has its own")
    elif isinstance(value, timedelta):
        ns = (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1_000
    elif isinstance(value, str):
        text = value.replace(" ", "")
        if _TEXT.fullmatch(text) is None:
            raise DefinitionError(f"{value!r} is not a duration: {_EXAMPLES}")
        ns = sum(int(number) * NS_PER_UNIT[name] for number, name in _PART.findall(text))
    else:
        raise DefinitionError(f"{value!r} is not a duration: {_EXAMPLES}")
    if ns < 0:
        raise DefinitionError(f"the duration {value!r} is negative")
    if ns > _INT64_MAX:
        raise DefinitionError(f"the duration {value!r} is too long: the longest is {format_ns(_INT64_MAX)} (292 years)")
    return ns


def format_ns(ns: int) -> str:
    """Write nanoseconds as a duration that `to_ns` reads back to the same number.

    Args:
        ns: nanoseconds; a negative number gets a leading minus sign.

    >>> format_ns(5_400_000_000_000), format_ns(600_000_000_000), format_ns(0)
    ('1h30m', '10m', '0s')
    """
    if ns < 0:
        return "-" + format_ns(-ns)
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, ns = divmod(ns, NS_PER_UNIT[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def check_time(time: Any, unit: Any) -> None:
    """Refuse what names no column, or no unit.

    Raises:
        DefinitionError: one of them is wrong.
    """
    if not isinstance(time, str) or not time:
        raise DefinitionError(f"time: expected the name of a column, got {time!r}")
    if unit is not None and (not isinstance(unit, str) or unit not in UNITS):
        raise DefinitionError(f'unit={unit!r}: expected "s", "ms", "us" or "ns"')
