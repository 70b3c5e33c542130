"""What a matcher is told beside the data: patterns and their bounds, checked; and the columns that its matches have.

Used by an engine of patterns and by the definition of a stream's matches, so that both accept the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import pyarrow as pa

from fyke import expr as ex
from fyke.compiler import compile_plan, outline
from fyke.duration import DurationLike, to_ns
from fyke.errors import DefinitionError, PatternError, SchemaError
from fyke.pattern import Pattern
from fyke.schema import Schema, arrow_type

__all__ = ["Limits", "MatchColumns", "Patterns", "can_wait", "checked_keep", "match_columns", "normalise"]

Patterns: TypeAlias = Pattern | Sequence[Pattern] | Mapping[str, Pattern]
POLICIES: Final = {"error": 0, "drop_oldest": 1, "drop_newest": 2}
TIME: Final = pa.timestamp("ns", "UTC")


def normalise(patterns: Patterns) -> tuple[Pattern, ...]:
    """Give one pattern, several, or several by name as a checked tuple."""
    given: object = patterns  # which callers without a type checker may get wrong
    if isinstance(given, Pattern):
        found: tuple[Pattern, ...] = (given,)
    elif isinstance(given, Mapping):
        found = tuple(p.named(name) for name, p in given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = tuple(given)
    else:
        raise DefinitionError(f"patterns: expected a Pattern, several, or names mapped to them, got {given!r:.80}")
    for p in found:
        if not isinstance(p, Pattern):
            raise DefinitionError(f"patterns: expected a Pattern, got {p!r:.80}")
        p.check()
    names = [p.name for p in found if p.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise PatternError(f'two patterns are named "{name}": give each a name of its own')
    if not found:
        raise DefinitionError("patterns: none given")
    return found


def can_wait(pattern: Pattern) -> bool:
    """Tell whether a partial match can stay open on a quiet or unlucky key: not if every stage is strict."""
    return any(
        s.contiguity in ("followed_by", "followed_by_any", "not_followed_by")
        or (s.quantifier.kind != "one" and s.quantifier.inner != "strict")
        for s in pattern.all_stages()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Whether time-outs are reported, and bounds with what is done where one is met; see Engine.

    Raises:
        DefinitionError: an option is wrong.
    """

    timeouts: bool = False
    max_partials: int | None = None
    on_max_partials: str = "error"
    max_memory: int | None = None
    on_max_memory: str = "error"
    key_ttl: DurationLike | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("on_max_partials", "on_max_memory"):
            policy: object = getattr(self, name)
            if not isinstance(policy, str) or policy not in POLICIES:
                raise DefinitionError(f"{name}={policy!r}: expected {', '.join(POLICIES)}")
        for name in ("max_partials", "max_memory"):
            bound = getattr(self, name)
            if bound is not None and (type(bound) is not int or not 0 < bound < 2**63):
                raise DefinitionError(f"{name}={bound!r}: expected a positive number")
        if self.limit is not None and (type(self.limit) is not int or not 0 <= self.limit < 2**63):
            raise DefinitionError(f"limit={self.limit!r}: expected a number of matches, 0 or more")
        if not isinstance(self.timeouts, bool):
            raise DefinitionError(f"timeouts={self.timeouts!r}: expected True or False")
        if self.key_ttl is not None and to_ns(self.key_ttl) == 0:
            raise DefinitionError(f"key_ttl={self.key_ttl!r}: expected a duration that is not zero")

    @classmethod
    def of(cls, given: Mapping[str, Any], where: str) -> Limits:
        """Take keyword arguments; raises DefinitionError for one that is no limit."""
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise DefinitionError(f"{where}: {name}= is not one of {', '.join(known)}")
        return cls(**given)

    def core(self) -> dict[str, Any]:
        """Give them as the compiled core takes them."""
        return {
            "timeouts": self.timeouts, "max_partials": self.max_partials,
            "max_partials_policy": POLICIES[self.on_max_partials], "max_memory": self.max_memory,
            "max_memory_policy": POLICIES[self.on_max_memory],
            "key_ttl": None if self.key_ttl is None else to_ns(self.key_ttl), "limit": self.limit,
        }  # fmt: skip

    @property
    def one_by_one(self) -> str | None:
        """The option by which partial matches have to be told apart; None: there is none."""
        names = ("timeouts", "max_partials", "max_memory", "key_ttl")
        return next((f"{name}=" for name in names if getattr(self, name)), None)


def checked_keep(keep: Any, patterns: Sequence[Pattern]) -> tuple[str, ...] | None:
    """Give the names of the columns that matches shall hold; None: all.

    Raises:
        DefinitionError: they are no names, or a Python condition reads the match, which needs all columns.
    """
    if keep is None:
        return None
    if isinstance(keep, str) or not isinstance(keep, Iterable):
        raise DefinitionError(f'keep={keep!r:.80}: expected names of columns, as in keep=["amount"]')
    names = tuple(keep)
    for name in names:
        if not isinstance(name, str):
            raise DefinitionError(f"keep: {name!r:.80} is no name of a column")
    for p in patterns:
        for where, condition in p.conditions():
            for node in ex.walk(condition):
                if isinstance(node, ex.Call) and node.arity == 2:
                    raise DefinitionError(
                        f"{where}: {node!r}: a Python condition that reads the match needs all columns of its events: "
                        "leave keep= out"
                    )
    return names


@dataclass(frozen=True, slots=True)
class MatchColumns:
    """The columns of matches as rows of a stream.

    Attributes:
        schema: all of them: the keys, pattern, start, time, released, id, and one for each stage.
        keys: per key column, its place in the key of each pattern (None: it has none such).
        stages: the name of each stage and whether it holds several events, in the order of the columns.
    """

    schema: pa.Schema
    keys: tuple[tuple[int | None, ...], ...]
    stages: tuple[tuple[str, bool], ...]


def match_columns(patterns: Sequence[Pattern], schema: pa.Schema, keep: Sequence[str] | None) -> MatchColumns:
    """Say which columns the matches of patterns over a stream have.

    A key is named by its column, a computed one key_1, key_2, ... by its place. A stage is a struct with the columns
    of its event, or a list of them. A name that is taken already gets a _ behind it.

    Raises:
        SchemaError: patterns and schema do not meet.
    """
    plan = compile_plan(patterns, Schema.from_arrow(schema))
    read = [c.name for c in plan.columns if c.kind == "input"]
    kept = [f for f in schema if keep is None or f.name in read or f.name in keep]
    names: dict[str, list[int | None]] = {}
    types: dict[str, pa.DataType] = {}
    for i, p in enumerate(plan.patterns):
        for place, (key, kind) in enumerate(zip(p.key, p.key_types, strict=True)):
            name = key.name if isinstance(key, ex.Column) else f"key_{place + 1}"
            type_ = schema.field(name).type if isinstance(key, ex.Column) else arrow_type(kind)
            if types.setdefault(name, type_) != type_:
                raise SchemaError(f'key "{name}": {types[name]} of one pattern, {type_} of another')
            names.setdefault(name, [None] * len(patterns))[i] = place
    columns = dict(types)
    for name in ("pattern", "start", "time", "released", "id"):
        columns[_free(name, columns)] = pa.string() if name in ("pattern", "id") else TIME
    stages: dict[str, bool] = {}
    for p in map(outline, patterns):
        for stage in (s for s in p.stages if not s.negated):
            stages[stage.name] = stages.get(stage.name, False) or stage.repeats
    for name, repeats in stages.items():
        event = pa.struct(kept)
        columns[_free(name, columns)] = pa.list_(event) if repeats else event
    return MatchColumns(pa.schema(list(columns.items())), tuple(map(tuple, names.values())), tuple(stages.items()))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name
