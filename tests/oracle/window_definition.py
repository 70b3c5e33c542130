"""Windows as values for the oracle: kinds, triggers and profiles, read from the corpora's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .definition import Refused

Bounds = tuple[int, int] | None
"""Start and exclusive end of a window; None for count windows and the global one, which have no bounds."""


@dataclass(frozen=True)
class WindowProfile:
    """Which of the named deviations hold for windows and joins (docs/semantics.md)."""

    name: str
    arrival_order: bool  # H: a merged session holds its elements in the order of arrival
    saturating: bool  # O: sums near the largest long saturate, dynamic gaps lose nothing
    plain_continuous: bool  # C: the continuous trigger rounds down, fires once for a jump, ends at infinity
    late_at_watermark: bool  # J: in an interval join, too, late is t <= watermark


FLINK_WINDOWS = WindowProfile("flink", False, False, False, False)
FYKE_WINDOWS = WindowProfile("fyke", True, True, True, True)
WINDOW_PROFILES = {profile.name: profile for profile in (FLINK_WINDOWS, FYKE_WINDOWS)}


@dataclass(frozen=True)
class Element:
    """One element of a stream: `id` is its place in the input, `t` its time, `v` its value, `row` all its columns."""

    id: int
    t: int
    key: Any
    v: Any = None
    side: str = "l"
    row: Any = None


@dataclass(frozen=True)
class Trigger:
    """What makes a window fire.

    Kinds: event_time, continuous_event_time (interval), count (n), per_update, end_of_stream, never.
    """

    kind: str
    n: int = 0
    interval: int = 0
    purge: bool = False


@dataclass(frozen=True)
class Windowing:
    """A window and all that belongs to it."""

    kind: str  # tumbling, hopping, session, session_dynamic, count, count_sliding, global
    trigger: Trigger
    size: int = 0
    slide: int = 0
    offset: int = 0
    gap: int = 0
    count: int = 0
    lateness: int = 0
    emit_rest: bool = False  # U: what a count trigger or a count window holds at the end comes out as well
    zone: str | None = None  # tumbling, hopping: the bounds are wall-clock times of this zone

    @property
    def timed(self) -> bool:
        """Whether the windows have bounds in time: only then anything can be late."""
        return self.kind in ("tumbling", "hopping", "session", "session_dynamic")

    @property
    def merging(self) -> bool:
        """Whether windows that touch are put together."""
        return self.kind.startswith("session")


def windowing(case: dict[str, Any]) -> Windowing:
    """Read the window of a corpus case.

    Raises:
        Refused: Flink refuses it.
    """
    window = case["join"]["window"] if "join" in case else case["window"]
    kind = window["kind"]
    slide = window.get("slide", window.get("size", 0))
    if kind in ("tumbling", "hopping") and abs(window.get("offset", 0)) >= slide:
        raise Refused(f"{kind}: the offset {window['offset']} is not below {slide}")
    return Windowing(
        kind,
        trigger_of(window, case.get("trigger")),
        size=window.get("size", 0),
        slide=slide,
        offset=window.get("offset", 0),
        gap=window.get("gap", 0),
        count=window.get("count", 0),
        lateness=case.get("allowed_lateness") or 0,
        emit_rest=case.get("emit_rest", False),
        zone=window.get("zone"),
    )


def trigger_of(window: dict[str, Any], given: dict[str, Any] | None) -> Trigger:
    """Return the trigger that is given, or the window's own."""
    if window["kind"] == "count":
        return Trigger("count", n=window["count"], purge=True)
    if window["kind"] == "count_sliding":
        return Trigger("count", n=window["slide"])
    if given is None:
        return Trigger("never" if window["kind"] == "global" else "event_time")
    return Trigger(given["kind"], given.get("n", 0), given.get("interval", 0), given.get("purge", False))
