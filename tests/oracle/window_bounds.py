"""Which windows a time falls into."""

from __future__ import annotations

from .window_definition import Bounds, Windowing


def bounds_of(definition: Windowing, t: int) -> list[Bounds]:
    """Return the windows that hold the time, the one that starts last first; without bounds there is one."""
    if definition.kind not in ("tumbling", "hopping"):
        return [None]
    size, slide = definition.size, definition.slide
    latest = t - (t - definition.offset) % slide
    starts = range(latest, t - size, -slide)  # all starts with start <= t < start + size
    return [(start, start + size) for start in starts]
