"""Equality with the first event of a match: what every later condition asks for finds the partial matches concerned.

    begin("a", ...).followed_by_any("b", col.x == ref("a").y, ...)     an event concerns those whose a.y is its x

An event for which no condition can hold must leave a partial match as it is; then the others need not be looked at
(csrc/nfa_index.c).
"""

from __future__ import annotations

from collections.abc import Sequence

from fyke import automaton as am
from fyke.expr import Agg, Binary, Column, Expr, split_and

Pair = tuple[str, str]
"""The event's column, and that of the match's first event which must equal it."""


def common_equality(states: Sequence[am.FlatState]) -> Pair | None:
    """Give the equality that all conditions of partial matches ask for; None if there is none, or it would not do.

    Args:
        states: the flattened automaton, the start first.
    """
    start, *others = states
    first = {e.stage for e in start.edges}
    if len(first) != 1 or any(e.stage in first for s in others for e in s.edges):
        return None  # the first event is not the only one of its stage
    waiting = [(i, s) for i, s in enumerate(states) if s.kind not in (am.START, am.FINAL, am.STOP)]
    if not waiting or not all(_stays(s, i) for i, s in waiting):
        return None
    conditions = {c for s in others for e in s.edges for g in (e.guard, e.final) for c in _conditions(g)}
    pairs = [set(_equalities(c, next(iter(first)))) for c in conditions]
    common = sorted(set.intersection(*pairs)) if pairs else []
    return common[0] if common else None


def _stays(state: am.FlatState, index: int) -> bool:
    """Whether an event for which no condition holds leaves a partial match here as it is."""
    opened = [e for e in state.edges if am.holds(e.guard, frozenset())]
    return (
        state.gap is None
        and len(opened) == 1
        and (opened[0].action, opened[0].target, opened[0].gap) == ("ignore", index, None)
    )


def _conditions(guard: am.Guard) -> list[Expr]:
    own = [guard.cond] if guard.cond is not None else []
    return own + [c for g in guard.args for c in _conditions(g)]


def _equalities(condition: Expr, first: str | None) -> list[Pair]:
    found = []
    for part in split_and(condition):
        if isinstance(part, Binary) and part.op == "eq":
            for event, match in ((part.left, part.right), (part.right, part.left)):
                if isinstance(event, Column) and isinstance(match, Agg) and _reads(match, first):
                    found.append((event.name, match.column))
    return found


def _reads(match: Agg, first: str | None) -> bool:
    return match.stage == first and match.fn in ("first", "last") and match.empty is None
