"""Conditions: JSON expressions of the corpora as Python functions.

A condition sees the current event and what the partial match took before it. An aggregate over a stage that
holds no event is undefined unless it says what to give when empty; a comparison with undefined is false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .events import Event, Path

Test = Callable[[Event, Path], bool]
Number = Callable[[Event, Path], "float | None"]


@dataclass(frozen=True)
class Condition:
    """A test of an event, and what it would say of an event that meets no condition written in the pattern (N)."""

    test: Test
    idle: bool

    def __call__(self, event: Event, path: Path) -> bool:
        return self.test(event, path)


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}

AGGREGATE: dict[str, Callable[[list[float]], float]] = {
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "sum": lambda values: float(sum(values)),
    "avg": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
}


ALWAYS = Condition(lambda event, path: True, True)


def both(left: Condition, right: Condition) -> Condition:
    """Hold where both conditions hold."""
    return Condition(lambda event, path: left(event, path) and right(event, path), left.idle and right.idle)


def negation(condition: Condition) -> Condition:
    """Hold where the condition does not."""
    return Condition(lambda event, path: not condition(event, path), not condition.idle)


def condition(spec: dict[str, Any] | None) -> Condition:
    """Build a condition of a stage; where none is written every event meets it."""
    return ALWAYS if spec is None else Condition(_test(spec), False)


def _test(spec: dict[str, Any]) -> Test:
    op = spec["op"]
    if op in ("true", "false"):
        return lambda event, path: op == "true"
    if op == "not":
        negated = _test(spec["arg"])
        return lambda event, path: not negated(event, path)
    if op in ("and", "or"):
        parts = [_test(part) for part in spec["args"]]
        join = all if op == "and" else any
        return lambda event, path: join(part(event, path) for part in parts)
    if op == "in":
        values = frozenset(spec["values"])
        return lambda event, path: event.type in values
    compare = COMPARE[op]
    if spec.get("field") == "type":
        wanted = spec["value"]
        return lambda event, path: compare(event.type, wanted)
    left = _number(spec["left"] if "left" in spec else {"field": spec["field"]})
    right = _number(next(spec[key] for key in ("right", "ref", "value") if key in spec))

    def holds(event: Event, path: Path) -> bool:
        a, b = left(event, path), right(event, path)
        return a is not None and b is not None and compare(a, b)

    return holds


def _number(spec: Any) -> Number:
    """Build a numeric expression; its value is None where it is undefined."""
    if isinstance(spec, (int, float)):
        constant = float(spec)
        return lambda event, path: constant
    if "const" in spec:
        return _number(spec["const"])
    if "add" in spec or "mul" in spec:
        adding = "add" in spec
        parts = [_number(part) for part in spec["add" if adding else "mul"]]

        def fold(event: Event, path: Path) -> float | None:
            result = 0.0 if adding else 1.0
            for part in parts:
                value = part(event, path)
                if value is None:
                    return None
                result = result + value if adding else result * value
            return result

        return fold
    if "agg" in spec:
        stage, field, aggregate = spec["stage"], spec.get("field", "v"), AGGREGATE[spec["agg"]]
        empty = None if spec.get("empty") is None else float(spec["empty"])

        def over_stage(event: Event, path: Path) -> float | None:
            values = [float(getattr(taken.event, field)) for taken in path if taken.stage == stage]
            return aggregate(values) if values else empty

        return over_stage
    field = spec["field"]
    return lambda event, path: float(getattr(event, field))
