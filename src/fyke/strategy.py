"""How a pattern is run: the planner. It picks the cheapest strategy that gives the general engine's results.

    general   a list of partial matches per key, each a record in a state of the automaton; runs everything
    strict    a bit per partial match: no event lies between two of a match, so the partial matches of a key differ only
              in how many of its last events they hold (csrc/strict.h)
    compact   none at all: a partial match is any path of takes through the events of its key, which are kept by state;
              matches are found, or only counted, when one is complete (csrc/compact.h)

The choice is made on the flattened automaton, so whatever construct leads to a chain of single takes is one: stages
joined by next(), times(n).consecutive(), groups of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fyke import automaton as am
from fyke.compact import Compact, determinise, passes_over
from fyke.expr import Expr
from fyke.pattern import Pattern

GENERAL, STRICT, COMPACT = 0, 1, 2
STRATEGIES: Final = ("auto", "general")
PLACES: Final = 32
"""The longest strict sequence, in events; csrc/plan.h has the same number."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A choice: its number in the plan, the line that explain() shows for it, and what a compact set is run by."""

    number: int
    why: str
    compact: Compact | None = None


def choose(
    wanted: str,
    pattern: Pattern,
    states: Sequence[am.FlatState],
    reads_match: Callable[[Expr], bool],
    reads_previous: Callable[[Expr], bool],
    one_by_one: str | None = None,
) -> Strategy:
    """Choose how a pattern is run.

    Args:
        wanted: "auto", or "general" for that strategy.
        pattern: the pattern.
        states: its flattened automaton, the start first.
        reads_match: whether a condition reads earlier events of the match (prev does not).
        reads_previous: whether it reads the key's event before.
        one_by_one: the option that asks for partial matches one by one, if any does.
    """
    if wanted == "general":
        return Strategy(GENERAL, 'strategy="general"')
    obstacle = _not_strict(states, reads_match)
    if obstacle is None:
        return Strategy(STRICT, "no event lies between two of a match, and each condition is a bit")
    if not passes_over(states) or len(states) < 3 or not states[0].edges:  # without: it has been replaced
        return Strategy(GENERAL, obstacle)
    if pattern.skip_strategy.kind != "no_skip":
        return Strategy(GENERAL, "its skip strategy ends partial matches")
    if one_by_one is not None:
        return Strategy(GENERAL, f"{one_by_one} looks at partial matches one by one")
    stages = [s.name for s in pattern.all_stages() if s.name is not None]
    found = determinise(states, stages, lambda e: reads_match(e) or reads_previous(e))
    if isinstance(found, str):
        return Strategy(GENERAL, found)
    why = "any event may be passed over, and each condition reads the event alone"
    return Strategy(COMPACT, why, found)


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
