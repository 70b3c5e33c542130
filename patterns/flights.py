"""Air traffic."""

from __future__ import annotations

from datetime import timedelta

import fyke
from fyke import Pattern, col


def delay_propagation(
    minutes: float = 60.0,
    within: str | timedelta = "12h",
    aircraft: str = "tailnum",
    delay: str = "dep_delay",
) -> Pattern:
    """Find a late departure that makes the same aircraft's next departure late, too.

    The next departure is the next one in event time, however late the log reports it. Stages: late, knock_on.

    Args:
        minutes: a departure is late when its delay is longer than this, in minutes.
        within: the longest time between the two departures, exclusive.
        aircraft: column of the aircraft, the key.
        delay: column of the departure's delay, in minutes.
    """
    return (
        fyke.begin("late", col[delay] > minutes)
        .next("knock_on", col[delay] > minutes)
        .within(within)
        .by(aircraft)
        .named("delay propagation")
    )
