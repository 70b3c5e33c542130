"""The reference joins of two streams: by an interval of time, and by window (pairs, or both groups)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .definition import Refused
from .javalong import MAX, MIN
from .window_definition import Element, WindowProfile, windowing
from .windows import WindowFault, WindowOperator, WindowResult, watermark_of

SIDES = ("l", "r")


@dataclass(frozen=True)
class Joined:
    """One result: places in the input of the elements of both sides, its own time, and what made it come."""

    l: Any  # noqa: E741  a place, for cogroup a list of them
    r: Any
    ts: int
    at: int
    fired: WindowResult | None = None  # joins by window: the firing that it belongs to


@dataclass
class JoinOutcome:
    """What a case gives."""

    results: list[Joined] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    no_window: list[int] = field(default_factory=list)
    error: str | None = None
    error_at: int | None = None


class BothWatermarks:
    """The watermark of two inputs: the smaller one."""

    def __init__(self) -> None:
        self.of = dict.fromkeys(SIDES, MIN)

    def rise(self, side: str, watermark: int) -> int:
        """Note a side's watermark, and return that of both."""
        self.of[side] = max(self.of[side], watermark)
        return min(self.of.values())


@dataclass(eq=False)
class Kept:
    """An element that still waits for partners."""

    element: Element
    matched: bool = False


class IntervalJoin:
    """Pairs with lower <= r.t - l.t <= upper and equal keys; an element is kept as long as a partner can come.

    `how` is inner, left, right or outer: an element of such a side that never finds a partner comes alone, with None in
    place of the partner, when its deadline is reached: the last time that a partner could have.
    """

    def __init__(self, join: dict[str, Any], profile: WindowProfile, how: str = "inner") -> None:
        if join["lower"] > join["upper"]:
            raise Refused(f"lower bound {join['lower']} is above the upper bound {join['upper']}")
        self.lower = join["lower"] + (not join.get("lower_inclusive", True))
        self.upper = join["upper"] - (not join.get("upper_inclusive", True))
        self.profile = profile
        self.outer = {"left": "l", "right": "r", "outer": "lr"}.get(how, "")
        self.kept: list[Kept] = []
        self.watermark = MIN
        self.outcome = JoinOutcome()

    def deadline(self, element: Element) -> int:
        """The last time that a partner can have."""
        return element.t + (self.upper if element.side == "l" else -self.lower)

    def element(self, element: Element) -> None:
        """Join an element with what is kept of the other side, by time and arrival, unless it is late."""
        late = element.t <= self.watermark if self.profile.late_at_watermark else element.t < self.watermark  # J
        if late:
            self.outcome.late.append(element.id)
            return
        new = Kept(element)
        for other in sorted(self.kept, key=lambda kept: (kept.element.t, kept.element.id)):
            left, right = (element, other.element) if element.side == "l" else (other.element, element)
            partners = element.side != other.element.side and left.key == right.key
            if partners and self.lower <= right.t - left.t <= self.upper:
                new.matched = other.matched = True
                self.outcome.results.append(Joined(left.id, right.id, max(left.t, right.t), element.id))
        self.kept.append(new)
        if self.outer and self.deadline(element) <= self.watermark:
            self.let_go(new, element.id)

    def advance(self, watermark: int, at: int) -> None:
        """Let go of elements whose deadline has come, by deadline and arrival; in Flink not before their own time."""
        if watermark <= self.watermark:
            return
        self.watermark = watermark
        for kept in sorted(self.kept, key=lambda kept: (self.deadline(kept.element), kept.element.id)):
            earliest = MIN if self.profile.late_at_watermark else kept.element.t
            if max(self.deadline(kept.element), earliest) <= watermark:
                self.let_go(kept, at)

    def let_go(self, kept: Kept, at: int) -> None:
        """Forget an element; on an outer side it comes alone if it has found no partner."""
        self.kept.remove(kept)
        element = kept.element
        if element.side in self.outer and not kept.matched:
            left, right = (element.id, None) if element.side == "l" else (None, element.id)
            time = min(max(element.t, self.deadline(element)), MAX - 1)
            self.outcome.results.append(Joined(left, right, time, at))


def run_join_case(case: dict[str, Any], profile: WindowProfile) -> JoinOutcome:
    """Run one case: of a corpus, or with `how` in its join."""
    try:
        if case["join"]["kind"] == "interval":
            return run_interval(case, IntervalJoin(case["join"], profile, case["join"].get("how", "inner")))
        return run_windowed(case, WindowOperator(windowing(case), profile))
    except Refused as refusal:
        return JoinOutcome(error=str(refusal))


def run_interval(case: dict[str, Any], join: IntervalJoin) -> JoinOutcome:
    """Feed an interval join."""
    both = BothWatermarks()
    for at, item in enumerate(case["input"]):
        if "watermark" in item:
            join.advance(both.rise(item["side"], watermark_of(item)), at)
        else:
            join.element(Element(at, item["t"], item["key"], item["v"], item["side"]))
    return join.outcome


def run_windowed(case: dict[str, Any], windows: WindowOperator) -> JoinOutcome:
    """Feed the union of both sides to a window, and take apart again what it holds when it fires."""
    both = BothWatermarks()
    outcome = JoinOutcome()
    for at, item in enumerate(case["input"]):
        try:
            if "watermark" in item:
                windows.advance(both.rise(item["side"], watermark_of(item)), at)
            else:
                windows.element(Element(at, item["t"], item["key"], item["v"], item["side"]))
        except WindowFault as fault:
            outcome.error, outcome.error_at = str(fault), at
            break
    for fired in windows.outcome.results:
        last = MAX if fired.bounds is None else fired.bounds[1] - 1
        pairs = pairs_of(fired, case["join"]["kind"] == "cogroup", case["join"].get("how", "inner"))
        outcome.results += [Joined(*pair, last, fired.at, fired) for pair in pairs]
    outcome.dropped, outcome.no_window = windows.outcome.late, windows.outcome.no_window
    return outcome


def pairs_of(fired: WindowResult, cogroup: bool, how: str) -> list[tuple[Any, Any]]:
    """Give what a firing joins: both groups, or all pairs; on an outer side what has no partner in the window."""
    left, right = ([e.id for e in fired.elements if e.side == side] for side in SIDES)
    if cogroup:
        return [(left, right)]
    if how in ("left", "outer") and not right:
        return [(i, None) for i in left]
    if how in ("right", "outer") and not left:
        return [(None, j) for j in right]
    return [(i, j) for i in left for j in right]


def run_asof(case: dict[str, Any]) -> JoinOutcome:
    """Join each left element with the latest right one of its key that is not after it, nor too far before it.

    `tolerance` is None for any; `how` inner or left; with `delete` a right element whose v is below 0 says that its key
    has no right element any more. An element comes with the watermark that passes it, in the order of time and arrival.
    """
    join = case["join"]
    both, reached = BothWatermarks(), MIN
    outcome = JoinOutcome()
    taken: dict[str, list[Element]] = {side: [] for side in SIDES}
    marks = []
    for at, item in enumerate(case["input"]):
        if "watermark" in item:
            reached = both.rise(item["side"], watermark_of(item))
            marks.append((reached, at))
        elif item["t"] <= reached:
            outcome.late.append(at)
        else:
            taken[item["side"]].append(Element(at, item["t"], item["key"], item["v"], item["side"]))
    for left in sorted(taken["l"], key=lambda e: (e.t, e.id)):
        releases = [at for watermark, at in marks if watermark >= left.t]
        before = [e for e in taken["r"] if e.key == left.key and e.t <= left.t]
        right = max(before, key=lambda e: (e.t, e.id), default=None)
        if right is not None and (
            (join["tolerance"] is not None and left.t - right.t > join["tolerance"]) or (join["delete"] and right.v < 0)
        ):
            right = None
        if releases and (right is not None or join["how"] == "left"):
            outcome.results.append(Joined(left.id, None if right is None else right.id, left.t, releases[0]))
    return outcome
