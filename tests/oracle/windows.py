"""The reference window operator: keeps every element of every window, and looks at all of them whenever time passes.

Slow and plain on purpose. It is fed elements and watermarks one by one. A window of a key that is kept is a pane; a
pane sets alarms (early firings, its end, its deletion), and when the watermark rises they go off in order of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .definition import Refused
from .javalong import MAX, MIN, hash_set_order, wrapped
from .triggers import Firing, Pane
from .window_bounds import bounds_of
from .window_definition import Bounds, Element, Windowing, WindowProfile, windowing


class WindowFault(Exception):
    """An element that Flink's operator fails at."""


@dataclass(frozen=True)
class WindowResult:
    """One firing of a window.

    Attributes:
        elements: what the window holds, in order of arrival but for merged sessions in profile flink.
        revision: counts the firings of this window of this key from 0.
        final: no other result of the window follows.
        time: the result's own time in the stream.
        at: place in the input of the element or watermark that made it come.
        closing: it came with the window's deletion, to tell that it is final; Flink has no such results.
        caused: by an element (and not by a watermark).
    """

    key: Any
    bounds: Bounds
    elements: tuple[Element, ...]
    revision: int
    final: bool
    time: int
    at: int
    closing: bool
    caused: bool

    @property
    def ids(self) -> list[int]:
        """The places of the elements in the input."""
        return [element.id for element in self.elements]


@dataclass
class WindowOutcome:
    """What a case gives."""

    results: list[WindowResult] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    no_window: list[int] = field(default_factory=list)
    error: str | None = None
    error_at: int | None = None


class WindowOperator:
    """All panes of all keys, one watermark."""

    def __init__(self, definition: Windowing, profile: WindowProfile) -> None:
        self.definition = definition
        self.profile = profile
        self.firing = Firing(definition.trigger, profile)
        self.panes: list[Pane] = []
        self.watermark = MIN
        self.reached = MIN  # the watermark before what comes out now
        self.at = -1
        self.outcome = WindowOutcome()

    # ------------------------------------------------------------------ elements

    def element(self, element: Element) -> None:
        """Put an element into its windows that are still kept, or with the late ones, or with those of no window."""
        self.at = element.id
        if self.definition.merging:
            own = self.own_session(element)
            panes = [self.session(element, own)]
        else:
            panes = [self.pane(element.key, bounds) for bounds in bounds_of(self.definition, element.t)]
        open_panes = [pane for pane in panes if not self.is_late(pane)]
        for pane in open_panes:
            self.put(pane, element)
        self.panes = [pane for pane in self.panes if pane.elements or not self.is_late(pane)]
        if open_panes:
            return
        if self.definition.timed and self.later(element.t) <= self.watermark:
            self.outcome.late.append(element.id)
        else:
            self.outcome.no_window.append(element.id)

    def pane(self, key: Any, bounds: Bounds) -> Pane:
        """Find the pane of a window, or begin it."""
        for pane in self.panes:
            if (pane.key, pane.bounds) == (key, bounds):
                return pane
        return self.begin(key, bounds)

    def begin(self, key: Any, bounds: Bounds) -> Pane:
        pane = Pane(key, bounds, home=bounds)
        self.panes.append(pane)
        return pane

    def later(self, time: int) -> int:
        """A time with the allowed lateness added; O: in Flink the sum can overflow."""
        moved = time + self.definition.lateness
        return min(moved, MAX) if self.profile.saturating else wrapped(moved)

    def deletion(self, pane: Pane) -> int:
        """When the pane is deleted; the largest time for never."""
        return min(pane.last + self.definition.lateness, MAX) if self.definition.timed else MAX

    def is_late(self, pane: Pane) -> bool:
        """Whether the pane's time is over."""
        return self.definition.timed and self.deletion(pane) <= self.watermark

    def put(self, pane: Pane, element: Element) -> None:
        """Put an element into a pane; the trigger may fire it."""
        pane.elements.append(element)
        if self.firing.on_element(pane, element, self.watermark):
            timed = self.definition.timed
            late = timed and self.firing.at_the_end  # only the end having passed makes such a trigger fire here
            self.fire(pane, pane.last if late else element.t, caused=True)
        if self.deletion(pane) < MAX or (self.profile.saturating and self.definition.timed):
            pane.alarms.add(self.deletion(pane))

    # ------------------------------------------------------------------ sessions

    def own_session(self, element: Element) -> tuple[int, int]:
        """The session of the element alone."""
        dynamic = self.definition.kind == "session_dynamic"
        gap = element.v if dynamic else self.definition.gap
        if gap <= 0:
            raise WindowFault(f"a session gap must be above 0, not {gap}")
        return (element.t, element.t + gap)

    def session(self, element: Element, own: tuple[int, int]) -> Pane:
        """Return the pane of the session that the element belongs to, putting together all that it touches."""
        touched = [
            pane
            for pane in self.panes
            if pane.key == element.key and pane.bounds[0] <= own[1] and own[0] <= pane.bounds[1]
        ]
        if not touched:
            return self.begin(element.key, own)
        whole = (min(own[0], *(p.bounds[0] for p in touched)), max(own[1], *(p.bounds[1] for p in touched)))
        if [pane.bounds for pane in touched] == [whole]:
            (pane,) = touched
            if not self.profile.saturating and own == whole != pane.home:
                pane.elements, pane.home = [], own  # O: Flink looks for them under the element's own window
            return pane
        return self.merged(touched, own, whole)

    def merged(self, touched: list[Pane], own: tuple[int, int], whole: tuple[int, int]) -> Pane:
        """Put sessions together into one pane with the bounds of all of them."""
        if not self.profile.arrival_order:
            order = hash_set_order(sorted({own, *(pane.bounds for pane in touched)}))
            touched = sorted(touched, key=lambda pane: order.index(pane.bounds))
        self.panes = [pane for pane in self.panes if pane not in touched]
        pane = self.begin(touched[0].key, whole)
        pane.home = touched[0].home
        pane.elements = [element for old in touched for element in old.elements]
        if self.profile.arrival_order:
            pane.elements.sort(key=lambda element: element.id)
        self.firing.on_merge(pane, touched, self.watermark)
        if not self.profile.saturating and self.later(pane.last) <= self.watermark:
            raise WindowFault("a merged session ends before the watermark")  # O
        return pane

    # ------------------------------------------------------------------ time

    def advance(self, watermark: int, at: int) -> None:
        """Let all alarms up to the watermark go off; one that does not rise is ignored."""
        self.at = at
        if watermark <= self.watermark:
            return
        self.watermark = watermark
        if self.profile.plain_continuous:
            for pane in self.panes:
                self.firing.leap(pane, watermark)
        while due := [(min(pane.alarms), *order(pane), i) for i, pane in enumerate(self.panes) if pane.alarms]:
            time, *_, i = min(due)
            if time > watermark:
                break
            self.wake(self.panes[i], time, max(time, self.reached + 1))
        if watermark == MAX and not self.definition.timed:
            self.end()
        self.reached = watermark

    def wake(self, pane: Pane, time: int, told: int) -> None:
        """Let an alarm of the pane go off; `told` is the time that a result has."""
        pane.alarms.remove(time)
        if self.firing.on_alarm(pane, time):
            self.fire(pane, told, ending=time == pane.last or pane.ending)
        if self.definition.timed and time == self.deletion(pane):
            if self.closes():
                self.fire(pane, told, closing=True)
            self.panes.remove(pane)

    def closes(self) -> bool:
        """Whether a window that is deleted tells its last contents once more, as final."""
        trigger = self.definition.trigger
        if trigger.kind == "count":
            return self.definition.emit_rest
        if trigger.purge:
            return False
        return trigger.kind == "per_update" or (self.firing.at_the_end and self.definition.lateness > 0)

    def end(self) -> None:
        """At infinity: what count windows and count triggers on a global window still hold, on request (U)."""
        if not self.definition.emit_rest or self.definition.trigger.kind != "count":
            return
        for pane in sorted(self.panes, key=order):
            if pane.counted or self.definition.kind == "global":
                self.fire(pane, MAX, closing=True)
        self.panes = []

    # ------------------------------------------------------------------ results

    def fire(self, pane: Pane, time: int, caused: bool = False, ending: bool = False, closing: bool = False) -> None:
        """Report what the pane holds; nothing if that is nothing."""
        if self.definition.kind == "count_sliding":
            del pane.elements[: -self.definition.count]
        if not pane.elements:
            return
        final = closing or self.definition.kind.startswith("count") or self.definition.trigger.purge
        final = final or (ending and not (self.definition.timed and self.definition.lateness))
        if final:  # what is final is good for the next operator, so it is not late there
            time = min(max(time, self.reached + 1), MAX)
        elements = tuple(pane.elements)
        result = WindowResult(pane.key, pane.bounds, elements, pane.revision, final, time, self.at, closing, caused)
        self.outcome.results.append(result)
        if not self.definition.kind.startswith("count"):  # there each result is of another window
            pane.revision += 1
        if self.definition.trigger.purge:
            pane.elements = []


def order(pane: Pane) -> tuple[Any, ...]:
    """The order of panes whose alarms go off at the same time: window start, then key, then end."""
    start, end = pane.bounds or (0, 0)
    return (start, pane.key, end)


def run_window_case(case: dict[str, Any], profile: WindowProfile) -> WindowOutcome:
    """Run one corpus case."""
    try:
        operator = WindowOperator(windowing(case), profile)
    except Refused as refusal:
        return WindowOutcome(error=str(refusal))
    for at, item in enumerate(case["input"]):
        try:
            feed(operator, at, item)
        except WindowFault as fault:
            operator.outcome.error, operator.outcome.error_at = str(fault), at
            break
    return operator.outcome


def feed(operator: WindowOperator, at: int, item: dict[str, Any]) -> None:
    """Give the operator one item of a case's input."""
    if "watermark" in item:
        operator.advance(watermark_of(item), at)
    else:
        operator.element(Element(at, item["t"], item["key"], item["v"]))


def watermark_of(item: dict[str, Any]) -> int:
    """The watermark of an item; "inf" is the last one."""
    return MAX if item["watermark"] == "inf" else int(item["watermark"])
