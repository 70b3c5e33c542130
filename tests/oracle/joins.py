"""The reference joins of two streams: by an interval of time, and by window (pairs, or both groups)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .definition import Refused
from .javalong import MIN
from .window_definition import Element, WindowProfile, windowing
from .windows import WindowFault, WindowOperator, watermark_of

SIDES = ("l", "r")


@dataclass(frozen=True)
class Joined:
    """One result: places in the input of the elements of both sides, its own time, and what made it come."""

    l: Any  # noqa: E741  a place, for cogroup a list of them
    r: Any
    ts: int
    at: int


@dataclass
class JoinOutcome:
    """What a case gives."""

    results: list[Joined] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
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


class IntervalJoin:
    """Pairs with lower <= r.t - l.t <= upper and equal keys; an element is kept as long as a partner can come."""

    def __init__(self, join: dict[str, Any], profile: WindowProfile) -> None:
        if join["lower"] > join["upper"]:
            raise Refused(f"lower bound {join['lower']} is above the upper bound {join['upper']}")
        self.lower = join["lower"] + (not join.get("lower_inclusive", True))
        self.upper = join["upper"] - (not join.get("upper_inclusive", True))
        self.profile = profile
        self.kept: dict[str, list[Element]] = {side: [] for side in SIDES}
        self.watermark = MIN
        self.outcome = JoinOutcome()

    def element(self, element: Element) -> None:
        """Join an element with what is kept of the other side, unless it is late."""
        late = element.t <= self.watermark if self.profile.late_at_watermark else element.t < self.watermark  # J
        if late:
            self.outcome.late.append(element.id)
            return
        self.kept[element.side].append(element)
        for other in self.kept["r" if element.side == "l" else "l"]:
            left, right = (element, other) if element.side == "l" else (other, element)
            if left.key == right.key and self.lower <= right.t - left.t <= self.upper:
                self.outcome.results.append(Joined(left.id, right.id, max(left.t, right.t), element.id))

    def advance(self, watermark: int) -> None:
        """Let go of elements whose last possible partner's time has come; before its own time none is let go."""
        if watermark <= self.watermark:
            return
        self.watermark = watermark
        reach = {"l": max(self.upper, 0), "r": max(-self.lower, 0)}
        for side, elements in self.kept.items():
            self.kept[side] = [e for e in elements if e.t + reach[side] > self.watermark]


def run_join_case(case: dict[str, Any], profile: WindowProfile) -> JoinOutcome:
    """Run one corpus case."""
    try:
        if case["join"]["kind"] == "interval":
            return run_interval(case, IntervalJoin(case["join"], profile))
        return run_windowed(case, WindowOperator(windowing(case), profile))
    except Refused as refusal:
        return JoinOutcome(error=str(refusal))


def run_interval(case: dict[str, Any], join: IntervalJoin) -> JoinOutcome:
    """Feed an interval join."""
    both = BothWatermarks()
    for at, item in enumerate(case["input"]):
        if "watermark" in item:
            join.advance(both.rise(item["side"], watermark_of(item)))
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
        if not fired.closing:
            left, right = ([e.id for e in fired.elements if e.side == side] for side in SIDES)
            pairs = [(left, right)] if case["join"]["kind"] == "cogroup" else [(i, j) for i in left for j in right]
            outcome.results += [Joined(*pair, fired.bounds[1] - 1, fired.at) for pair in pairs]
    outcome.dropped = windows.outcome.late
    return outcome
