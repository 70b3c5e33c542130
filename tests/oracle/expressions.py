"""Conditions: JSON expressions of the corpora as Python functions.

A condition sees the current event and what the partial match took before it. An aggregate over a stage that
holds no event is undefined unless it says what to give when empty; a comparison with undefined is false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from .events import Event, Path

Condition = Callable[[Event, Path], bool]
Number = Callable[[Event, Path], "float | None"]

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


def always(event: Event, path: Path) -> bool:
    """Hold for every event."""
    return True


def both(left: Condition, right: Condition) -> Condition:
    """Hold where both conditions hold."""
    return lambda event, path: left(event, path) and right(event, path)


def negation(condition: Condition) -> Condition:
    """Hold where the condition does not."""
    return lambda event, path: not condition(event, path)


def condition(spec: dict[str, Any] | None) -> Condition:
    """Build a condition; no expression at all holds always."""
    if spec is None:
        return always
    op = spec["op"]
    if op == "true":
        return always
    if op == "false":
        return lambda event, path: False
    if op == "not":
        return negation(condition(spec["arg"]))
    if op in ("and", "or"):
        parts = [condition(part) for part in spec["args"]]
        join = all if op == "and" else any
        return lambda event, path: join(part(event, path) for part in parts)
    if op == "in":
        values = frozenset(spec["values"])
        return lambda event, path: event.type in values
    compare = COMPARE[op]
    if spec.get("field") == "type":
        wanted = spec["value"]
        return lambda event, path: compare(event.type, wanted)
    left = number(spec["left"] if "left" in spec else {"field": spec["field"]})
    right = number(next(spec[key] for key in ("right", "ref", "value") if key in spec))

    def holds(event: Event, path: Path) -> bool:
        a, b = left(event, path), right(event, path)
        return a is not None and b is not None and compare(a, b)

    return holds


def number(spec: Any) -> Number:
    """Build a numeric expression; its value is None where it is undefined."""
    if isinstance(spec, (int, float)):
        constant = float(spec)
        return lambda event, path: constant
    if "const" in spec:
        return number(spec["const"])
    if "add" in spec or "mul" in spec:
        adding = "add" in spec
        parts = [number(part) for part in spec["add" if adding else "mul"]]

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
