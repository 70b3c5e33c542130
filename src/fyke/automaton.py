"""The automaton of a pattern: states with take / ignore / proceed edges, built from the last stage to the first.

The construction is Flink CEP's, so that every combination of quantifiers, contiguity, NOT and until means what it
means there; what fyke does otherwise (docs/semantics.md, rules G, N and W) is marked where it happens. `build` gives
states with epsilon (PROCEED) edges; `flatten` then folds the epsilon paths into the edges, so that the engine never
follows one.

Guards are formulas over conditions, two-valued: a condition holds or it does not (null counts as not).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fyke.errors import PatternError
from fyke.expr import Expr
from fyke.pattern import Pattern, Stage

TAKE, IGNORE, PROCEED = "take", "ignore", "proceed"
NORMAL, START, FINAL, STOP, PENDING = "normal", "start", "final", "stop", "pending"


# ------------------------------------------------------------------------------------------------ guards


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A formula in negation normal form is not needed: `op` is const, cond, not, and, or."""

    op: str
    value: bool = False
    cond: Expr | None = None
    args: tuple[Guard, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Compare conditions as trees: their own == makes an expression, which beside a constant has no truth value."""
        if not isinstance(other, Guard) or (self.op, self.value) != (other.op, other.value):
            return False
        same = self.cond is other.cond or (self.cond is not None and self.cond.equals(other.cond))
        return same and self.args == other.args

    def __hash__(self) -> int:
        return hash((self.op, self.value, self.cond, self.args))


TRUE = Guard("const", True)
FALSE = Guard("const", False)


def cond(expr: Expr | None) -> Guard:
    return TRUE if expr is None else Guard("cond", cond=expr)


def neg(g: Guard) -> Guard:
    if g.op == "const":
        return FALSE if g.value else TRUE
    return g.args[0] if g.op == "not" else Guard("not", args=(g,))


def both(*guards: Guard) -> Guard:
    """The conjunction, flattened; a guard beside its own negation makes it false."""
    flat: list[Guard] = []
    for g in guards:
        for part in g.args if g.op == "and" else (g,):
            if part.op == "const":
                if not part.value:
                    return FALSE
            elif part not in flat:
                flat.append(part)
    if any(neg(g) in flat for g in flat):
        return FALSE
    return TRUE if not flat else flat[0] if len(flat) == 1 else Guard("and", args=tuple(flat))


def either(*guards: Guard) -> Guard:
    """The disjunction, by De Morgan, so that one place simplifies."""
    g = neg(both(*[neg(g) for g in guards]))
    if g.op == "not" and g.args[0].op == "and":
        return Guard("or", args=tuple(neg(a) for a in g.args[0].args))
    return g


# ------------------------------------------------------------------------------------------------ states


@dataclass(eq=False, slots=True)
class Edge:
    action: str
    target: State
    guard: Guard


@dataclass(eq=False, slots=True)
class State:
    """A state of the automaton.

    `timer` ends a run that waits in this very state (a single stage's gap, as in Flink); `bound` closes the state's own
    take and ignore edges (rule W: the gap of a loop or group). Both count from the last taken event, in ns.
    """

    stage: str | None
    kind: str
    timer: int | None = None
    bound: int | None = None
    edges: list[Edge] = field(default_factory=list)
    sees_next: bool = False  # a not_next: nothing behind it is reached before the next event has been seen

    def add(self, action: str, target: State, guard: Guard) -> None:
        self.edges.append(Edge(action, target, guard))


class _Builder:
    """Builds states backwards, as Flink's compiler does.

    Every `_convert*` gets the state that follows and gives the one that comes first.
    """

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.states: list[State] = []
        self.stops: dict[str | None, State] = {}
        self.first_round: dict[int, bool] = {}
        self.group: Stage | None = None
        self.siblings: tuple[Stage, ...] = pattern.stages
        self.at = 0
        self.following: Stage | None = None
        self.originals: dict[int, State] = {}
        self.group_bound: int | None = None

    # -- the chain of stages

    def build(self) -> list[State]:
        final = self._state(None, FINAL)
        self.siblings, self.at = self.pattern.stages, len(self.pattern.stages) - 1
        start = self._convert(self._middle(final))
        start.kind = START
        self.states.remove(start)
        self.states.insert(0, start)
        return self.states

    @property
    def current(self) -> Stage:
        return self.siblings[self.at]

    def _middle(self, sink: State) -> State:
        while self.at > 0:
            stage = self.current
            if stage.contiguity == "not_followed_by":
                if sink.kind == FINAL and (stage.within is not None or self.pattern.window is not None):
                    absent = self._state(stage.name, PENDING, stage.within)
                    absent.add(PROCEED, self._stop(stage), self._take_condition(stage))
                    absent.add(IGNORE, absent, neg(self._take_condition(stage)))
                    sink = absent
            elif stage.contiguity == "not_next":
                watch = self._state(stage.name, NORMAL, stage.within)
                watch.sees_next = True
                hit = self._take_condition(stage)
                # at the end one more event has to come, so the way to the final state is an IGNORE
                watch.add(IGNORE if sink.kind == FINAL else PROCEED, sink, neg(hit))
                watch.add(PROCEED, self._stop(stage), hit)
                sink = watch
            else:
                sink = self._convert(sink)
            self.following = stage
            self.at -= 1
        return sink

    def _convert(self, sink: State) -> State:
        stage = self.current
        q = stage.quantifier
        if q.max is None:
            self._mark_round(False)
            looping = self._looping(self._without_nots(sink))
            self._mark_round(True)
            first = self._times(looping, sink)
        elif q.kind == "one":
            first = self._singleton(sink, sink, self._take_condition(stage), self._ignore_condition(stage), q.optional)
        else:
            first = self._times(sink, sink)
        self._add_stops(first)
        return first

    # -- states

    def _state(self, stage: str | None, kind: str, timer: int | None = None) -> State:
        state = State(stage, kind, timer, self.group_bound)
        self.states.append(state)
        return state

    def _stage_state(self, first: bool) -> State:
        """A state of the current stage. Only a single stage's first wait has a timer; a loop's are all alike (W)."""
        stage = self.current
        if stage.quantifier.kind == "one":
            return self._state(stage.name, NORMAL, stage.within if first else None)
        state = self._state(stage.name, NORMAL)
        state.bound = _tighter(self.group_bound, _loop_bound(stage))
        return state

    def _stop(self, stage: Stage) -> State:
        if stage.name not in self.stops:
            self.stops[stage.name] = self._state(stage.name, STOP)
        return self.stops[stage.name]

    def _copy(self, state: State, timed: bool = False) -> State:
        copy = self._state(state.stage, state.kind, state.timer if timed else None)
        copy.bound, copy.sees_next = state.bound, state.sees_next
        for e in state.edges:
            copy.add(e.action, copy if e.target is state else e.target, e.guard)
        return copy

    def _nots_before(self) -> list[Stage]:
        """The NOT stages that still hold here: those right before, or before optional stages only."""
        found, i = [], self.at
        while i > 0 and (
            self.siblings[i - 1].quantifier.optional or self.siblings[i - 1].contiguity == "not_followed_by"
        ):
            i -= 1
            if self.siblings[i].contiguity == "not_followed_by":
                found.append(self.siblings[i])
        return found

    def _without_nots(self, sink: State) -> State:
        """A copy of `sink` for an event that an optional stage took: the NOTs before the stage no longer hold."""
        nots = {s.name for s in self._nots_before()}
        if not nots or not self.current.quantifier.optional:
            return sink
        copy = self._state(sink.stage, sink.kind, sink.timer if sink.kind == PENDING else None)
        copy.bound, copy.sees_next = sink.bound, sink.sees_next
        for e in sink.edges:
            if e.action != PROCEED:
                copy.add(e.action, copy if e.target is sink else e.target, e.guard)
            elif e.target.kind != STOP:
                copy.add(PROCEED, self._without_nots(e.target), e.guard)
            elif e.target.stage not in nots:
                copy.add(PROCEED, e.target, e.guard)
        return copy

    def _add_stops(self, state: State) -> None:
        for stage in self._nots_before():
            state.add(PROCEED, self._stop(stage), self._take_condition(stage))

    def _add_following_stop(self, state: State) -> None:
        if self.following is not None and self.following.contiguity == "not_followed_by":
            state.add(PROCEED, self._stop(self.following), self._take_condition(self.following))

    # -- one stage

    def _times(self, sink: State, proceed: State) -> State:
        stage, q = self.current, self.current.quantifier
        low, high = q.min, q.max if q.max is not None else q.min
        self._mark_round(False)
        until = cond(stage.until) if stage.until is not None else None
        inner_ignore = self._inner_ignore_condition(stage)
        if until is not None and inner_ignore is not None:
            inner_ignore = both(neg(until), inner_ignore)
        take = self._take_condition(stage)
        if until is not None:
            take = both(neg(until), take)
        last = sink
        if q.greedy and low != high:
            # rule G: the run that has taken the most it may goes on as if the loop were not greedy
            last = self._copy(sink, timed=True) if sink.edges else sink
            if until is not None and sink.kind != PENDING:
                self.originals[id(sink)] = self._copy(sink)
            _hold_against(sink, take)
        for _ in range(low, high):
            last = self._singleton(last, proceed, take, inner_ignore, True)
            self._add_following_stop(last)
        for _ in range(low - 1):
            last = self._singleton(last, None, take, inner_ignore, False)
            self._add_following_stop(last)
        self._mark_round(True)
        return self._singleton(last, proceed, take, self._ignore_condition(stage), q.optional)

    def _singleton(
        self, sink: State, proceed: State | None, take: Guard, ignore: Guard | None, optional: bool
    ) -> State:
        stage = self.current
        if stage.group is not None:
            return self._group(sink, proceed, optional)
        state = self._stage_state(True)
        taken = self._without_nots(sink)
        state.add(TAKE, taken, take)
        onward = self._true()
        if optional:
            assert proceed is not None
            until = cond(stage.until) if stage.until is not None else None
            if stage.quantifier.greedy and until is not None:
                state.add(PROCEED, self.originals.get(id(proceed), proceed), both(onward, until))
                state.add(PROCEED, proceed, both(onward, neg(until)))
            else:
                state.add(PROCEED, proceed, onward)
        if ignore is not None:
            waiting = state
            if optional or self._head_of_optional_group():
                # a state of its own, without the way past the stage, so that each such way is taken once
                waiting = self._stage_state(False)
                waiting.add(TAKE, taken, take)
                waiting.add(IGNORE, waiting, ignore)
                self._add_stops(waiting)
            state.add(IGNORE, waiting, ignore)
        return state

    def _looping(self, sink: State) -> State:
        stage = self.current
        if stage.group is not None:
            return self._looping_group(sink)
        until = cond(stage.until) if stage.until is not None else None
        ignore = self._inner_ignore_condition(stage)
        if until is not None and ignore is not None:
            ignore = both(neg(until), ignore)
        take = self._take_condition(stage)
        if until is not None:
            take = both(neg(until), take)
        onward = self._true()
        loop = self._stage_state(False)
        if stage.quantifier.greedy and sink.kind == PENDING:
            # rule N: each branch waits in the pending state by itself, so no copy of it is needed for the until event
            loop.add(PROCEED, sink, onward)
            _hold_against(sink, take)
        elif stage.quantifier.greedy:
            if until is not None:
                original = self._copy(sink)
                loop.add(PROCEED, original, both(onward, until))
                self.originals[id(sink)] = original
                loop.add(PROCEED, sink, both(onward, neg(until)))
            else:
                loop.add(PROCEED, sink, onward)
            _hold_against(sink, self._take_condition(stage))
        else:
            loop.add(PROCEED, sink, onward)
        loop.add(TAKE, loop, take)
        self._add_following_stop(loop)
        if ignore is not None:
            waiting = self._stage_state(False)
            waiting.add(TAKE, loop, take)
            waiting.add(IGNORE, waiting, ignore)
            loop.add(IGNORE, waiting, ignore)
            self._add_following_stop(waiting)
        return loop

    # -- groups

    def _body(self, group: Stage, sink: State) -> State:
        assert group.group is not None
        saved = self.siblings, self.at, self.following, self.group, self.group_bound
        self.siblings, self.at, self.group = group.group, len(group.group) - 1, group
        self.group_bound = _tighter(self.group_bound, _loop_bound(group))
        first = self._convert(self._middle(sink))
        self.siblings, self.at, self.following, self.group, self.group_bound = saved
        return first

    def _group(self, sink: State, proceed: State | None, optional: bool) -> State:
        onward = self._true()
        first = self._body(self.current, sink)
        if optional:
            assert proceed is not None
            first.add(PROCEED, proceed, onward)
        return first

    def _looping_group(self, sink: State) -> State:
        onward = self._true()
        again = self._state(None, NORMAL)
        first = self._body(self.current, again)
        first.add(PROCEED, sink, onward)
        again.add(PROCEED, first, onward)
        return first

    def _mark_round(self, first: bool) -> None:
        if self.current.group is not None:
            self.first_round[id(self.current)] = first

    def _head_of_group(self, stage: Stage) -> bool:
        return self.group is not None and self.group.group is not None and self.group.group[0] is stage

    def _in_first_round(self) -> bool:
        return self.first_round.get(id(self.group), True)

    def _head_of_optional_group(self) -> bool:
        return (
            self._head_of_group(self.current)
            and self._in_first_round()
            and self.group is not None
            and self.group.quantifier.optional
        )

    # -- conditions

    def _group_until(self) -> Guard | None:
        return cond(self.group.until) if self.group is not None and self.group.until is not None else None

    def _true(self) -> Guard:
        until = self._group_until()
        return TRUE if until is None else neg(until)

    def _take_condition(self, stage: Stage) -> Guard:
        return both(self._true(), cond(stage.where))

    def _skipping(self, how: str, stage: Stage) -> Guard | None:
        if how == "strict":
            return None
        passes = TRUE if how == "any" else neg(cond(stage.where))
        return both(self._true(), passes)

    def _ignore_condition(self, stage: Stage) -> Guard | None:
        outer = {
            "begin": "strict",
            "next": "strict",
            "followed_by": "next",
            "followed_by_any": "any",
            "not_next": "strict",
            "not_followed_by": "next",
        }
        inner = {"strict": "strict", "relaxed": "next", "combinations": "any"}
        if self._head_of_group(stage):
            assert self.group is not None
            if self._in_first_round():
                return self._skipping(outer[self.group.contiguity], stage)
            return self._skipping(inner[self.group.quantifier.inner], stage)
        return self._skipping(outer[stage.contiguity], stage)

    def _inner_ignore_condition(self, stage: Stage) -> Guard | None:
        inner = {"strict": "strict", "relaxed": "next", "combinations": "any"}
        owner = stage
        if self._head_of_group(stage):
            assert self.group is not None
            owner = self.group
        return self._skipping(inner[owner.quantifier.inner], stage)


def _tighter(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _loop_bound(stage: Stage) -> int | None:
    return _tighter(stage.within, stage.quantifier.within)


def _hold_against(sink: State, take: Guard) -> None:
    """Greedy: an event that the loop accepts is not offered to what comes next."""
    for e in sink.edges:
        e.guard = both(e.guard, neg(take))


def build(pattern: Pattern) -> list[State]:
    """Build the automaton of a checked pattern; the first state is the start."""
    return _Builder(pattern).build()


# ------------------------------------------------------------------------------------------------ without epsilon


@dataclass(frozen=True, slots=True)
class FlatEdge:
    """What one event does to a run in a state: each open edge gives one successor.

    action: "take", "ignore" (the run goes to another state, or stays: target is its own) or "stop" (the run ends).
    `stage` takes the event. `final` is the guard under which a take also completes the match at once (an epsilon path
    leads on to the end). `gap`: the edge is open only while the wait since the last taken event is shorter.
    """

    action: str
    guard: Guard
    target: int
    stage: str | None = None
    final: Guard = FALSE
    gap: int | None = None


@dataclass(frozen=True, slots=True)
class FlatState:
    """`gap`: a run in this state times out so long after its last taken event.

    `place`: which of how many states that were built for its stage it is; conditions decide which of them are left.
    """

    stage: str | None
    kind: str
    gap: int | None
    edges: tuple[FlatEdge, ...]
    place: tuple[int, int] = (0, 1)


MAX_PATHS = 10_000


def flatten(states: Sequence[State]) -> list[FlatState]:
    """Fold epsilon paths into edges and keep the states that a run can be in; the start state stays first.

    Raises PatternError if a state has over MAX_PATHS epsilon paths (nested optional groups multiply).
    """
    order: list[State] = [states[0]]
    index = {id(states[0]): 0}

    def number(state: State) -> int:
        if id(state) not in index:
            index[id(state)] = len(order)
            order.append(state)
        return index[id(state)]

    built: dict[str | None, list[int]] = {}
    for each in states:
        built.setdefault(each.stage, []).append(id(each))
    flat: list[FlatState] = []
    while len(flat) < len(order):
        state = order[len(flat)]
        gap = _state_gap(state)
        edges: list[FlatEdge] = []
        for source, edge, guard in _closure(state) if state.kind not in (FINAL, STOP) else ():
            # an edge that is closed no earlier than the run times out needs no guard of its own
            bound = None if state.kind == START or (gap is not None and (source.bound or gap) >= gap) else source.bound
            if edge.target.kind == STOP:
                edges.append(FlatEdge("stop", guard, 0))
            elif edge.action == IGNORE:
                # rule N: a run that could go to a pending state by itself has a branch there already
                elsewhere = source.kind == PENDING and source is not state
                there_already = elsewhere and any(p is source for p in _pending_after(state))
                if state.kind != START and not there_already:
                    edges.append(FlatEdge("ignore", guard, number(edge.target), gap=bound))
            else:
                edges.append(
                    FlatEdge("take", guard, number(edge.target), source.stage, _final_guard(edge.target), bound)
                )
                for pending in _pending_after(edge.target):
                    edges.append(FlatEdge("take", guard, number(pending), source.stage, FALSE, bound))
        alike = built[state.stage]
        flat.append(FlatState(state.stage, state.kind, gap, tuple(edges), (alike.index(id(state)), len(alike))))
    return flat


def _too_many_paths() -> PatternError:
    return PatternError(f"the pattern has over {MAX_PATHS} ways past its optional parts; make fewer of them optional")


def _closure(state: State) -> list[tuple[State, Edge, Guard]]:
    found: list[tuple[State, Edge, Guard]] = []
    stack = [(state, TRUE)]
    paths = 0
    while stack:
        at, so_far = stack.pop()
        paths += 1
        if paths > MAX_PATHS:
            raise _too_many_paths()
        for e in at.edges:
            guard = both(so_far, e.guard)
            if guard == FALSE:
                continue
            if e.action == PROCEED and e.target.kind != STOP:
                stack.append((e.target, guard))
            else:
                found.append((at, e, guard))
    return found


def _reachable(state: State) -> list[State]:
    """The state and all that epsilon edges lead to, whatever their guards, never through a stop state."""
    seen = {id(state): state}
    stack = [state]
    while stack:
        for e in stack.pop().edges:
            if e.action == PROCEED and e.target.kind != STOP and id(e.target) not in seen:
                seen[id(e.target)] = e.target
                stack.append(e.target)
    return list(seen.values())


def _state_gap(state: State) -> int | None:
    """Rule W: a run times out when its state's own timer ends, or when no wait it could go on to is open any more."""
    waits = [
        q.bound
        for q in _reachable(state)
        if q.kind not in (STOP, FINAL, PENDING) and any(e.action != PROCEED for e in q.edges)
    ]
    closes = None if not waits or None in waits else max(w for w in waits if w is not None)
    return _tighter(state.timer, closes)


def _pending_after(state: State) -> list[State]:
    """Rule N: the pending states that a run just arrived here branches into at once.

    Guards are judged with no condition holding. Nothing behind a not_next is reached: it must see the next event
    first.
    """
    if state.kind in (PENDING, FINAL, STOP):
        return []
    seen = {id(state): state}
    stack = [state]
    while stack:
        at = stack.pop()
        if at.sees_next:
            continue
        for e in at.edges:
            if (
                e.action == PROCEED
                and e.target.kind != STOP
                and id(e.target) not in seen
                and holds(e.guard, frozenset())
            ):
                seen[id(e.target)] = e.target
                stack.append(e.target)
    return [s for s in seen.values() if s.kind == PENDING]


def _final_guard(state: State) -> Guard:
    """When an epsilon path leads from here to the end, judged with the event just taken and the run before it."""
    ways: list[Guard] = []
    stack = [(state, TRUE)] if state.kind != FINAL else []
    seen = {(id(state), TRUE)}  # a second way to the same place under the same guard says nothing new
    while stack:
        at, so_far = stack.pop()
        for e in at.edges:
            guard = both(so_far, e.guard)
            if e.action != PROCEED or guard == FALSE or e.target.kind == STOP or (id(e.target), guard) in seen:
                continue
            seen.add((id(e.target), guard))
            if len(seen) > MAX_PATHS:
                raise _too_many_paths()
            if e.target.kind == FINAL:
                ways.append(guard)
            else:
                stack.append((e.target, guard))
    return either(*ways) if ways else FALSE


def holds(guard: Guard, true: frozenset[Expr]) -> bool:
    """Judge a guard, given the conditions that hold."""
    if guard.op == "const":
        return guard.value
    if guard.op == "cond":
        return guard.cond in true
    if guard.op == "not":
        return not holds(guard.args[0], true)
    return (all if guard.op == "and" else any)(holds(g, true) for g in guard.args)
