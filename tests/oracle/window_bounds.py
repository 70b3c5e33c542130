"""Which windows a time falls into: from the epoch, or from the midnights that the clocks of a zone show."""

from __future__ import annotations

import datetime as dt
import zoneinfo

from .window_definition import Bounds, Windowing

DAY = 86_400_000_000_000  # in ns: windows with a zone are of whole days
FURTHEST = 2 * DAY  # no clock is further from UTC
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def bounds_of(definition: Windowing, t: int) -> list[Bounds]:
    """Return the windows that hold the time, the one that starts last first; without bounds there is one."""
    if definition.kind not in ("tumbling", "hopping"):
        return [None]
    size, slide = definition.size, definition.slide
    if definition.zone is not None:
        return in_zone(definition, t)
    latest = t - (t - definition.offset) % slide
    starts = range(latest, t - size, -slide)  # all starts with start <= t < start + size
    return [(start, start + size) for start in starts]


def in_zone(definition: Windowing, t: int) -> list[Bounds]:
    """The same where the bounds are what the clocks of a zone show: days on which they change are not 24 hours."""
    assert definition.zone is not None
    zone = zoneinfo.ZoneInfo(definition.zone)
    size, slide = definition.size, definition.slide
    latest = (t + FURTHEST - definition.offset) // slide * slide + definition.offset
    found: list[Bounds] = []
    for shown in range(latest, t - FURTHEST - size - slide, -slide):
        bounds = (first_shown(zone, shown), first_shown(zone, shown + size))
        if bounds[0] <= t < bounds[1]:
            found.append(bounds)
    return found


def first_shown(zone: zoneinfo.ZoneInfo, shown: int) -> int:
    """When the clock first shows this time (ns since 1970 of the clock) or a later one, in ns since 1970 in UTC."""
    moments = [shown - FURTHEST, *(m for m in changes(zone, shown) if abs(m - shown) < FURTHEST)]
    for begin in moments:  # from each of them on the clock runs evenly
        even = max(begin, shown - offset_at(zone, begin))
        if offset_at(zone, even) == offset_at(zone, begin) and even + offset_at(zone, even) >= shown:
            return even
    raise AssertionError("a clock that never shows it")


def changes(zone: zoneinfo.ZoneInfo, around: int) -> list[int]:
    """The moments near a time at which the clock changes, by halving hours in which it does."""
    hour = 3_600_000_000_000
    found = []
    first = (around - FURTHEST) // hour * hour
    for begin in range(first, around + FURTHEST, hour):
        low, high = begin, begin + hour
        if offset_at(zone, low) == offset_at(zone, high):
            continue
        while high - low > 1_000_000_000:  # clocks change at whole seconds
            middle = (low + high) // 2 // 1_000_000_000 * 1_000_000_000
            low, high = (middle, high) if offset_at(zone, middle) == offset_at(zone, low) else (low, middle)
        found.append(high)
    return found


def offset_at(zone: zoneinfo.ZoneInfo, t: int) -> int:
    """How far the clock is ahead of UTC, in ns."""
    ahead = (EPOCH + dt.timedelta(microseconds=t // 1000)).astimezone(zone).utcoffset()
    assert ahead is not None
    return ahead // dt.timedelta(microseconds=1) * 1000
