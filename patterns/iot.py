"""Machines and their sensors."""

from __future__ import annotations

from datetime import timedelta

import fyke
from fyke import Pattern, col, prev


def rising_out_of_range(
    limit: float = 80.0,
    rises: int = 3,
    within: str | timedelta = "10m",
    sensor: str = "sensor",
    value: str = "value",
) -> Pattern:
    """Find a reading above the limit that was reached by rising reading after reading, and not by a single jump.

    One match per crossing of the limit. Stages: rise (several), out.

    Args:
        limit: the largest value that is in range, in the unit of the column.
        rises: how many readings in a row rose while still in range, at least; any number more is the same match.
        within: the longest time from the first of these readings to the one out of range, exclusive.
        sensor: column of the sensor, the key.
        value: column of the reading.
    """
    rising = col[value] > prev[value]
    return (
        fyke.begin("rise", rising, col[value] <= limit)
        .times(rises)
        .consecutive()
        .next("out", rising, col[value] > limit)
        .within(within)
        .by(sensor)
        .named("rising out of range")
    )


def missing_heartbeat(
    silence: str | timedelta = "1m",
    host: str = "host",
    kind: str | None = None,
    beat: str = "heartbeat",
) -> Pattern:
    """Find hosts that have fallen silent.

    One match per silence, when it has lasted long enough: the last sign of life. At the end of the input every host
    counts as silent. Stages: last (next is an absence and has no event).

    Args:
        silence: how long without a beat is too long; a beat exactly that late is too late.
        host: column of the host, the key.
        kind: column that says what an event is; None if every event is a sign of life.
        beat: its value for a heartbeat.
    """
    alive = () if kind is None else (col[kind] == beat,)
    return (
        fyke.begin("last", *alive)
        .not_followed_by("next", *alive)
        .within(silence)
        .by(host)
        .named("missing heartbeat")
    )
