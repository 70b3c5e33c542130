"""Patterns as values, and the builder that makes them.

Every builder method gives a new Pattern; the words are those of Flink CEP in snake_case. Rules are checked as early as
they can be known: within a stage when it is made (stage.py), between neighbours at the builder call, what needs the
finished pattern in `Pattern.check()`, which everything that uses a pattern calls first (both rules.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

from fyke import expr as ex
from fyke.duration import DurationLike, format_ns, to_ns
from fyke.errors import DefinitionError, ExpressionError, PatternError
from fyke.expr import Expr
from fyke.rules import (
    check_gaps,
    check_key,
    check_names,
    check_neighbours,
    check_refs,
    check_skip,
    check_trailing_absence,
    not_after_optional,
    require_not_greedy,
)
from fyke.stage import (
    INNER_CALLS,
    NO_CONDITION,
    NO_SKIP,
    NOT_CONTIGUITIES,
    Quantifier,
    Skip,
    Stage,
    flat,
    group_title,
    quantifier_calls,
    require,
    require_condition,
    skip,
    stage_call,
)
from fyke.stored import JSON_VERSION, skip_from_json, skip_to_json, stage_from_json, stage_to_json

__all__ = ["JSON_VERSION", "NOT_CONTIGUITIES", "NO_SKIP", "Pattern", "Quantifier", "Skip", "Stage", "begin", "skip"]

Condition: TypeAlias = Expr | Callable[..., object]


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
        require(len(self.stages) > 0, "a pattern needs at least one stage")
        check_neighbours(self.stages)
        check_names(self.stages)
        require(self.window is None or self.window > 0, "within: the window must be longer than 0")
        for expression in self.key:
            check_key(expression)
        require(
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
                raise PatternError(not_after_optional(last, stage))
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
        require(last.group is None, f"{last.title()}: {NO_CONDITION}; put where() on the stages in it")
        given = () if last.where is None else (last.where,)
        return self._change(where=_conjunction(last.title() + ": where", (*given, *conditions)))

    def or_(self, condition: Condition) -> Pattern:
        """Let the last stage also take events for which this holds.

        >>> begin("a", ex.col.x > 1).or_(ex.col.y > 2)
        begin('a', (col.x > 1) | (col.y > 2))
        """
        last = self.stages[-1]
        require(last.group is None, f"{last.title()}: {NO_CONDITION}; put or_() on the stages in it")
        added = _condition(last.title() + ": or_", condition)
        return self._change(where=added if last.where is None else ex.Binary("or", last.where, added))

    def until(self, condition: Condition) -> Pattern:
        """End the loop of the last stage at an event for which this holds; the loop does not take that event.

        >>> begin("a").one_or_more().until(ex.col.x == 0)
        begin('a').one_or_more().until(col.x == 0)
        """
        last = self.stages[-1]
        require(last.until is None, f"{last.title()}: until() is given twice; join the conditions with |")
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
            require(n >= 1, f"{here}: times({n}): the least is 1; leave the stage out, or write .optional()")
            return self._loop("times", n, n, within)
        require(n >= 0, f"{here}: times({n}, {m}): the minimum is negative")
        require(m >= 1, f"{here}: times({n}, {m}): the maximum is at least 1")
        return self._loop("times", max(n, 1), m, within, optional=n == 0)

    def times_or_more(self, n: int, within: DurationLike | None = None) -> Pattern:
        """Let the last stage occur n times or more.

        >>> begin("a").times_or_more(3)
        begin('a').times_or_more(3)
        """
        here = self.stages[-1].title()
        if isinstance(n, bool) or not isinstance(n, int):
            raise PatternError(f"{here}: times_or_more takes a whole number, not {n!r}")
        require(n >= 1, f"{here}: times_or_more({n}): the least is 1; for none or more: .one_or_more().optional()")
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
                f"{last.title()}: has the quantifier {''.join(quantifier_calls(last))} already; "
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
        require(not last.quantifier.optional, f"{last.title()}: is optional already")
        if len(self.stages) > 1:
            require_not_greedy(self.stages[-2], last)
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
        require(given != inner, f"{last.title()}: {INNER_CALLS[inner]} is given twice")
        require(
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
        require(not self.key, "by() is given twice: name all the keys in one by(...)")
        require(len(keys) > 0, "by() needs a column or an expression")
        for key in keys:
            if not isinstance(key, str | Expr) or (isinstance(key, str) and not key):
                raise PatternError(f"by({key!r}): a key is the name of a column or an expression")
        return replace(self, key=tuple(ex.Column(key) if isinstance(key, str) else key for key in keys))

    def skip(self, strategy: Skip) -> Pattern:
        """Say what a match does to others that overlap it: `fyke.skip.to_next()` and so on."""
        if not isinstance(strategy, Skip):
            raise PatternError(f"skip({strategy!r}): write for example .skip(fyke.skip.past_last_event())")
        require(
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
        check_trailing_absence(self.stages, self.window)
        if self.window is not None:
            check_gaps(self.stages, self.window)
        check_skip(self.stages, self.skip_strategy)
        check_refs(self.stages, self.conditions())

    def all_stages(self) -> Iterator[Stage]:
        """Iterate over all stages in order, each group before the stages in it."""
        return flat(self.stages)

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
        calls = [stage_call(stage) for stage in self.stages]
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
            "stages": [stage_to_json(stage) for stage in self.stages],
            "within": self.window,
            "skip": skip_to_json(self.skip_strategy),
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
            pattern = Pattern(
                tuple(stage_from_json(stage, callables) for stage in node["stages"]),
                node["within"],
                skip_from_json(node["skip"]),
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
        require(not conditions, f"{group_title(names)}: {NO_CONDITION}; put where() on its stages")
        require(not stage.key, f"{group_title(names)}: a group cannot have a key; put by() on the whole pattern")
        require(stage.name is None, f"{group_title(names)}: a group has no name; put named() on the whole pattern")
        require(
            stage.skip_strategy == NO_SKIP,
            f"{group_title(names)}: a group has no skip strategy; put skip() on the whole pattern",
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
    require_condition(expression, here)
    return expression


def _window_ns(value: DurationLike, what: str) -> int:
    try:
        ns = to_ns(value)
    except DefinitionError as error:
        raise PatternError(f"{what}: {error}") from None
    require(ns > 0, f"{what}: the window must be longer than 0")
    return ns


def _shorter(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)
