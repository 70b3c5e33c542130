"""Time zones as lists of offsets, for the windows that begin at local midnight."""

from __future__ import annotations

import datetime as dt
import functools
from zoneinfo import ZoneInfo

__all__ = ["zone_changes"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST = dt.datetime(1800, 1, 1, tzinfo=dt.UTC)  # before there were zones
_LAST = dt.datetime(2262, 4, 11, tzinfo=dt.UTC)  # the last day of int64 nanoseconds
_DAY = dt.timedelta(days=1)
_SECOND = dt.timedelta(seconds=1)


@functools.lru_cache(maxsize=64)
def zone_changes(name: str) -> tuple[tuple[int, int], ...]:
    """List the offsets of a zone to UTC: (from when, offset), both in ns, ascending; the first holds since ever.

    Two changes within a day that take each other back are not seen; no zone has had that.

    Args:
        name: IANA name of the zone, as zoneinfo knows it.

    O(days of 460 years), once a zone.

    >>> changes = zone_changes("Europe/Zurich")
    >>> [(dt.datetime.fromtimestamp(t // 10**9, dt.UTC).isoformat(), offset // 3_600_000_000_000)
    ...  for t, offset in changes if t // 10**9 // 86400 in range(20_453, 20_818)]
    [('2026-03-29T01:00:00+00:00', 2), ('2026-10-25T01:00:00+00:00', 1)]
    """
    zone = ZoneInfo(name)
    changes = [(-(2**63), _ns(zone.utcoffset(_FIRST.astimezone(zone)) or dt.timedelta()))]
    at, offset = _FIRST, _FIRST.astimezone(zone).utcoffset()
    while at < _LAST:
        after = at + _DAY
        if after.astimezone(zone).utcoffset() != offset:
            after = _first_other(zone, at, after, offset)
            offset = after.astimezone(zone).utcoffset()
            changes.append((_ns(after - _EPOCH), _ns(offset or dt.timedelta())))
        at = after
    return tuple(changes)


def _first_other(zone: ZoneInfo, low: dt.datetime, high: dt.datetime, offset: dt.timedelta | None) -> dt.datetime:
    """The first second in (low, high] with another offset than that at `low`."""
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle -= dt.timedelta(microseconds=middle.microsecond)
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


def _ns(delta: dt.timedelta) -> int:
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000
