"""The rules between stages and for a pattern as a whole: whatever Flink refuses, with what to write instead.

Rules between neighbours hold for a half-built pattern already and run with every builder call; the others need the
finished pattern (a window may still come, a skip strategy may name a stage that comes later): `Pattern.check()`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fyke import expr as ex
from fyke.duration import format_ns
from fyke.errors import PatternError
from fyke.expr import Expr
from fyke.stage import Skip, Stage, flat, require

__all__ = [
    "check_gaps",
    "check_key",
    "check_names",
    "check_neighbours",
    "check_refs",
    "check_skip",
    "check_trailing_absence",
    "not_after_optional",
    "require_not_greedy",
]


def check_names(stages: Iterable[Stage]) -> None:
    """Check that no name occurs twice, groups included."""
    names: set[str | None] = set()
    for stage in flat(stages):
        if stage.group is None:
            require(
                stage.name not in names,
                f"{stage.title()}: the name occurs twice; names are unique in the whole pattern, groups included",
            )
            names.add(stage.name)


def check_neighbours(stages: tuple[Stage, ...]) -> None:
    """Check that begin stands first and only there, and which stages may stand side by side; in groups too."""
    for position, stage in enumerate(stages):
        first = position == 0
        require(
            first == (stage.contiguity == "begin"),
            f"{stage.title()}: the first stage of a pattern or group has contiguity begin, and only that one",
        )
        if stage.group is not None:
            check_neighbours(stage.group)
        if first:
            continue
        before = stages[position - 1]
        if before.quantifier.optional and stage.negated:
            raise PatternError(not_after_optional(before, stage.name))
        # times(0, m) makes a stage optional too, and that Flink lets through; here it cannot be told from optional().
        from_zero = stage.quantifier.kind == "times" and stage.quantifier.min == 1
        if stage.quantifier.optional and not from_zero:
            require_not_greedy(before, stage)


def require_not_greedy(before: Stage, stage: Stage) -> None:
    """Refuse an optional stage right after a greedy one."""
    require(
        not before.quantifier.greedy,
        f"{stage.title()}: an optional stage cannot come right after the greedy {before.title()}: "
        "leave out .greedy(), or use two patterns, one with and one without this stage",
    )


def not_after_optional(before: Stage, name: str | None) -> str:
    """Give the text that refuses a negated stage right after an optional one."""
    return (
        f'stage "{name}": a negated stage cannot come right after the optional {before.title()}: '
        f"use two patterns, one with and one without {before.title()}"
    )


def check_gaps(stages: tuple[Stage, ...], window: int, copies: int = 1) -> None:
    """Check that no gap is longer than the window, by Flink's rule: a gap that bounds no wait there is let through.

    Args:
        copies: how often the groups around these stages are laid out one after the other.
    """
    for stage in stages:
        quantifier = stage.quantifier
        laid_out = quantifier.min + 1 if quantifier.max is None else quantifier.max
        if stage.group is not None:
            check_gaps(stage.group, window, copies * laid_out)
        elif stage.contiguity == "not_followed_by":
            # Only in the last place does it wait, see check_trailing_absence.
            continue
        elif quantifier.kind == "one":
            _require_gap(stage, stage.within, window, ".within(gap=...)")
        elif copies * laid_out > 1:
            _require_gap(stage, quantifier.within, window, f".{quantifier.kind}(within=...)")


def _require_gap(stage: Stage, gap: int | None, window: int, what: str) -> None:
    require(
        gap is None or gap <= window,
        f"{stage.title()}: {what} of {format_ns(gap or 0)} is longer than the whole pattern's window "
        f"of {format_ns(window)}: shorten it, or leave it out",
    )


def check_key(expression: object) -> None:
    """Check that a key is made of the current event and of nothing else."""
    if not isinstance(expression, Expr):
        raise PatternError(f"by({expression!r}): a key is the name of a column or an expression")
    reads_event = False
    for node in ex.walk(expression):
        if isinstance(node, ex.Agg | ex.Prev) or (isinstance(node, ex.Call) and node.arity == 2):
            raise PatternError(f"by: {expression!r}: a key is made of the current event only, not of {node!r}")
        reads_event = reads_event or isinstance(node, ex.Column | ex.Call)
    require(reads_event, f"by: {expression!r} is the same for all events: leave by() out to match them all together")


def check_trailing_absence(stages: tuple[Stage, ...], window: int | None) -> None:
    """Check that something ends the wait of a not_followed_by in the last place."""
    last = stages[-1]
    require(
        last.contiguity != "not_followed_by" or window is not None or last.within is not None,
        f"{last.title()}: .not_followed_by() as the last stage needs a window that says how long to wait: "
        'add .within("10m") or .within(gap="10m")',
    )
    if last.contiguity == "not_followed_by" and window is not None:
        _require_gap(last, last.within, window, ".within(gap=...)")


def check_skip(stages: tuple[Stage, ...], strategy: Skip) -> None:
    """Check that a skip strategy names a stage outside of groups. A negated one is allowed; it never has an event."""
    target = strategy.stage
    if target is None or any(stage.name == target for stage in stages):
        return
    top = [stage.name for stage in stages if stage.name is not None and not stage.negated]
    choice = f"the stages outside of groups are {_quoted(top)}" if top else "all the stages are in groups"
    if any(stage.name == target for stage in flat(stages)):
        raise PatternError(f'{strategy!r}: stage "{target}" lies inside a group; {choice}')
    raise PatternError(f'{strategy!r}: no stage "{target}"{_near(target, top)}; {choice}')


def check_refs(stages: tuple[Stage, ...], conditions: Iterable[tuple[str, Expr]]) -> None:
    """Check that conditions refer to stages that exist and can have events."""
    known = {stage.name: stage for stage in flat(stages) if stage.name is not None}
    for where, expression in conditions:
        for node in ex.walk(expression):
            if not isinstance(node, ex.Agg):
                continue
            stage = known.get(node.stage)
            if stage is None:
                near = _near(node.stage, known)
                raise PatternError(
                    f'{where}: {node!r}: no stage "{node.stage}"{near}; the stages are {_quoted(known)}'
                )
            if stage.negated:
                raise PatternError(f'{where}: {node!r}: stage "{node.stage}" is negated and never has an event')


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


