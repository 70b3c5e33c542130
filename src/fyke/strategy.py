"""How a pattern is run: the planner. It picks the cheapest strategy that gives the general engine's results.

    general   a list of partial matches per key, each a record in a state of the automaton; runs everything
    strict    a bit per partial match: no event lies between two of a match, so the partial matches of a key differ only
              in how many of its last events they hold (csrc/strict.h)

The choice is made on the flattened automaton, so whatever construct leads to a chain of single takes is one: stages
joined by next(), times(n).consecutive(), groups of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fyke import automaton as am
from fyke.expr import Expr

GENERAL, STRICT = 0, 1
STRATEGIES: Final = ("auto", "general")
PLACES: Final = 32
"""The longest strict sequence, in events; csrc/plan.h has the same number."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A choice: its number in the plan, and the line that explain() shows for it."""

    number: int
    why: str


def choose(wanted: str, states: Sequence[am.FlatState], reads_match: Callable[[Expr], bool]) -> Strategy:
    """Choose how a pattern is run.

    Args:
        wanted: "auto", or "general" for that strategy.
        states: the flattened automaton, the start first.
        reads_match: whether a condition reads earlier events of the match (prev does not).
    """
    if wanted == "general":
        return Strategy(GENERAL, 'strategy="general"')
    obstacle = _not_strict(states, reads_match)
    if obstacle is not None:
        return Strategy(GENERAL, obstacle)
    return Strategy(STRICT, "no event lies between two of a match, and each condition is a bit")


def _not_strict(states: Sequence[am.FlatState], reads_match: Callable[[Expr], bool]) -> str | None:
    """What keeps a pattern from being a strict sequence, in words; None if nothing does."""
    *takes, final = states
    if final.kind != am.FINAL or final.edges or not all(_leads_on(s, i) for i, s in enumerate(takes)):
        return "a match can skip events, or take more or fewer of them"
    if len(takes) < 2:
        return "a match is a single event"
    if len(takes) > PLACES:
        return f"a match has {len(takes)} events, over {PLACES}"
    if any(_some(s.edges[0].guard, reads_match) for s in takes):
        return "a condition reads earlier events of the match (prev would do)"
    return None


def _leads_on(state: am.FlatState, index: int) -> bool:
    """Whether all that an event can do here is to be taken, and to bring the run to the state after."""
    if len(state.edges) != 1 or state.kind not in (am.START, am.NORMAL):
        return False
    edge = state.edges[0]
    return (edge.action, edge.target, edge.final, edge.gap) == ("take", index + 1, am.FALSE, None)


def _some(guard: am.Guard, test: Callable[[Expr], bool]) -> bool:
    return (guard.cond is not None and test(guard.cond)) or any(_some(g, test) for g in guard.args)
