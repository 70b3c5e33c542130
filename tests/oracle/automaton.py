"""The automaton of a pattern: Flink's states and edges, built from the last stage to the first.

A partial match sits in one state. Edges TAKE (the event joins the match), IGNORE (it is passed over) and PROCEED
(no event is used up: what the target can do with the event, this state can do as well). Each stage becomes one state
or a few; a stage that may be skipped has a PROCEED edge past it, and a twin state for the matches that have already
ignored an event there, without that edge, so that each way past the stage is gone only once.

Where Flink and fyke differ, the rule's letter (docs/semantics.md) is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from .definition import LOOPING, SINGLE, TIMES, Definition, Refused, Stage, define
from .expressions import ALWAYS, Condition, both, negation
from .profiles import Profile

TAKE, IGNORE, PROCEED = "take", "ignore", "proceed"
START, NORMAL, PENDING, STOP, FINAL = "start", "normal", "pending", "stop", "final"

ENDING = "$endState$"


@dataclass(eq=False)
class Edge:
    """A way on from `source`, open to the events that meet `condition`."""

    action: str
    source: State
    target: State
    condition: Condition


@dataclass(eq=False)
class State:
    """A place where a partial match can wait."""

    name: str  # unique; the stage's name up to the first colon
    kind: str
    edges: list[Edge] = field(default_factory=list)
    stage: Stage | None = None
    # Flink's timer: how long after the last taken event a match that sits here dies, other ways on or not.
    timer: int | None = None
    # W: how long after the last taken event this state's own TAKE and IGNORE edges may be used.
    bound: float = math.inf

    @property
    def original_name(self) -> str:
        """The name of the stage that the state was made for."""
        return self.name.split(":")[0]

    def add(self, action: str, target: State, condition: Condition) -> None:
        """Add an edge; the order of adding is the order of trying."""
        self.edges.append(Edge(action, self, target, condition))

    def closure(self) -> Iterator[State]:
        """Yield this state and all that it can proceed to, whatever the event; never a stop state."""
        seen, waiting = {self}, [self]
        while waiting:
            state = waiting.pop()
            yield state
            for edge in state.edges:
                if edge.action == PROCEED and edge.target.kind != STOP and edge.target not in seen:
                    seen.add(edge.target)
                    waiting.append(edge.target)

    def absences_ahead(self) -> list[State]:
        """The pending states that a match here goes on to by itself (N).

        The edges are those that an event meeting no condition could go, but none out of a not_next state: it must see
        the next event first.
        """
        found, seen, waiting = [], {self}, [self]
        while waiting:
            state = waiting.pop()
            if state.kind == PENDING:
                found.append(state)
            if state.stage is not None and state.stage.contiguity == "not_next":
                continue
            open_ways = [e.target for e in state.edges if e.action == PROCEED and e.condition.idle]
            for target in open_ways:
                if target.kind != STOP and target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return found


@dataclass
class Automaton:
    """The states of a pattern, and its windows."""

    definition: Definition
    states: list[State]
    start: State
    within: int | None
    gaps: dict[State, float]  # after the last taken event, a match that sits in the state lives less than this long


def build(spec: dict, profile: Profile) -> Automaton:
    """Compile the pattern of a corpus case.

    Raises:
        Refused: the pattern has no meaning, or none that Flink can run.
    """
    return _Builder(define(spec), profile).build()


class _Builder:
    """Builds the states of a pattern backwards, so that each state's sink exists already."""

    def __init__(self, definition: Definition, profile: Profile) -> None:
        self.definition = definition
        self.profile = profile
        self.states: list[State] = []
        self.names: set[str] = set()
        self.timers: list[int] = []  # those that may not be longer than the whole window, in either profile
        self.stops: dict[str, State] = {}
        self.current: Stage = definition.stages[-1]
        self.following: Stage | None = None
        self.groups: list[Stage] = []  # the groups around the current stage, the innermost last
        self.first_round: dict[int, bool] = {}  # by group number: is the round being built the first?
        self.before_greedy: dict[str, State] = {}  # copies of sinks from before a greedy loop narrowed them

    def build(self) -> Automaton:
        last = self.definition.stages[-1]
        end = self.new_state(ENDING, FINAL, None)
        start = self.stage_states(self.chain(last, end))
        start.kind = START
        within = self.definition.within
        if within is not None and any(timer > within for timer in self.timers):
            raise Refused("a stage window longer than the whole window")
        if last.contiguity == "not_followed_by" and not (last.gap or within):
            raise Refused("a trailing not_followed_by needs a window")
        gaps = {state: self.gap(state) for state in self.states}
        return Automaton(self.definition, self.states, start, within, gaps)

    def gap(self, state: State) -> float:
        """How long a match may sit in the state after its last taken event."""
        own = math.inf if state.timer is None else state.timer
        if not self.profile.loop_gaps:
            return own
        # W: it dies when none of the waits that it could still go on to is open.
        waits = [s.bound for s in state.closure() if s.kind != PENDING and any(e.action != PROCEED for e in s.edges)]
        return min(own, max(waits, default=math.inf))

    # ------------------------------------------------------------------ the chain of stages

    def chain(self, last: Stage, sink: State) -> State:
        """Build all stages of a level but the first, which is left as the current one; return its sink."""
        self.current = last
        while self.current.previous is not None:
            if self.current.contiguity == "not_followed_by":
                # A NOT in the middle is a condition on the edges of its neighbours; only a trailing one has a state.
                if sink.kind == FINAL and (self.current.gap is not None or self.definition.within is not None):
                    sink = self.pending(self.current)
            elif self.current.contiguity == "not_next":
                sink = self.not_next(self.current, sink)
            else:
                sink = self.stage_states(sink)
            self.following = self.current
            self.current = self.current.previous
        return sink

    def pending(self, stage: Stage) -> State:
        """The state that waits for a trailing absence; running out of time there completes the match."""
        state = self.new_state(stage.name, PENDING, stage, timed=True)
        unwanted = self.take_condition(stage)
        state.add(PROCEED, self.stop(stage.name, unwanted), unwanted)
        state.add(IGNORE, state, negation(unwanted))
        return state

    def not_next(self, stage: Stage, sink: State) -> State:
        state = self.new_state(stage.name, NORMAL, stage, timed=True)
        unwanted = self.take_condition(stage)
        stop = self.stop(stage.name, unwanted)
        # A match is complete only on an event, so the way to the end uses up the event that was not the unwanted one.
        state.add(IGNORE if sink.kind == FINAL else PROCEED, sink, negation(unwanted))
        state.add(PROCEED, stop, unwanted)
        return state

    def stage_states(self, sink: State) -> State:
        """Build the states of the current stage; return the one to enter it by."""
        stage = self.current
        if stage.kind == LOOPING:
            self.mark_first_round(False)
            loop = self.looping(self.without_nots(sink))
            self.mark_first_round(True)
            first = self.times(loop, sink)
        elif stage.kind == TIMES:
            first = self.times(sink, sink)
        else:
            first = self.single(sink, sink, self.take_condition(stage), self.ignore_condition(stage), stage.optional)
        self.add_stops(first)
        return first

    # ------------------------------------------------------------------ one stage

    def single(self, sink: State, past: State, take: Condition, ignore: Condition | None, optional: bool) -> State:
        """Build the state that takes one element; with `optional`, `past` is where the way past it leads."""
        stage = self.current
        if stage.group is not None:
            return self.group(stage, sink, past, optional)
        state = self.new_state(stage.name, NORMAL, stage, timed=True)
        # Once the element is taken, the NOTs before it have done their work.
        sink = self.without_nots(sink)
        state.add(TAKE, sink, take)
        if optional:
            if stage.greedy and stage.until is not None:
                # An until event ends the loop, so it is offered to what follows as if there were no greed. (Right after
                # a NOT, greed narrows a copy of what follows, so `past` itself is free of it; Flink crashes there.)
                self.proceed(state, self.before_greedy.get(past.name, past), stage.until)
                self.proceed(state, past, negation(stage.until))
            else:
                self.proceed(state, past, ALWAYS)
        if ignore is not None:
            waiting = state
            if optional or self.opens_optional_group(stage):
                waiting = self.new_state(stage.name, NORMAL, stage)
                waiting.add(TAKE, sink, take)
                waiting.add(IGNORE, waiting, ignore)
                self.add_stops(waiting)
            state.add(IGNORE, waiting, ignore)
        return state

    def times(self, sink: State, past: State) -> State:
        """Build a row of states, one per element up to the maximum; those beyond the minimum have a way past."""
        stage = self.current
        self.mark_first_round(False)
        ignore = self.unless_until(self.inner_ignore_condition(stage), stage.until)
        take = self.unless_until(self.take_condition(stage), stage.until)
        assert take is not None
        if stage.greedy and stage.least != stage.most:
            if self.profile.free_after_maximum and past.edges:
                # G: after the maximum the loop accepts nothing more, so what follows is as if there were no greed.
                sink = self.copy(past, keep_timer=True)
            self.narrow(past, take)
        for _ in range(stage.least, stage.most):
            sink = self.single(sink, past, take, ignore, True)
            self.stop_in_loop(sink)
        for _ in range(stage.least - 1):
            sink = self.single(sink, past, take, ignore, False)
            self.stop_in_loop(sink)
        self.mark_first_round(True)
        return self.single(sink, past, take, self.ignore_condition(stage), stage.optional)

    def looping(self, sink: State) -> State:
        """Build the state that takes any number of further elements, and may be left at any time."""
        stage = self.current
        if stage.group is not None:
            return self.looping_group(stage, sink)
        ignore = self.unless_until(self.inner_ignore_condition(stage), stage.until)
        take = self.unless_until(self.take_condition(stage), stage.until)
        assert take is not None
        loop = self.new_state(stage.name, NORMAL, stage, timed=True)
        if stage.greedy and sink.kind == PENDING and self.profile.absence_at_once:
            # N: each branch waits for the absence by itself, and only what the loop would take is held against it.
            self.proceed(loop, sink, ALWAYS)
            self.narrow(sink, take)
        elif stage.greedy:
            if stage.until is not None:
                free = self.copy(sink)
                self.proceed(loop, free, stage.until)
                self.before_greedy[sink.name] = free
                self.proceed(loop, sink, negation(stage.until))
            else:
                self.proceed(loop, sink, ALWAYS)
            self.narrow(sink, self.take_condition(stage))
        else:
            self.proceed(loop, sink, ALWAYS)
        loop.add(TAKE, loop, take)
        self.stop_in_loop(loop)
        if ignore is not None:
            waiting = self.new_state(stage.name, NORMAL, stage)
            waiting.add(TAKE, loop, take)
            waiting.add(IGNORE, waiting, ignore)
            loop.add(IGNORE, waiting, ignore)
            self.stop_in_loop(waiting)
        return loop

    def group(self, stage: Stage, sink: State, past: State, optional: bool) -> State:
        """Build one round of a group."""
        outer = self.proceed_condition(ALWAYS)
        head = self.body(stage, sink)
        if optional:
            head.add(PROCEED, past, outer)
        return head

    def looping_group(self, stage: Stage, sink: State) -> State:
        """Build the round of a group that comes back to its own head."""
        outer = self.proceed_condition(ALWAYS)
        turn = self.new_state(stage.name, NORMAL, stage, timed=True)
        head = self.body(stage, turn)
        head.add(PROCEED, sink, outer)
        turn.add(PROCEED, head, outer)
        return head

    def body(self, stage: Stage, sink: State) -> State:
        assert stage.group is not None
        current, following = self.current, self.following
        self.groups.append(stage)
        head = self.stage_states(self.chain(stage.group[-1], sink))
        self.groups.pop()
        self.current, self.following = current, following
        return head

    # ------------------------------------------------------------------ states and edges

    def new_state(self, base: str, kind: str, stage: Stage | None, timed: bool = False) -> State:
        """Create a state; `timed` ones may carry Flink's timer."""
        name, counter = base, 0
        while name in self.names:
            name, counter = f"{base}:{counter}", counter + 1
        self.names.add(name)
        state = State(name, kind, stage=stage)
        # Of a loop, all states but the one that was made first, which takes the last elements, have Flink's timer.
        if stage is not None and timed and (stage.kind == SINGLE or ":" in name):
            timer = stage.gap if stage.kind == SINGLE else stage.loop_gap
            if timer is not None and (stage.group is None or not self.profile.loop_gaps):
                self.timers.append(timer)  # R: the bound of a group may be longer than the window in fyke
            if stage.kind == SINGLE or not self.profile.loop_gaps:
                state.timer = timer
        if self.profile.loop_gaps and stage is not None and kind == NORMAL:
            own = [stage.bound] if stage.kind != SINGLE else []
            bounds = [b for b in (*own, *(group.bound for group in self.groups)) if b is not None]
            state.bound = min(bounds, default=math.inf)
        self.states.append(state)
        return state

    def copy(self, state: State, keep_timer: bool = False) -> State:
        """Copy a state with its edges; edges to itself lead to the copy."""
        twin = self.new_state(state.original_name, state.kind, None)
        twin.stage, twin.bound = state.stage, state.bound
        if keep_timer:
            twin.timer = state.timer
        for edge in state.edges:
            twin.add(edge.action, twin if edge.target is state else edge.target, edge.condition)
        return twin

    def narrow(self, state: State, taken: Condition) -> None:
        """Greed: what the loop takes is no business of the state after it."""
        for edge in state.edges:
            edge.condition = both(edge.condition, negation(taken))

    def proceed(self, state: State, target: State, condition: Condition) -> None:
        state.add(PROCEED, target, self.proceed_condition(condition))

    def stop(self, name: str, unwanted: Condition) -> State:
        """The state that a match enters when a NOT is violated."""
        if name not in self.stops:
            state = self.new_state(name, STOP, None)
            state.add(TAKE, state, unwanted)
            self.stops[name] = state
        return self.stops[name]

    def add_stops(self, state: State) -> None:
        """Let the NOTs before the current stage end the match while it waits here."""
        for name, unwanted in self.nots():
            state.add(PROCEED, self.stop(name, unwanted), unwanted)

    def stop_in_loop(self, state: State) -> None:
        """Let the NOT after the current loop end the match while it waits in the loop."""
        following = self.following
        if following is not None and following.contiguity == "not_followed_by":
            unwanted = self.take_condition(following)
            state.add(PROCEED, self.stop(following.name, unwanted), unwanted)

    def nots(self) -> list[tuple[str, Condition]]:
        """The NOTs right before the current stage, seen through optional stages."""
        found = []
        stage = self.current.previous
        while stage is not None and (stage.optional or stage.contiguity == "not_followed_by"):
            if stage.contiguity == "not_followed_by":
                found.append((stage.name, self.take_condition(stage)))
            stage = stage.previous
        return found

    def without_nots(self, sink: State) -> State:
        """Copy the sink of an optional stage without the NOTs that only guard the way past the stage."""
        nots = {name for name, _ in self.nots()}
        if not nots or not self.current.optional:
            return sink
        # Flink names the copy after the whole name of the state.
        twin = self.new_state(sink.name, sink.kind, None)
        twin.stage, twin.bound = sink.stage, sink.bound
        for edge in sink.edges:
            if edge.action == PROCEED:
                if edge.target.kind != STOP:
                    twin.add(PROCEED, self.without_nots(edge.target), edge.condition)
                elif edge.target.name not in nots:
                    twin.add(PROCEED, edge.target, edge.condition)
            else:
                twin.add(edge.action, twin if edge.target is sink else edge.target, edge.condition)
        return twin

    # ------------------------------------------------------------------ conditions

    @staticmethod
    def unless_until(condition: Condition | None, until: Condition | None) -> Condition | None:
        """Narrow a condition (if there is one) to events that are not until events."""
        if until is None or condition is None:
            return condition
        return both(negation(until), condition)

    def group_until(self, condition: Condition | None) -> Condition | None:
        return self.unless_until(condition, self.groups[-1].until) if self.groups else condition

    def take_condition(self, stage: Stage) -> Condition:
        """Which events may join the stage."""
        condition = self.group_until(stage.where)
        assert condition is not None
        return condition

    def proceed_condition(self, condition: Condition) -> Condition:
        narrowed = self.group_until(ALWAYS)
        return condition if narrowed is ALWAYS else both(narrowed, condition)

    def ignore_condition(self, stage: Stage) -> Condition | None:
        """Which events may be passed over before the stage's first element; None: none at all."""
        contiguity = stage.contiguity
        if self.is_head(stage):
            group = self.groups[-1]
            contiguity = group.contiguity if self.in_first_round() else group.inner
        return self.passing_over(contiguity, stage)

    def inner_ignore_condition(self, stage: Stage) -> Condition | None:
        """Which events may be passed over between the elements of a loop."""
        return self.passing_over(self.groups[-1].inner if self.is_head(stage) else stage.inner, stage)

    def passing_over(self, contiguity: str, stage: Stage) -> Condition | None:
        if contiguity in ("followed_by", "relaxed"):
            return self.group_until(negation(stage.where))
        if contiguity in ("followed_by_any", "combinations"):
            return self.group_until(ALWAYS)
        return None  # begin, next, strict

    # ------------------------------------------------------------------ where in a group we are

    def is_head(self, stage: Stage) -> bool:
        return bool(self.groups) and stage.previous is None

    def in_first_round(self) -> bool:
        return self.first_round.get(self.groups[-1].number, True)

    def mark_first_round(self, first: bool) -> None:
        if self.current.group is not None:
            self.first_round[self.current.number] = first

    def opens_optional_group(self, stage: Stage) -> bool:
        return self.is_head(stage) and self.in_first_round() and self.groups[-1].optional
