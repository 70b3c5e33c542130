"""When a pane fires: what an element and what time make of it, by kind of trigger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .javalong import MAX, remainder
from .window_definition import Bounds, Element, Trigger, WindowProfile


@dataclass(eq=False)
class Pane:
    """A window of one key while it is kept: what it holds, and at which times it wakes up."""

    key: Any
    bounds: Bounds
    elements: list[Element] = field(default_factory=list)
    alarms: set[int] = field(default_factory=set)
    counted: int = 0  # count trigger: elements since it last fired
    early: int | None = None  # continuous trigger: the last early firing that was planned
    revision: int = 0
    ending: bool = False  # continuous trigger on a global window: the firing that is planned is the last
    home: Bounds = None  # sessions in Flink: under which window's name the elements are stored

    @property
    def last(self) -> int:
        """The last time that belongs to the window."""
        return MAX if self.bounds is None else self.bounds[1] - 1


class Firing:
    """The rules of one trigger."""

    def __init__(self, trigger: Trigger, profile: WindowProfile) -> None:
        self.trigger = trigger
        self.profile = profile

    @property
    def at_the_end(self) -> bool:
        """Whether the window fires at its end by itself."""
        return self.trigger.kind in ("event_time", "continuous_event_time", "end_of_stream")

    def on_element(self, pane: Pane, element: Element, watermark: int) -> bool:
        """Take note of an element that has been put into the pane; say whether the pane fires now."""
        if self.trigger.kind == "per_update":
            return True
        if self.trigger.kind == "count":
            pane.counted += 1
            if pane.counted < self.trigger.n:
                return False
            pane.counted = 0
            return True
        if not self.at_the_end:
            return False
        if pane.last <= watermark and pane.last < MAX:
            return True  # the end has passed: a late firing
        pane.alarms.add(pane.last)
        if self.trigger.kind == "continuous_event_time" and pane.early is None:
            self.plan(pane, element.t - self.since_multiple(element.t))
        return False

    def since_multiple(self, t: int) -> int:
        """How far t is from the multiple of the interval that it is counted from."""
        interval = self.trigger.interval
        return t % interval if self.profile.plain_continuous else remainder(t, interval)

    def plan(self, pane: Pane, fired: int) -> None:
        """Plan the next early firing an interval after one; the end takes the place of what would come after it."""
        pane.early = min(fired + self.trigger.interval, pane.last)
        pane.alarms.add(pane.early)

    def on_alarm(self, pane: Pane, time: int) -> bool:
        """Say whether the pane fires at the time it has set an alarm for."""
        if not self.at_the_end:
            return False
        if time == pane.last or pane.ending:
            return True
        if time == pane.early:
            self.plan(pane, time)
            return True
        return False

    def leap(self, pane: Pane, watermark: int) -> None:
        """Leave out all but the last of the early firings that the watermark jumps over, the end included (C)."""
        early = pane.early
        if early not in pane.alarms or early > watermark:
            return
        if pane.bounds is None and watermark == MAX:
            pane.ending = True  # the end of the input: the next firing is the last
            pane.alarms = {early}
            return
        pane.alarms.remove(early)
        jumped = (watermark - early) // self.trigger.interval
        pane.early = pane.last if pane.last <= watermark else early + jumped * self.trigger.interval
        pane.alarms.add(pane.early)

    def on_merge(self, pane: Pane, merged: list[Pane], watermark: int) -> None:
        """Let the new pane of a session take over from those it is made of."""
        pane.counted = sum(old.counted for old in merged)
        planned = [old.early for old in merged if old.early is not None]
        if planned:
            pane.early = min(planned)
            pane.alarms.add(pane.early)
        elif self.trigger.kind == "event_time" and pane.last > watermark:
            pane.alarms.add(pane.last)
