"""The parts of a pattern as frozen values: Quantifier, Stage (also a group) and Skip, each checked when it is made.

What can be wrong within one of them is refused here; what depends on its neighbours or on the whole is in rules.py. The
builder in pattern.py makes them; the compiler reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fyke import expr as ex
from fyke.duration import format_ns
from fyke.errors import PatternError
from fyke.expr import Expr

__all__ = ["NOT_CONTIGUITIES", "NO_SKIP", "Quantifier", "Skip", "Stage", "skip"]

CONTIGUITIES: Final = ("begin", "next", "followed_by", "followed_by_any", "not_next", "not_followed_by")
NOT_CONTIGUITIES: Final = ("not_next", "not_followed_by")
QUANTIFIERS: Final = ("one", "one_or_more", "times", "times_or_more")
INNER: Final = ("relaxed", "strict", "combinations")
SKIPS: Final = ("no_skip", "to_next", "past_last_event", "to_first", "to_last")


def require(condition: bool, message: str) -> None:
    """Refuse with `message` unless the condition holds."""
    if not condition:
        raise PatternError(message)


@dataclass(frozen=True, slots=True)
class Quantifier:
    """How often a stage occurs, and how its events may lie to each other.

    Args:
        kind: one, one_or_more, times (min to max) or times_or_more (min and more).
        min: the fewest occurrences, at least 1; "none at all" is `optional`.
        max: the most occurrences; None without a bound.
        optional: the stage may be left out.
        greedy: an event that the loop accepts is not offered to the next stage.
        inner: between the events of a loop: relaxed (others are skipped), strict (none between) or combinations (also
            matching ones are skipped).
        within: nanoseconds between neighbouring events of the loop, exclusive.
    """

    kind: str = "one"
    min: int = 1
    max: int | None = 1
    optional: bool = False
    greedy: bool = False
    inner: str = "relaxed"
    within: int | None = None

    def __post_init__(self) -> None:
        require(self.kind in QUANTIFIERS, f"quantifier {self.kind!r} is not one of {', '.join(QUANTIFIERS)}")
        require(self.inner in INNER, f"inner contiguity {self.inner!r} is not one of {', '.join(INNER)}")
        for name, number in (("min", self.min), ("max", self.max)):
            whole = isinstance(number, int) and not isinstance(number, bool)
            require(whole or (name == "max" and number is None), f"{name} is a whole number, not {number!r}")
        require(self.min >= 1, f"at least {self.min} times: the minimum is 1; for none at all add .optional()")
        if self.kind == "times":
            require(self.max is not None, "times has a maximum; without one write .times_or_more(n)")
            most = 0 if self.max is None else self.max
            require(most >= self.min, f"from {self.min} to {most} times: the maximum is below the minimum")
        elif self.kind == "one":
            require((self.min, self.max) == (1, 1), "a stage without a loop occurs once: min = max = 1")
            require(
                self.inner == "relaxed",
                f"{INNER_CALLS[self.inner]} needs a loop: add .one_or_more() or .times(n) first",
            )
            require(not self.greedy, ".greedy() needs a loop: add .one_or_more() or .times(n) first")
            require(
                self.within is None,
                "a window inside a loop needs a loop: for the gap before a stage write .within(gap=...)",
            )
        else:
            require(self.max is None, f"{self.kind} has no maximum; write .times(n, m)")
            require(self.kind != "one_or_more" or self.min == 1, "one_or_more has min 1; write .times_or_more(n)")
        require(
            not (self.greedy and self.inner == "combinations"),
            ".greedy() and .allow_combinations() contradict each other: leave one of them out",
        )
        require(self.within is None or self.within > 0, "a window inside a loop must be longer than 0")

    @property
    def looping(self) -> bool:
        """Tell whether the number of occurrences has no bound."""
        return self.max is None


INNER_CALLS: Final = {"relaxed": "", "strict": ".consecutive()", "combinations": ".allow_combinations()"}
NO_CONDITION: Final = "a group has no condition of its own"
ONE: Final = Quantifier()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stage:
    """One step of a pattern: a condition with a name, or a group of stages.

    Args:
        name: unique in the whole pattern; None for a group.
        contiguity: begin (first of a pattern or group), next, followed_by, followed_by_any, not_next, not_followed_by.
        where: the condition on an event; None: every event.
        quantifier: how often.
        until: an event for which this holds ends the loop.
        within: nanoseconds since the event before this stage, exclusive.
        group: the stages of a group.
    """

    name: str | None
    contiguity: str
    where: Expr | None = None
    quantifier: Quantifier = ONE
    until: Expr | None = None
    within: int | None = None
    group: tuple[Stage, ...] | None = None

    def __post_init__(self) -> None:
        here = self.title()
        if self.group is None:
            require(
                isinstance(self.name, str) and self.name != "",
                f"a stage is named by a non-empty string, not {self.name!r}",
            )
        else:
            require(self.name is None, f"a group has no name, got {self.name!r}: the stages in it have names")
            require(len(self.group) > 0, "a group needs at least one stage")
        require(
            self.contiguity in CONTIGUITIES,
            f"{here}: contiguity {self.contiguity!r} is not one of {', '.join(CONTIGUITIES)}",
        )
        for condition, call in ((self.where, "where"), (self.until, "until")):
            if condition is not None:
                require_condition(condition, f"{here}: {call}")
        quantifier = self.quantifier
        if self.negated:
            require(self.group is None, f"{here}: .{self.contiguity}() takes one stage, not a group")
            require(
                quantifier.kind == "one",
                f"{here}: a negated stage cannot be repeated; it stands for any number of events already",
            )
            require(
                not quantifier.optional,
                f"{here}: a negated stage cannot be optional; use two patterns, one with and one without it",
            )
        if self.group is not None:
            require(self.where is None, f"{here}: {NO_CONDITION}; put where() on the stages in it")
            require(not quantifier.greedy, f"{here}: a group cannot be greedy; put .greedy() on the loops in it")
            require(
                not (quantifier.looping and may_be_empty(self.group)),
                f"{here}: a loop without a maximum around a group that can match no event at all would turn for ever; "
                "make a stage of the group required, or write .times(n, m)",
            )
        require(
            self.until is None or quantifier.looping,
            f"{here}: .until() ends a loop without a maximum: add .one_or_more() or .times_or_more(n) before it",
        )
        require(self.within is None or self.within > 0, f"{here}: within(gap=...) must be longer than 0")

    @property
    def negated(self) -> bool:
        """Tell whether this is not_next or not_followed_by."""
        return self.contiguity in NOT_CONTIGUITIES

    def title(self) -> str:
        """Give the words by which errors name the stage: stage "a", group ("a", "b")."""
        if self.group is None:
            return f'stage "{self.name}"'
        return group_title(self.group)

    def _structure(self) -> tuple[object, ...]:
        # Not the tuple of the fields: None == Expr would ask Expr to compare itself with None, which it refuses.
        return (
            self.name,
            self.contiguity,
            None if self.where is None else ("expr", self.where),
            self.quantifier,
            None if self.until is None else ("expr", self.until),
            self.within,
            self.group,
        )

    def __eq__(self, other: object) -> bool:
        return self._structure() == other._structure() if isinstance(other, Stage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._structure())

    def __repr__(self) -> str:
        return stage_call(self)


@dataclass(frozen=True, slots=True)
class Skip:
    """What a match does to the partial and completed matches that started before its end.

    Args:
        kind: no_skip, to_next, past_last_event, to_first or to_last.
        stage: the top-level stage for to_first and to_last.
        throw: make it an error when that stage is empty in the match, or begins it.
    """

    kind: str = "no_skip"
    stage: str | None = None
    throw: bool = False

    def __post_init__(self) -> None:
        require(self.kind in SKIPS, f"skip strategy {self.kind!r} is not one of {', '.join(SKIPS)}")
        if self.kind in ("to_first", "to_last"):
            require(isinstance(self.stage, str) and self.stage != "", f"skip.{self.kind} needs the name of a stage")
        else:
            require(self.stage is None, f"skip.{self.kind} takes no stage")
            require(not self.throw, f"skip.{self.kind} cannot miss, so it takes no throw")

    def __repr__(self) -> str:
        stage = "" if self.stage is None else repr(self.stage)
        return f"skip.{self.kind}({stage}{', throw=True' if self.throw else ''})"


NO_SKIP: Final = Skip()


class _Skips:
    """`skip`: the five strategies. After a match ..."""

    __slots__ = ()

    def no_skip(self) -> Skip:
        """Keep everything (the default)."""
        return NO_SKIP

    def to_next(self) -> Skip:
        """Drop the other matches that start with the same event."""
        return Skip("to_next")

    def past_last_event(self) -> Skip:
        """Drop every match that started at or before the match's last event."""
        return Skip("past_last_event")

    def to_first(self, stage: str, throw: bool = False) -> Skip:
        """Drop every match that started before the first event of `stage`."""
        return Skip("to_first", stage, throw)

    def to_last(self, stage: str, throw: bool = False) -> Skip:
        """Drop every match that started before the last event of `stage`."""
        return Skip("to_last", stage, throw)

    def __repr__(self) -> str:
        return "skip"


skip: Final = _Skips()


# --- walking and naming ---------------------------------------------------------------------------------------------


def flat(stages: Iterable[Stage]) -> Iterator[Stage]:
    """Iterate over the stages in order, each group before the stages in it."""
    for stage in stages:
        yield stage
        if stage.group is not None:
            yield from flat(stage.group)


def group_title(stages: tuple[Stage, ...]) -> str:
    """Give the words by which errors name a group."""
    return "group (" + ", ".join(f'"{stage.name}"' for stage in flat(stages) if stage.group is None) + ")"


def may_be_empty(stages: tuple[Stage, ...]) -> bool:
    """Tell whether the stages can be passed without taking an event."""
    return all(
        stage.negated or stage.quantifier.optional or (stage.group is not None and may_be_empty(stage.group))
        for stage in stages
    )


def require_condition(expression: Expr, here: str) -> None:
    """Refuse what cannot be true or false whatever the schema; the rest is checked when the types are known."""
    if not isinstance(expression, Expr):
        raise PatternError(f"{here}: {expression!r} is no expression")
    match expression:
        case ex.Literal(value) if not isinstance(value, bool):
            wrong = True
        case ex.Binary(op) if op in ex.ARITHMETIC:
            wrong = True
        case ex.Func() | ex.Unary("neg"):
            wrong = True
        case _:
            wrong = False
    require(not wrong, f"{here}: `{expression!r}` is neither true nor false: compare it with something")


# --- written as code ------------------------------------------------------------------------------------------------


def stage_call(stage: Stage) -> str:
    """Give the builder calls that make the stage, its quantifier and its gap."""
    dot = "" if stage.contiguity == "begin" else "."
    if stage.group is not None:
        arguments = "".join(map(stage_call, stage.group))
    else:
        conditions = () if stage.where is None else ex.split_and(stage.where)
        arguments = ", ".join([repr(stage.name), *map(repr, conditions)])
    calls = [f"{dot}{stage.contiguity}({arguments})", *quantifier_calls(stage)]
    if stage.until is not None:
        calls.append(f".until({stage.until!r})")
    if stage.within is not None:
        calls.append(f".within(gap={format_ns(stage.within)!r})")
    return "".join(calls)


def quantifier_calls(stage: Stage) -> list[str]:
    """Give the builder calls that make the stage's quantifier; none for exactly once."""
    quantifier = stage.quantifier
    least, most, optional = quantifier.min, quantifier.max, quantifier.optional
    numbers: list[int | None] = []
    if quantifier.kind == "times_or_more":
        numbers = [least]
    elif quantifier.kind == "times" and optional and least == 1:
        # Right after a greedy stage this is the only spelling, see check_neighbours.
        numbers, optional = [0, most], False
    elif quantifier.kind == "times":
        numbers = [least] if least == most else [least, most]
    arguments = [str(number) for number in numbers]
    if quantifier.within is not None:
        arguments.append(f"within={format_ns(quantifier.within)!r}")
    calls = [] if quantifier.kind == "one" else [f".{quantifier.kind}({', '.join(arguments)})"]
    if quantifier.inner != "relaxed":
        calls.append(INNER_CALLS[quantifier.inner])
    if optional:
        calls.append(".optional()")
    if quantifier.greedy:
        calls.append(".greedy()")
    return calls


