"""A pattern as a drawing: text for the terminal, Mermaid for documents. Pure functions of the Pattern.

Stages are boxes, top to bottom; the contiguity stands on the arrow before a box, with the gap that bounds it; a group
is a frame around its stages; what holds for the whole pattern (key, window, skip) stands above and below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from fyke import expr as ex
from fyke.duration import format_ns
from fyke.pattern import NO_SKIP, Pattern, Skip, Stage

__all__ = ["diagram_mermaid", "diagram_text", "escaped"]

_ARROWS = {
    "begin": "begin with",
    "next": "directly after",
    "followed_by": "then, the first",
    "followed_by_any": "then, any",
    "not_next": "directly after, NOT",
    "not_followed_by": "until then, NOT",
}
_INNER = {"relaxed": "", "strict": "consecutive", "combinations": "all combinations"}
_SKIPS = {
    "to_next": "drop the others that start with the same event",
    "past_last_event": "drop all that started up to its last event",
    "to_first": 'drop all that started before the first "{stage}"',
    "to_last": 'drop all that started before the last "{stage}"',
}
# A condition on one line grows a box no wider than this; longer ones are cut at their ands.
_WIDTH = 76


def diagram_text(pattern: Pattern) -> str:
    """Draw the pattern with line characters, top to bottom.

    Args:
        pattern: a finished pattern.

    Returns:
        Lines joined by newlines, none at the end.

    Raises:
        PatternError: `pattern.check()` finds it wrong.

    >>> from fyke import begin, col
    >>> print(diagram_text(begin("a", col.x > 1).followed_by("b").within("10m").by("user")))
    for each col.user
    ┌─────────────┐
    │ a           │
    │   col.x > 1 │
    └─────────────┘
      │ then, the first
      ▼
    ┌─────────────┐
    │ b           │
    │   any event │
    └─────────────┘
    first to last event within 10m
    """
    pattern.check()
    lines = [*_header(pattern), *_sequence(pattern.stages), *_footer(pattern)]
    return "\n".join(line.rstrip() for line in lines)


def diagram_mermaid(pattern: Pattern) -> str:
    """Draw the pattern as a Mermaid flowchart: groups are subgraphs, loops arrows back, negated stages hexagons.

    Args:
        pattern: a finished pattern.

    Raises:
        PatternError: `pattern.check()` finds it wrong.

    >>> from fyke import begin, col
    >>> print(diagram_mermaid(begin("a", col.x > 1).next("b").one_or_more()))
    flowchart TD
        s1["<b>a</b><br/>col.x #gt; 1"]
        s2["<b>b</b> one or more<br/>any event"]
        s1 -->|directly after| s2
        s2 -.->|again| s2
    """
    pattern.check()
    lines = ["flowchart TD"]
    arrows: list[str] = []
    _mermaid_stages(pattern.stages, lines, arrows, count(1), indent=1)
    notes = [*_header(pattern), *_footer(pattern)]
    if notes:
        text = "<br/>".join(map(escaped, notes))
        lines.append(f'    whole[/"{text}"/]')
    return "\n".join(lines + ["    " + arrow for arrow in arrows])


# --- words ----------------------------------------------------------------------------------------------------------


def quantifier_words(stage: Stage) -> str:
    """Say how often a stage occurs; empty for exactly once.

    >>> from fyke import begin
    >>> quantifier_words(begin("a").times(2, 4, within="5s").consecutive().optional().stages[0])
    '2 to 4 times, optional, consecutive, each within 5s'
    """
    quantifier = stage.quantifier
    words = {
        "one": "",
        "one_or_more": "one or more",
        "times_or_more": f"{quantifier.min} or more",
        "times": f"{quantifier.min} times"
        if quantifier.min == quantifier.max
        else f"{quantifier.min} to {quantifier.max} times",
    }[quantifier.kind]
    each = "" if quantifier.within is None else f"each within {format_ns(quantifier.within)}"
    parts = [
        words,
        "optional" if quantifier.optional else "",
        "greedy" if quantifier.greedy else "",
        _INNER[quantifier.inner],
        each,
    ]
    return ", ".join(part for part in parts if part)


def _header(pattern: Pattern) -> list[str]:
    lines = [] if pattern.name is None else [f"pattern {pattern.name}"]
    if pattern.key:
        lines.append("for each " + ", ".join(map(repr, pattern.key)))
    return lines


def _footer(pattern: Pattern) -> list[str]:
    lines = [] if pattern.window is None else [f"first to last event within {format_ns(pattern.window)}"]
    if pattern.skip_strategy != NO_SKIP:
        lines.append(_skip_words(pattern.skip_strategy))
    return lines


def _skip_words(strategy: Skip) -> str:
    words = "after a match " + _SKIPS[strategy.kind].format(stage=strategy.stage)
    return words + (", an error if there is none" if strategy.throw else "")


def _arrow_words(stage: Stage) -> str:
    gap = "" if stage.within is None else f", within {format_ns(stage.within)}"
    return _ARROWS[stage.contiguity] + gap


def _title(stage: Stage) -> str:
    name = "group" if stage.group is not None else f"NOT {stage.name}" if stage.negated else str(stage.name)
    words = quantifier_words(stage)
    return name + (f"  ({words})" if words else "")


def _condition_lines(stage: Stage) -> list[str]:
    if stage.group is not None:
        lines = []
    elif stage.where is None:
        lines = ["any event"]
    else:
        lines = _cut(stage.where)
    return lines if stage.until is None else [*lines, f"until {stage.until!r}"]


def _cut(condition: ex.Expr) -> list[str]:
    """Write a condition, on a line of its own for each part of a conjunction if it is long."""
    whole = repr(condition)
    parts = ex.split_and(condition)
    if len(whole) <= _WIDTH or len(parts) == 1:
        return [whole]
    return [repr(parts[0]), *(f"and {part!r}" for part in parts[1:])]


# --- text -----------------------------------------------------------------------------------------------------------


def _sequence(stages: Iterable[Stage]) -> Iterator[str]:
    """Draw stages one below the other, with the arrows between them."""
    for stage in stages:
        if stage.contiguity != "begin":
            yield "  │ " + _arrow_words(stage)
            yield "  ▼"
        yield from _box(stage)


def _box(stage: Stage) -> Iterator[str]:
    content = [_title(stage), *("  " + line for line in _condition_lines(stage))]
    if stage.group is not None:
        content += ["  " + line for line in _sequence(stage.group)]
    width = max(map(len, content)) + 1
    # A negated stage has a broken frame: no event of it is ever in a match.
    across, along = ("╌", "╎") if stage.negated else ("─", "│")
    yield "┌" + across * (width + 1) + "┐"
    for line in content:
        yield f"{along} {line.ljust(width)}{along}"
    yield "└" + across * (width + 1) + "┘"


# --- Mermaid --------------------------------------------------------------------------------------------------------


def _mermaid_stages(
    stages: tuple[Stage, ...], lines: list[str], arrows: list[str], numbers: Iterator[int], indent: int
) -> None:
    """Add the nodes of a sequence to `lines` and the arrows between them to `arrows`."""
    ids: list[str] = []
    margin = "    " * indent
    for stage in stages:
        node = f"s{next(numbers)}"
        words = quantifier_words(stage)
        if stage.group is not None:
            until = "" if stage.until is None else f"<br/>until {escaped(repr(stage.until))}"
            lines.append(f'{margin}subgraph {node}["group{" " + words if words else ""}{until}"]')
            _mermaid_stages(stage.group, lines, arrows, numbers, indent + 1)
            lines.append(f"{margin}end")
        else:
            name = ("NOT " if stage.negated else "") + str(stage.name)
            title = f"<b>{escaped(name)}</b>" + (f" {words}" if words else "")
            label = "<br/>".join([title, *map(escaped, _condition_lines(stage))])
            lines.append(f'{margin}{node}{{{{"{label}"}}}}' if stage.negated else f'{margin}{node}["{label}"]')
        if ids:
            arrows.append(f"{ids[-1]} {'-.-x' if stage.negated else '-->'}|{escaped(_arrow_words(stage))}| {node}")
        # A subgraph cannot have an arrow to itself; its title says how often.
        if stage.quantifier.kind != "one" and stage.group is None:
            arrows.append(f"{node} -.->|again| {node}")
        ids.append(node)


def escaped(text: str) -> str:
    """Make text safe in a Mermaid label, by Mermaid's own entities: # in place of HTML's &."""
    # First the sign that starts an entity, so that none is escaped twice.
    for sign, entity in (("#", "35"), ("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("|", "124")):
        text = text.replace(sign, f"#{entity};")
    return text
