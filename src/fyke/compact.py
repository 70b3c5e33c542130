"""The automaton of a pattern whose partial matches need not be told apart: passing over an event moves none of them.

    flattened automaton --subsets--> a state for all runs that hold the same events --merge those alike--> Compact

It exists where each event may be passed over (followed_by_any, combinations) and every condition reads the event alone.
A partial match is then any path of takes through the events of its key, so that none has to be stored by itself
(csrc/compact.h). Events come in classes: the combinations of the pattern's conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fyke import automaton as am
from fyke.expr import Expr

CONDITIONS: Final = 6
STATES: Final = 32
"""The most conditions of a pattern and states of its automaton; csrc/plan.h has the same numbers."""

FINAL: Final = -1
Take = tuple[str, int]
"""The stage that takes the event, and the state after it; FINAL: the match is complete."""
Subset = frozenset[int]


@dataclass(frozen=True, slots=True)
class Compact:
    """A deterministic automaton over classes of events; state 0 is the start, which is always there.

    Attributes:
        conditions: the class of an event has bit i if condition i holds.
        cells: [state][class]: at most one take that leads on, then those that complete the match.
        subsets: [state]: the sets of flattened states that it stands for, the smallest first.
    """

    conditions: tuple[Expr, ...]
    cells: tuple[tuple[tuple[Take, ...], ...], ...]
    subsets: tuple[tuple[Subset, ...], ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """What an event of one class does to partial matches in a subset: where they stay, and what takes it."""

    stay: Subset
    takes: tuple[tuple[str, Subset], ...]
    final: tuple[str, ...]


def passes_over(states: Sequence[am.FlatState]) -> bool:
    """Tell whether a partial match can pass over any event, in every state."""
    return all(
        any(e.action == "ignore" and e.guard == am.TRUE and e.gap is None for e in s.edges)
        for s in states
        if s.kind == am.NORMAL
    )


def determinise(
    states: Sequence[am.FlatState], stages: Sequence[str], reads_more: Callable[[Expr], bool]
) -> Compact | str:
    """Give the deterministic automaton, or in words why there is none.

    Args:
        states: the flattened automaton, the start first; passes_over holds.
        stages: their names in the order of the pattern.
        reads_more: whether a condition reads more than the event.
    """
    if any(s.kind not in (am.START, am.NORMAL, am.FINAL) for s in states) or any(
        e.action == "stop" for s in states for e in s.edges
    ):
        return "an event can end a partial match"
    if any(s.gap is not None or e.gap is not None for s in states for e in s.edges):
        return "a gap bounds a wait"
    conditions = tuple(dict.fromkeys(c for s in states for e in s.edges for g in (e.guard, e.final) for c in _conds(g)))
    if any(reads_more(c) for c in conditions):
        return "a condition reads earlier events"
    if len(conditions) > CONDITIONS or len(states) > 2 * STATES:
        return f"it has over {CONDITIONS} conditions" if len(conditions) > CONDITIONS else "it has too many states"
    classes = [
        frozenset(c for i, c in enumerate(conditions) if number >> i & 1) for number in range(2 ** len(conditions))
    ]
    start: Subset = frozenset([0])
    steps: dict[Subset, list[_Step]] = {}
    todo = [start]
    while todo:
        subset = todo.pop()
        if subset in steps:
            continue
        if len(steps) == 4 * STATES:
            return "it has too many states"
        steps[subset] = [_step(states, subset, true) for true in classes]
        todo += [target for step in steps[subset] for _, target in step.takes]
        todo += [step.stay for step in steps[subset] if subset != start]
    if frozenset() in steps:
        return "an event can end a partial match"
    return _merged(conditions, steps, start, {name: i for i, name in enumerate(stages)})


def _conds(guard: am.Guard) -> list[Expr]:
    own = [guard.cond] if guard.cond is not None else []
    return own + [c for g in guard.args for c in _conds(g)]


def _step(states: Sequence[am.FlatState], subset: Subset, true: frozenset[Expr]) -> _Step:
    stay: set[int] = set()
    takes: dict[str, set[int]] = {}
    final: set[str] = set()
    for edge in (e for s in subset for e in states[s].edges if am.holds(e.guard, true)):
        ends = states[edge.target].kind == am.FINAL
        if edge.action == "ignore":
            stay.add(edge.target)
            continue
        assert edge.stage is not None
        if ends or am.holds(edge.final, true):
            final.add(edge.stage)
        if not ends:
            takes.setdefault(edge.stage, set()).add(edge.target)
    return _Step(frozenset(stay), tuple((s, frozenset(t)) for s, t in sorted(takes.items())), tuple(sorted(final)))


def _merged(
    conditions: tuple[Expr, ...], steps: dict[Subset, list[_Step]], start: Subset, order: dict[str, int]
) -> Compact | str:
    """Merge the subsets that go on alike (Moore), and see that passing over an event leads nowhere else."""
    block = {s: int(s != start) for s in steps}
    while True:
        signatures = {
            s: (block[s], *((step.final, block[step.stay] if s != start else 0,
                             tuple((stage, block[t]) for stage, t in step.takes)) for step in steps[s]))
            for s in steps
        }  # fmt: skip
        numbers: dict[object, int] = {}
        for s in sorted(steps, key=lambda s: (s != start, len(s), sorted(s))):
            numbers.setdefault(signatures[s], len(numbers))
        finer = {s: numbers[signatures[s]] for s in steps}
        if len(set(finer.values())) == len(set(block.values())):
            break
        block = finer
    block = finer
    if any(block[step.stay] != block[s] for s in steps if s != start for step in steps[s]):
        return "what may follow depends on events that are passed over"
    if any(step.final for step in steps[start]):
        return "a match can be a single event"
    if len(numbers) > STATES:
        return "it has too many states"
    subsets = [
        tuple(sorted((s for s in steps if block[s] == i), key=lambda s: (len(s), sorted(s))))
        for i in range(len(numbers))
    ]
    cells = []
    for of_state in subsets:
        row = []
        for step in steps[of_state[0]]:
            if len(step.takes) > 1:
                return "an event can stand in one of several stages"
            on = [(stage, block[target]) for stage, target in step.takes]
            row.append((*on, *((stage, FINAL) for stage in sorted(step.final, key=order.__getitem__))))
        cells.append(tuple(row))
    return Compact(conditions, tuple(cells), tuple(subsets))
