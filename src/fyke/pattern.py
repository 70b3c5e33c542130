"""Patterns as values: frozen stages and quantifiers, the builder that makes them, and the rules for which are allowed.

Every builder method gives a new Pattern; the words are those of Flink CEP in snake_case. Rules are checked as early as
they can be known: what is wrong in one stage in Stage, what is wrong between neighbours in Pattern, both at the builder
call; what depends on the finished pattern (a window that may still come, a stage that a skip strategy names) in
`Pattern.check()`, which everything that uses a pattern calls first. Whatever Flink refuses is refused here, with what
to write instead.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, TypeAlias

from fyke import expr as ex
from fyke.duration import DurationLike, format_ns, to_ns
from fyke.errors import DefinitionError, ExpressionError, PatternError
from fyke.expr import Expr

__all__ = ["JSON_VERSION", "NOT_CONTIGUITIES", "Pattern", "Quantifier", "Skip", "Stage", "begin", "skip"]

# Version of the JSON form; a reader refuses what is newer than itself.
JSON_VERSION: Final = 1

CONTIGUITIES: Final = ("begin", "next", "followed_by", "followed_by_any", "not_next", "not_followed_by")
NOT_CONTIGUITIES: Final = ("not_next", "not_followed_by")
QUANTIFIERS: Final = ("one", "one_or_more", "times", "times_or_more")
INNER: Final = ("relaxed", "strict", "combinations")
SKIPS: Final = ("no_skip", "to_next", "past_last_event", "to_first", "to_last")

Condition: TypeAlias = Expr | Callable[..., object]


def _require(condition: bool, message: str) -> None:
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
        _require(self.kind in QUANTIFIERS, f"quantifier {self.kind!r} is not one of {', '.join(QUANTIFIERS)}")
        _require(self.inner in INNER, f"inner contiguity {self.inner!r} is not one of {', '.join(INNER)}")
        for name, number in (("min", self.min), ("max", self.max)):
            whole = isinstance(number, int) and not isinstance(number, bool)
            _require(whole or (name == "max" and number is None), f"{name} is a whole number, not {number!r}")
        _require(self.min >= 1, f"at least {self.min} times: the minimum is 1; for none at all add .optional()")
        if self.kind == "times":
            _require(self.max is not None, "times has a maximum; without one write .times_or_more(n)")
            most = 0 if self.max is None else self.max
            _require(most >= self.min, f"from {self.min} to {most} times: the maximum is below the minimum")
        elif self.kind == "one":
            _require((self.min, self.max) == (1, 1), "a stage without a loop occurs once: min = max = 1")
            _require(
                self.inner == "relaxed",
                f"{_INNER_CALL[self.inner]} needs a loop: add .one_or_more() or .times(n) first",
            )
            _require(not self.greedy, ".greedy() needs a loop: add .one_or_more() or .times(n) first")
            _require(
                self.within is None,
                "a window inside a loop needs a loop: for the gap before a stage write .within(gap=...)",
            )
        else:
            _require(self.max is None, f"{self.kind} has no maximum; write .times(n, m)")
            _require(self.kind != "one_or_more" or self.min == 1, "one_or_more has min 1; write .times_or_more(n)")
        _require(
            not (self.greedy and self.inner == "combinations"),
            ".greedy() and .allow_combinations() contradict each other: leave one of them out",
        )
        _require(self.within is None or self.within > 0, "a window inside a loop must be longer than 0")

    @property
    def looping(self) -> bool:
        """Tell whether the number of occurrences has no bound."""
        return self.max is None


_INNER_CALL: Final = {"relaxed": "", "strict": ".consecutive()", "combinations": ".allow_combinations()"}
_NO_CONDITION: Final = "a group has no condition of its own"
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
            _require(
                isinstance(self.name, str) and self.name != "",
                f"a stage is named by a non-empty string, not {self.name!r}",
            )
        else:
            _require(self.name is None, f"a group has no name, got {self.name!r}: the stages in it have names")
            _require(len(self.group) > 0, "a group needs at least one stage")
        _require(
            self.contiguity in CONTIGUITIES,
            f"{here}: contiguity {self.contiguity!r} is not one of {', '.join(CONTIGUITIES)}",
        )
        for condition, call in ((self.where, "where"), (self.until, "until")):
            if condition is not None:
                _require_condition(condition, f"{here}: {call}")
        quantifier = self.quantifier
        if self.negated:
            _require(self.group is None, f"{here}: .{self.contiguity}() takes one stage, not a group")
            _require(
                quantifier.kind == "one",
                f"{here}: a negated stage cannot be repeated; it stands for any number of events already",
            )
            _require(
                not quantifier.optional,
                f"{here}: a negated stage cannot be optional; use two patterns, one with and one without it",
            )
        if self.group is not None:
            _require(self.where is None, f"{here}: {_NO_CONDITION}; put where() on the stages in it")
            _require(not quantifier.greedy, f"{here}: a group cannot be greedy; put .greedy() on the loops in it")
            last = self.group[-1]
            _require(
                last.contiguity != "not_followed_by",
                f"{last.title()}: .not_followed_by() cannot end a group (until when?); put it after the group",
            )
            _require(
                not (quantifier.looping and _may_be_empty(self.group)),
                f"{here}: a loop without a maximum around a group that can match no event at all would turn for ever; "
                "make a stage of the group required, or write .times(n, m)",
            )
        _require(
            self.until is None or quantifier.looping,
            f"{here}: .until() ends a loop without a maximum: add .one_or_more() or .times_or_more(n) before it",
        )
        _require(self.within is None or self.within > 0, f"{here}: within(gap=...) must be longer than 0")

    @property
    def negated(self) -> bool:
        """Tell whether this is not_next or not_followed_by."""
        return self.contiguity in NOT_CONTIGUITIES

    def title(self) -> str:
        """Give the words by which errors name the stage: stage "a", group ("a", "b")."""
        if self.group is None:
            return f'stage "{self.name}"'
        return "group (" + ", ".join(f'"{stage.name}"' for stage in _flat(self.group) if stage.group is None) + ")"

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
        return "".join(_stage_calls(self))


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
        _require(self.kind in SKIPS, f"skip strategy {self.kind!r} is not one of {', '.join(SKIPS)}")
        if self.kind in ("to_first", "to_last"):
            _require(isinstance(self.stage, str) and self.stage != "", f"skip.{self.kind} needs the name of a stage")
        else:
            _require(self.stage is None, f"skip.{self.kind} takes no stage")
            _require(not self.throw, f"skip.{self.kind} cannot miss, so it takes no throw")

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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pattern:
    """A sequence of stages with a window, a skip strategy and a key. Built with `begin(...)`, see its methods.

    Args:
        stages: in order; the first has contiguity "begin".
        window: nanoseconds from the first to the last event of a match, exclusive; the builder's `within`.
        skip_strategy: the builder's `skip`.
        key: the builder's `by`; events of different keys never meet.
        name: the builder's `named`.

    >>> begin("a", ex.col.x > 1).followed_by("b").within("10m").by("user")
    begin('a', col.x > 1).followed_by('b').within('10m').by(col.user)
    """

    stages: tuple[Stage, ...]
    window: int | None = None
    skip_strategy: Skip = NO_SKIP
    key: tuple[Expr, ...] = ()
    name: str | None = None

    __array_ufunc__: ClassVar[None] = None

    def __post_init__(self) -> None:
        _require(len(self.stages) > 0, "a pattern needs at least one stage")
        _check_neighbours(self.stages)
        names: set[str | None] = set()
        for stage in self.all_stages():
            if stage.group is None:
                _require(
                    stage.name not in names,
                    f"{stage.title()}: the name occurs twice; names are unique in the whole pattern, groups included",
                )
                names.add(stage.name)
        _require(self.window is None or self.window > 0, "within: the window must be longer than 0")
        for expression in self.key:
            _require_key(expression)
        _require(
            self.name is None or (isinstance(self.name, str) and self.name != ""),
            f"a pattern is named by a non-empty string, not {self.name!r}",
        )

    # --- sequence ---------------------------------------------------------------------------------------------------

    @staticmethod
    def begin(first: str | Pattern, *conditions: Condition, skip: Skip | None = None) -> Pattern:
        """Start a pattern; the same as `fyke.begin`."""
        return begin(first, *conditions, skip=skip)

    def next(self, stage: str | Pattern, *conditions: Condition) -> Pattern:
        """Append a stage whose event comes directly after the previous one (of the same key).

        >>> begin("a").next("b", ex.col.x == 1)
        begin('a').next('b', col.x == 1)
        """
        return self._append("next", stage, conditions)

    def followed_by(self, stage: str | Pattern, *conditions: Condition) -> Pattern:
        """Append a stage whose event comes later: the first that matches; events that do not match are skipped."""
        return self._append("followed_by", stage, conditions)

    def followed_by_any(self, stage: str | Pattern, *conditions: Condition) -> Pattern:
        """Append a stage whose event comes later; each event that matches gives a match of its own."""
        return self._append("followed_by_any", stage, conditions)

    def not_next(self, stage: str, *conditions: Condition) -> Pattern:
        """Require that the event directly after the previous one does not match."""
        return self._append("not_next", stage, conditions)

    def not_followed_by(self, stage: str, *conditions: Condition) -> Pattern:
        """Require that no event matches until the next stage's event, or, as the last stage, until the window ends."""
        return self._append("not_followed_by", stage, conditions)

    def _append(self, contiguity: str, stage: str | Pattern, conditions: tuple[Condition, ...]) -> Pattern:
        last = self.stages[-1]
        if contiguity in NOT_CONTIGUITIES:
            if not isinstance(stage, str):
                raise PatternError(f".{contiguity}({stage!r}): takes the name of one stage, not a group")
            if last.quantifier.optional:
                raise PatternError(_not_after_optional(last, stage))
        made, window = _make_stage(contiguity, stage, conditions)
        return replace(self, stages=(*self.stages, made), window=_shorter(self.window, window))

    # --- conditions of the last stage -------------------------------------------------------------------------------

    def where(self, *conditions: Condition) -> Pattern:
        """Add conditions to the last stage; all must hold.

        >>> begin("a").where(ex.col.x > 1).where(ex.col.y > 2)
        begin('a', col.x > 1, col.y > 2)
        """
        if not conditions:
            raise PatternError(f"{self.stages[-1].title()}: where() needs a condition; without one every event fits")
        last = self.stages[-1]
        _require(last.group is None, f"{last.title()}: {_NO_CONDITION}; put where() on the stages in it")
        given = () if last.where is None else (last.where,)
        return self._change(where=_conjunction(last.title() + ": where", (*given, *conditions)))

    def or_(self, condition: Condition) -> Pattern:
        """Let the last stage also take events for which this holds.

        >>> begin("a", ex.col.x > 1).or_(ex.col.y > 2)
        begin('a', (col.x > 1) | (col.y > 2))
        """
        last = self.stages[-1]
        _require(last.group is None, f"{last.title()}: {_NO_CONDITION}; put or_() on the stages in it")
        added = _condition(last.title() + ": or_", condition)
        return self._change(where=added if last.where is None else ex.Binary("or", last.where, added))

    def until(self, condition: Condition) -> Pattern:
        """End the loop of the last stage at an event for which this holds; the loop does not take that event.

        >>> begin("a").one_or_more().until(ex.col.x == 0)
        begin('a').one_or_more().until(col.x == 0)
        """
        last = self.stages[-1]
        _require(last.until is None, f"{last.title()}: until() is given twice; join the conditions with |")
        return self._change(until=_condition(last.title() + ": until", condition))

    # --- quantifier of the last stage -------------------------------------------------------------------------------

    def times(self, n: int, m: int | None = None, within: DurationLike | None = None) -> Pattern:
        """Let the last stage occur n times, or n to m times.

        Args:
            n: how often, or at least how often; 0 (with an m) means that it may also be left out.
            m: at most how often.
            within: the time between neighbouring events of the loop must be shorter.

        >>> begin("a").times(2, 4, within="5s")
        begin('a').times(2, 4, within='5s')
        """
        here = self.stages[-1].title()
        for number in (n, n if m is None else m):
            if isinstance(number, bool) or not isinstance(number, int):
                raise PatternError(f"{here}: times takes whole numbers, not {number!r}")
        if m is None:
            _require(n >= 1, f"{here}: times({n}): the least is 1; leave the stage out, or write .optional()")
            return self._loop("times", n, n, within)
        _require(n >= 0, f"{here}: times({n}, {m}): the minimum is negative")
        _require(m >= 1, f"{here}: times({n}, {m}): the maximum is at least 1")
        return self._loop("times", max(n, 1), m, within, optional=n == 0)

    def times_or_more(self, n: int, within: DurationLike | None = None) -> Pattern:
        """Let the last stage occur n times or more.

        >>> begin("a").times_or_more(3)
        begin('a').times_or_more(3)
        """
        here = self.stages[-1].title()
        if isinstance(n, bool) or not isinstance(n, int):
            raise PatternError(f"{here}: times_or_more takes a whole number, not {n!r}")
        _require(n >= 1, f"{here}: times_or_more({n}): the least is 1; for none or more: .one_or_more().optional()")
        return self._loop("times_or_more", n, None, within)

    def one_or_more(self, within: DurationLike | None = None) -> Pattern:
        """Let the last stage occur once or more; every number of occurrences is a match.

        >>> begin("a").one_or_more().greedy().next("b")
        begin('a').one_or_more().greedy().next('b')
        """
        return self._loop("one_or_more", 1, None, within)

    def _loop(
        self, kind: str, least: int, most: int | None, within: DurationLike | None, optional: bool = False
    ) -> Pattern:
        last = self.stages[-1]
        if last.negated:
            raise PatternError(
                f"{last.title()}: a negated stage cannot be repeated; it stands for any number of events already"
            )
        if last.quantifier.kind != "one":
            raise PatternError(
                f"{last.title()}: has the quantifier {''.join(_quantifier_calls(last))} already; "
                "to repeat the whole, put it into a group: begin(begin(...))"
            )
        return self._quantify(
            kind=kind,
            min=least,
            max=most,
            within=None if within is None else _window_ns(within, f"{last.title()}: {kind}(within=...)"),
            optional=optional or last.quantifier.optional,
        )

    def optional(self) -> Pattern:
        """Let the last stage be left out.

        >>> begin("a").followed_by("b").optional().followed_by("c")
        begin('a').followed_by('b').optional().followed_by('c')
        """
        last = self.stages[-1]
        _require(not last.quantifier.optional, f"{last.title()}: is optional already")
        if len(self.stages) > 1:
            _require_not_greedy(self.stages[-2], last)
        return self._quantify(optional=True)

    def greedy(self) -> Pattern:
        """Give every event that the last stage's loop accepts to the loop, never to the next stage."""
        return self._quantify(greedy=True)

    def consecutive(self) -> Pattern:
        """Allow no other event (of the same key) between the events of the last stage's loop."""
        return self._inner("strict")

    def allow_combinations(self) -> Pattern:
        """Let the last stage's loop skip matching events too, so that every combination is a match."""
        return self._inner("combinations")

    def _inner(self, inner: str) -> Pattern:
        last = self.stages[-1]
        given = last.quantifier.inner
        _require(given != inner, f"{last.title()}: {_INNER_CALL[inner]} is given twice")
        _require(
            given == "relaxed",
            f"{last.title()}: .consecutive() and .allow_combinations() contradict each other: leave one of them out",
        )
        return self._quantify(inner=inner)

    # --- of the whole pattern ---------------------------------------------------------------------------------------

    def within(self, window: DurationLike | None = None, *, gap: DurationLike | None = None) -> Pattern:
        """Bound the time of a match, from its first to its last event; or the gap before the last stage.

        Args:
            window: the last event must come before first event + window. Given more than once, the shortest counts.
            gap: the last stage's event must come before previous event + gap.

        >>> begin("a").followed_by("b").within(gap="5s").within("10m")
        begin('a').followed_by('b').within(gap='5s').within('10m')
        """
        if (window is None) == (gap is None):
            raise PatternError('within: give a window for the whole match, within("10m"), or a gap, within(gap="5s")')
        if gap is not None:
            return self._change(within=_window_ns(gap, f"{self.stages[-1].title()}: within(gap=...)"))
        assert window is not None
        return replace(self, window=_shorter(self.window, _window_ns(window, "within")))

    def by(self, *keys: str | Expr) -> Pattern:
        """Match each key by itself: events meet only those with the same value of all the key columns or expressions.

        >>> begin("a").by("user", ex.col.amount // 100)
        begin('a').by(col.user, col.amount // 100)
        """
        _require(not self.key, "by() is given twice: name all the keys in one by(...)")
        _require(len(keys) > 0, "by() needs a column or an expression")
        for key in keys:
            if not isinstance(key, str | Expr) or (isinstance(key, str) and not key):
                raise PatternError(f"by({key!r}): a key is the name of a column or an expression")
        return replace(self, key=tuple(ex.Column(key) if isinstance(key, str) else key for key in keys))

    def skip(self, strategy: Skip) -> Pattern:
        """Say what a match does to others that overlap it: `fyke.skip.to_next()` and so on."""
        if not isinstance(strategy, Skip):
            raise PatternError(f"skip({strategy!r}): write for example .skip(fyke.skip.past_last_event())")
        _require(
            self.skip_strategy == NO_SKIP or self.skip_strategy == strategy,
            f"skip({strategy!r}): the pattern has {self.skip_strategy!r} already",
        )
        return replace(self, skip_strategy=strategy)

    def named(self, name: str) -> Pattern:
        """Give the pattern a name, by which its matches say whose they are."""
        return replace(self, name=name)

    def _change(self, **changes: Any) -> Pattern:
        return replace(self, stages=(*self.stages[:-1], replace(self.stages[-1], **changes)))

    def _quantify(self, **changes: Any) -> Pattern:
        last = self.stages[-1]
        try:
            quantifier = replace(last.quantifier, **changes)
        except PatternError as error:
            raise PatternError(f"{last.title()}: {error}") from None
        return self._change(quantifier=quantifier)

    # --- use --------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check what only the finished pattern can show; everything that uses a pattern calls this first.

        Raises:
            PatternError: a trailing not_followed_by without a window, a gap longer than the window, a skip strategy
                that names no top-level stage, or a condition that refers to no stage.
        """
        last = self.stages[-1]
        _require(
            last.contiguity != "not_followed_by" or self.window is not None or last.within is not None,
            f"{last.title()}: .not_followed_by() as the last stage needs a window that says how long to wait: "
            'add .within("10m") or .within(gap="10m")',
        )
        if self.window is not None:
            _check_gaps(self.stages, self.window, copies=1)
        self._check_skip()
        self._check_refs()

    def _check_skip(self) -> None:
        target = self.skip_strategy.stage
        if target is None or any(stage.name == target for stage in self.stages):
            return
        top = [stage.name for stage in self.stages if stage.name is not None and not stage.negated]
        choice = f"the stages outside of groups are {_quoted(top)}" if top else "all the stages are in groups"
        if any(stage.name == target for stage in self.all_stages()):
            raise PatternError(f'{self.skip_strategy!r}: stage "{target}" lies inside a group; {choice}')
        raise PatternError(f'{self.skip_strategy!r}: no stage "{target}"{_near(target, top)}; {choice}')

    def _check_refs(self) -> None:
        stages = {stage.name: stage for stage in self.all_stages() if stage.name is not None}
        for where, expression in self.conditions():
            for node in ex.walk(expression):
                if not isinstance(node, ex.Agg):
                    continue
                stage = stages.get(node.stage)
                if stage is None:
                    raise PatternError(
                        f'{where}: {node!r}: no stage "{node.stage}"{_near(node.stage, list(stages))}; '
                        f"the stages are {_quoted(stages)}"
                    )
                if stage.negated:
                    raise PatternError(f'{where}: {node!r}: stage "{node.stage}" is negated and never has an event')

    def all_stages(self) -> Iterator[Stage]:
        """Iterate over all stages in order, each group before the stages in it."""
        return _flat(self.stages)

    def conditions(self) -> Iterator[tuple[str, Expr]]:
        """Iterate over all conditions, each with the words that say where in the pattern it is.

        >>> list(begin("a", ex.col.x > 1).one_or_more().until(ex.col.x == 5).conditions())
        [('stage "a"', col.x > 1), ('stage "a" until', col.x == 5)]
        """
        for stage in self.all_stages():
            if stage.where is not None:
                yield stage.title(), stage.where
            if stage.until is not None:
                yield stage.title() + " until", stage.until

    # --- value ------------------------------------------------------------------------------------------------------

    def _structure(self) -> tuple[object, ...]:
        return (self.stages, self.window, self.skip_strategy, self.key, self.name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pattern):
            return NotImplemented
        # Keys of another length or kind must not be compared by ==, which builds expressions.
        keys = len(self.key) == len(other.key) and all(map(Expr.equals, self.key, other.key))
        return keys and replace(self, key=())._structure() == replace(other, key=())._structure()

    def __hash__(self) -> int:
        return hash(self._structure())

    def __repr__(self) -> str:
        calls = [call for stage in self.stages for call in _stage_chunks(stage)]
        if self.window is not None:
            calls.append(f".within({format_ns(self.window)!r})")
        if self.key:
            calls.append(f".by({', '.join(map(repr, self.key))})")
        if self.skip_strategy != NO_SKIP:
            calls.append(f".skip({self.skip_strategy!r})")
        if self.name is not None:
            calls.append(f".named({self.name!r})")
        line = "".join(calls)
        if len(line) <= 110:
            return line
        return "(" + "\n    ".join(calls) + "\n)"

    def to_json(self) -> str:
        """Write the pattern as JSON text, always the same for equal patterns.

        Raises:
            PatternError: `check()` finds it wrong.
            ExpressionError: a lambda or a local function is one of its conditions.

        >>> Pattern.from_json(begin("a").next("b").to_json())
        begin('a').next('b')
        """
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Give what `to_json` writes, as plain dicts, lists and scalars."""
        self.check()
        return {
            "fyke": "pattern",
            "version": JSON_VERSION,
            "name": self.name,
            "stages": [_stage_to_json(stage) for stage in self.stages],
            "within": self.window,
            "skip": {
                "kind": self.skip_strategy.kind,
                "stage": self.skip_strategy.stage,
                "throw": self.skip_strategy.throw,
            },
            "key": [ex.to_json(key) for key in self.key],
        }

    @staticmethod
    def from_json(text: str | bytes | Mapping[str, Any], *, callables: bool = False) -> Pattern:
        """Read a pattern that `to_json` wrote.

        Args:
            text: the JSON text, or the dict of it.
            callables: import the Python functions it names. Importing runs code: only for text that you trust.

        Raises:
            PatternError: no JSON of a pattern, of a newer version, or the pattern in it is wrong.
            ExpressionError: an expression in it is wrong, or names a Python function and `callables` is False.
        """
        try:
            node = text if isinstance(text, Mapping) else json.loads(text)
            if not isinstance(node, Mapping) or node.get("fyke") != "pattern":
                raise PatternError('not the JSON of a pattern: it must be an object with "fyke": "pattern"')
            if node["version"] != JSON_VERSION:
                given = node["version"]
                raise PatternError(f"pattern JSON of version {given!r}: this fyke reads version {JSON_VERSION}")
            strategy = node["skip"]
            pattern = Pattern(
                tuple(_stage_from_json(stage, callables) for stage in node["stages"]),
                node["within"],
                Skip(strategy["kind"], strategy["stage"], strategy["throw"]),
                tuple(ex.from_json(key, callables=callables) for key in node["key"]),
                node["name"],
            )
        except DefinitionError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise PatternError(f"not the JSON of a pattern: {type(error).__name__}: {error}") from error
        pattern.check()
        return pattern


def begin(first: str | Pattern, *conditions: Condition, skip: Skip | None = None) -> Pattern:
    """Start a pattern.

    Args:
        first: the name of the first stage, or a pattern that becomes a group.
        conditions: what an event must fulfil to be taken, all of them; none: every event is taken.
        skip: what a match does to others that overlap it; the same as `.skip(...)`.

    Raises:
        PatternError: a wrong name or condition.

    >>> begin("login", ex.col.ok == False).times(3).followed_by("in", ex.col.ok == True).within("5m").by("user")
    begin('login', col.ok == False).times(3).followed_by('in', col.ok == True).within('5m').by(col.user)
    """
    stage, window = _make_stage("begin", first, conditions)
    pattern = Pattern((stage,), window)
    return pattern if skip is None else pattern.skip(skip)


# --- building -------------------------------------------------------------------------------------------------------


def _make_stage(contiguity: str, stage: str | Pattern, conditions: tuple[Condition, ...]) -> tuple[Stage, int | None]:
    """Make a stage of a name and conditions or of a pattern, and give the window that the latter brings along."""
    if isinstance(stage, Pattern):
        names = stage.stages
        _require(not conditions, f"{_title(names)}: {_NO_CONDITION}; put where() on its stages")
        _require(not stage.key, f"{_title(names)}: a group cannot have a key; put by() on the whole pattern")
        _require(stage.name is None, f"{_title(names)}: a group has no name; put named() on the whole pattern")
        _require(
            stage.skip_strategy == NO_SKIP,
            f"{_title(names)}: a group has no skip strategy; put skip() on the whole pattern",
        )
        return Stage(None, contiguity, group=names), stage.window
    if not isinstance(stage, str):
        raise PatternError(f"{contiguity}({stage!r}): takes the name of a stage, or a pattern as a group")
    here = f'stage "{stage}"'
    return Stage(stage, contiguity, _conjunction(here, conditions) if conditions else None), None


def _conjunction(here: str, conditions: Iterable[Condition]) -> Expr:
    made = [_condition(here, condition) for condition in conditions]
    joined = made[0]
    for condition in made[1:]:
        joined = ex.Binary("and", joined, condition)
    return joined


def _condition(here: str, condition: object) -> Expr:
    if isinstance(condition, bool):
        raise PatternError(
            f"{here}: got {condition}, not an expression: was it `in` or a comparison of plain values? "
            "Write col.x.is_in([...]), and & | ~ for and, or, not"
        )
    if isinstance(condition, str):
        raise PatternError(f"{here}: got the string {condition!r}, not an expression: write for example col.amount > 0")
    if not isinstance(condition, Expr | ex.Ref) and not callable(condition):
        raise PatternError(f"{here}: {condition!r} is neither an expression nor a function")
    try:
        expression = ex.to_expr(condition)
    except ExpressionError as error:
        raise PatternError(f"{here}: {error}") from None
    _require_condition(expression, here)
    return expression


def _require_condition(expression: Expr, here: str) -> None:
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
    _require(not wrong, f"{here}: `{expression!r}` is neither true nor false: compare it with something")


def _require_key(expression: object) -> None:
    if not isinstance(expression, Expr):
        raise PatternError(f"by({expression!r}): a key is the name of a column or an expression")
    reads_event = False
    for node in ex.walk(expression):
        if isinstance(node, ex.Agg | ex.Prev) or (isinstance(node, ex.Call) and node.arity == 2):
            raise PatternError(f"by: {expression!r}: a key is made of the current event only, not of {node!r}")
        reads_event = reads_event or isinstance(node, ex.Column | ex.Call)
    _require(reads_event, f"by: {expression!r} is the same for all events: leave by() out to match them all together")


def _window_ns(value: DurationLike, what: str) -> int:
    try:
        ns = to_ns(value)
    except DefinitionError as error:
        raise PatternError(f"{what}: {error}") from None
    _require(ns > 0, f"{what}: the window must be longer than 0")
    return ns


def _shorter(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)


# --- rules ----------------------------------------------------------------------------------------------------------


def _flat(stages: Iterable[Stage]) -> Iterator[Stage]:
    for stage in stages:
        yield stage
        if stage.group is not None:
            yield from _flat(stage.group)


def _title(stages: tuple[Stage, ...]) -> str:
    return "group (" + ", ".join(f'"{stage.name}"' for stage in _flat(stages) if stage.group is None) + ")"


def _may_be_empty(stages: tuple[Stage, ...]) -> bool:
    """Tell whether the stages can be passed without taking an event."""
    return all(
        stage.negated or stage.quantifier.optional or (stage.group is not None and _may_be_empty(stage.group))
        for stage in stages
    )


def _check_neighbours(stages: tuple[Stage, ...]) -> None:
    """Check that begin stands first and only there, and which stages may stand side by side; in groups too."""
    for position, stage in enumerate(stages):
        first = position == 0
        _require(
            first == (stage.contiguity == "begin"),
            f"{stage.title()}: the first stage of a pattern or group has contiguity begin, and only that one",
        )
        if stage.group is not None:
            _check_neighbours(stage.group)
        if first:
            continue
        before = stages[position - 1]
        if before.quantifier.optional and stage.negated:
            raise PatternError(_not_after_optional(before, stage.name))
        # times(0, m) makes a stage optional too, and that Flink lets through; here it cannot be told from optional().
        from_zero = stage.quantifier.kind == "times" and stage.quantifier.min == 1
        if stage.quantifier.optional and not from_zero:
            _require_not_greedy(before, stage)


def _require_not_greedy(before: Stage, stage: Stage) -> None:
    _require(
        not before.quantifier.greedy,
        f"{stage.title()}: an optional stage cannot come right after the greedy {before.title()}: "
        "leave out .greedy(), or use two patterns, one with and one without this stage",
    )


def _not_after_optional(before: Stage, name: str | None) -> str:
    return (
        f'stage "{name}": a negated stage cannot come right after the optional {before.title()}: '
        f"use two patterns, one with and one without {before.title()}"
    )


def _check_gaps(stages: tuple[Stage, ...], window: int, copies: int) -> None:
    """Check that no gap is longer than the window, by Flink's rule: a gap that bounds no wait there is let through.

    Args:
        copies: how often the groups around these stages are laid out one after the other.
    """
    for stage in stages:
        quantifier = stage.quantifier
        laid_out = quantifier.min + 1 if quantifier.max is None else quantifier.max
        if stage.group is not None:
            _check_gaps(stage.group, window, copies * laid_out)
        elif quantifier.kind == "one":
            _require_gap(stage, stage.within, window, ".within(gap=...)")
        elif copies * laid_out > 1:
            _require_gap(stage, quantifier.within, window, f".{quantifier.kind}(within=...)")


def _require_gap(stage: Stage, gap: int | None, window: int, what: str) -> None:
    _require(
        gap is None or gap <= window,
        f"{stage.title()}: {what} of {format_ns(gap or 0)} is longer than the whole pattern's window "
        f"of {format_ns(window)}: shorten it, or leave it out",
    )


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


# --- written as code and as JSON ------------------------------------------------------------------------------------


def _stage_calls(stage: Stage) -> list[str]:
    return list(_stage_chunks(stage))


def _stage_chunks(stage: Stage) -> Iterator[str]:
    """Give the builder calls that make the stage, one string for the stage and its quantifier."""
    dot = "" if stage.contiguity == "begin" else "."
    if stage.group is not None:
        arguments = "".join(call for inner in stage.group for call in _stage_chunks(inner))
    else:
        conditions = () if stage.where is None else ex.split_and(stage.where)
        arguments = ", ".join([repr(stage.name), *map(repr, conditions)])
    calls = [f"{dot}{stage.contiguity}({arguments})", *_quantifier_calls(stage)]
    if stage.until is not None:
        calls.append(f".until({stage.until!r})")
    if stage.within is not None:
        calls.append(f".within(gap={format_ns(stage.within)!r})")
    yield "".join(calls)


def _quantifier_calls(stage: Stage) -> list[str]:
    quantifier = stage.quantifier
    least, most, optional = quantifier.min, quantifier.max, quantifier.optional
    numbers: list[int | None] = []
    if quantifier.kind == "times_or_more":
        numbers = [least]
    elif quantifier.kind == "times" and optional and least == 1:
        # Right after a greedy stage this is the only spelling, see _check_neighbours.
        numbers, optional = [0, most], False
    elif quantifier.kind == "times":
        numbers = [least] if least == most else [least, most]
    arguments = [str(number) for number in numbers]
    if quantifier.within is not None:
        arguments.append(f"within={format_ns(quantifier.within)!r}")
    calls = [] if quantifier.kind == "one" else [f".{quantifier.kind}({', '.join(arguments)})"]
    if quantifier.inner != "relaxed":
        calls.append(_INNER_CALL[quantifier.inner])
    if optional:
        calls.append(".optional()")
    if quantifier.greedy:
        calls.append(".greedy()")
    return calls


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    quantifier = stage.quantifier
    return {
        "name": stage.name,
        "contiguity": stage.contiguity,
        "where": None if stage.where is None else ex.to_json(stage.where),
        "quantifier": {
            "kind": quantifier.kind,
            "min": quantifier.min,
            "max": quantifier.max,
            "optional": quantifier.optional,
            "greedy": quantifier.greedy,
            "inner": quantifier.inner,
            "within": quantifier.within,
        },
        "until": None if stage.until is None else ex.to_json(stage.until),
        "within": stage.within,
        "group": None if stage.group is None else [_stage_to_json(inner) for inner in stage.group],
    }


def _stage_from_json(node: Mapping[str, Any], callables: bool) -> Stage:
    where, until, group = node["where"], node["until"], node["group"]
    return Stage(
        node["name"],
        node["contiguity"],
        None if where is None else ex.from_json(where, callables=callables),
        Quantifier(**node["quantifier"]),
        None if until is None else ex.from_json(until, callables=callables),
        node["within"],
        None if group is None else tuple(_stage_from_json(inner, callables) for inner in group),
    )
