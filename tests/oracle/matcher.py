"""The reference matcher: feeds events and deadlines to the automaton and keeps every partial match.

Slow and plain on purpose. Profile `flink` does what Flink 2.3's operator does in event time: for each event it advances
the time to the event's, then processes the event; at the end it advances the time to infinity. Profile `fyke` lets
every deadline fire by itself, in order (rule E).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .automaton import FINAL, PENDING, PROCEED, STOP, TAKE, Automaton, Edge, State, build
from .definition import Refused
from .events import Event, Path, Taken, by_stage, read_events
from .heap import JavaHeap
from .profiles import Profile


class RuntimeFault(Exception):
    """The skip strategy (or Flink itself) fails while an event is processed."""


@dataclass(frozen=True)
class Run:
    """A partial match: where it sits and what it has taken. The start run has taken nothing."""

    state: State
    path: Path

    @property
    def first(self) -> tuple[float, float]:
        """The order of partial matches: by first event; the start run is last."""
        return self.path[0].event.order if self.path else (math.inf, math.inf)

    @property
    def last_time(self) -> int:
        """The time of the event taken last."""
        return self.path[-1].event.t


@dataclass
class Result:
    """What a case gives, in the form of the corpora."""

    matches: list[dict[str, list[int]]] = field(default_factory=list)
    match_at: list[list[Any]] = field(default_factory=list)
    timeouts: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    error_kind: str | None = None
    error_at: int | None = None


def run_case(case: dict[str, Any], profile: Profile) -> Result:
    """Run one corpus case."""
    try:
        automaton = build(case["pattern"], profile)
    except Refused as refusal:
        return Result(error=str(refusal), error_kind="compile")
    matcher = Matcher(automaton, profile)
    result = matcher.result
    position: int | None = None
    try:
        for event in read_events(case["events"]):
            position = event.id
            matcher.advance(event.t, position)
            matcher.process(event)
        position = None
        matcher.advance(math.inf, None)
    except RuntimeFault as fault:
        result.error, result.error_kind, result.error_at = str(fault), "runtime", position
    return result


class Matcher:
    """One pattern, one key: all partial matches, and the completed ones that a skip strategy still holds back."""

    def __init__(self, automaton: Automaton, profile: Profile) -> None:
        self.automaton = automaton
        self.profile = profile
        self.skip = automaton.definition.skip
        self.numbers = {s.stage.name: s.stage.number for s in automaton.states if s.stage is not None}
        self.runs = self.new_heap([Run(automaton.start, ())])
        self.completed = self.new_pool()
        self.result = Result()

    @staticmethod
    def new_heap(runs: Iterable[Run] = ()) -> JavaHeap[Run]:
        return JavaHeap(lambda run: run.first, runs)

    def new_pool(self) -> JavaHeap[Run]:
        """The completed matches, best first: fyke orders them by the events taken, then their stages (T)."""
        if not self.profile.ordered_ties:
            return self.new_heap()
        return JavaHeap(
            lambda run: (
                [taken.event.order for taken in run.path],
                [self.numbers[taken.stage] for taken in run.path],
            )
        )

    # ------------------------------------------------------------------ time

    def deadline(self, run: Run) -> float:
        """When the run times out; infinite for never."""
        if run.state is self.automaton.start:
            return math.inf
        whole = math.inf if self.automaton.within is None else run.path[0].event.t + self.automaton.within
        return min(whole, run.last_time + self.automaton.gaps[run.state])

    def advance(self, time: float, at: int | None) -> None:
        """Let all deadlines up to `time` fire: in profile flink together, else one instant after the other."""
        if not self.profile.exact_time:
            self.expire(time, at)
            return
        while (due := min(map(self.deadline, self.runs))) <= time and due < math.inf:
            self.expire(due, at)

    def expire(self, now: float, at: int | None) -> None:
        """Take out all runs whose deadline has come: absences are completed matches, all others timeouts."""
        alive, completed, timeouts = self.new_heap(), self.new_pool(), []
        for run in self.runs:
            deadline = self.deadline(run)
            if deadline == math.inf or deadline > now:
                alive.add(run)
            elif run.state.kind == PENDING:
                completed.add(run)
            else:
                by_gap = run.last_time + self.automaton.gaps[run.state]
                # With time that jumps, both windows may have run out; Flink then tells the stage's.
                told = by_gap if by_gap <= now and by_gap < math.inf else deadline
                timeouts.append({"partial": by_stage(run.path), "t": int(told), "at": at})
        self.emit(completed, alive, ["time", at])
        self.result.timeouts += timeouts
        self.runs = alive

    # ------------------------------------------------------------------ events

    def process(self, event: Event) -> None:
        """Offer the event to every run."""
        alive, completed = self.new_heap(), self.new_pool()
        for run in self.runs:
            going_on, stopped = [], False
            for successor in self.successors(run, event):
                if successor.state.kind == FINAL:
                    completed.add(successor)
                elif successor.state.kind == STOP:
                    stopped = True
                else:
                    going_on.append(successor)
            if stopped and not run.path:
                if not self.profile.not_spares_start:
                    raise RuntimeFault("a NOT was met by a match that has taken nothing")
                going_on = [run]
            elif stopped:
                going_on = []
            for successor in going_on:
                alive.add(successor)
        self.emit(completed, alive, ["event", event.id])
        self.runs = alive

    def successors(self, run: Run, event: Event) -> list[Run]:
        """All that can become of the run with the event."""
        found = []
        for edge in self.open_edges(run, event):
            if edge.action == TAKE:
                path = (*run.path, Taken(edge.source.original_name, event))
                found.append(Run(edge.target, path))
                final = self.final_after(edge.target, run, event)
                if final is not None:
                    found.append(Run(final, path))
                elif self.profile.absence_at_once and edge.target.kind != PENDING:
                    found += [Run(state, path) for state in edge.target.absences_ahead()]
            elif run.path:
                found.append(Run(edge.target, run.path))
        if not run.path:
            found.append(run)
        return found

    def open_edges(self, run: Run, event: Event) -> list[Edge]:
        """The TAKE and IGNORE edges that the event may go; of several PROCEED targets the last is looked at first."""
        found, waiting = [], [run.state]
        while waiting:
            state = waiting.pop()
            for edge in state.edges:
                if not edge.condition(event, run.path):
                    continue
                if edge.action == PROCEED:
                    waiting.append(edge.target)
                elif self.usable(edge, run, event):
                    found.append(edge)
        return found

    def usable(self, edge: Edge, run: Run, event: Event) -> bool:
        """Whether fyke's rules let the run use an edge that Flink would let it use."""
        if not run.path:
            return True
        if self.profile.absence_at_once and edge.source.kind == PENDING and run.state is not edge.source:
            return edge.source not in run.state.absences_ahead()  # N: if it is, that branch waits there already
        return event.t - run.last_time < edge.source.bound  # W

    @staticmethod
    def final_after(state: State, run: Run, event: Event) -> State | None:
        """The final state, if the pattern can end right after the event."""
        waiting = [state]
        while waiting:
            for edge in waiting.pop().edges:
                if edge.action == PROCEED and edge.condition(event, run.path):
                    if edge.target.kind == FINAL:
                        return edge.target
                    waiting.append(edge.target)
        return None

    # ------------------------------------------------------------------ matches

    def emit(self, completed: JavaHeap[Run], alive: JavaHeap[Run], at: list[Any]) -> None:
        """Report completed matches as the skip strategy allows, and prune what it skips.

        Raises:
            RuntimeFault: the strategy throws; what this call has found is lost.
        """
        released = []
        for match in completed:
            if not (self.profile.match_once and any(match.path == other.path for other in self.completed)):
                self.completed.add(match)
        while (match := self.completed.peek()) is not None:
            if self.skip.kind != "no_skip":
                earliest = alive.peek()
                if earliest is not None and match.first > earliest.first:
                    break  # a match that started earlier may still come
            self.completed.poll()
            skips = self.skipped_by(match)
            if skips is not None:
                alive.discard(skips)
                self.completed.discard(skips)
            released.append(by_stage(match.path))
        self.result.matches += released
        self.result.match_at += [list(at) for _ in released]

    def skipped_by(self, match: Run) -> Callable[[Run], bool] | None:
        """Which partial and completed matches the strategy skips after the match: a question of their first events."""
        if self.skip.kind == "no_skip":
            return None
        first = match.first
        if self.skip.kind == "to_next":
            return lambda other: other.first == first
        if self.skip.kind == "past_last_event":
            last = match.path[-1].event.order
            return lambda other: other.first <= last
        elements = [taken.event.order for taken in match.path if taken.stage == self.skip.stage]
        if not elements:
            if self.skip.throw:
                raise RuntimeFault(f"skip to {self.skip.stage!r}: the match has no such event")
            return None
        target = elements[0] if self.skip.kind == "to_first" else elements[-1]
        if self.skip.throw and target == first:
            raise RuntimeFault(f"skip to {self.skip.stage!r}: it is the match's first event")
        return lambda other: other.first < target
