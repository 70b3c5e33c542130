"""What the aggregates mean, over a list of elements: exact numbers, rounded once at the end.

A null is no value: every aggregate passes over elements whose value is null; over no values at all the result is null,
but of counts 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from .window_definition import Element

Values = list[Any]

LEAST_INT, MOST_INT = -(1 << 63), (1 << 63) - 1


def aggregate(kind: str, columns: Sequence[str], parameter: Any, elements: Sequence[Element]) -> Any:
    """Give one aggregate's result over elements in order of arrival; `columns` are the names of its arguments."""
    if kind == "count" and not columns:
        return len(elements)
    rows = [element for element in elements if all(element.row[name] is not None for name in columns)]
    if kind in BY_ELEMENT:
        return BY_ELEMENT[kind](rows, *columns) if rows else None
    values = [element.row[columns[0]] for element in rows]
    if kind in COUNTS:
        return COUNTS[kind](values)
    if not values:
        return None
    if kind in WITH_PARAMETER:
        return WITH_PARAMETER[kind](values, parameter)
    return PLAIN[kind](values)


def arrival_in_time(element: Element) -> tuple[int, int]:
    """The order of elements by event time, ties by arrival."""
    return (element.t, element.id)


def rank(value: Any) -> Any:
    """What the order of values goes by: text by its bytes, NaN after all numbers."""
    if isinstance(value, str):
        return value.encode()
    return (math.isnan(value), value if not math.isnan(value) else 0.0) if isinstance(value, float) else value


def rounded(number: Fraction) -> float:
    """The nearest double; infinite beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def not_finite(values: Values) -> float | None:
    """The sum by IEEE 754 if some value is infinite or NaN; else None."""
    special = [value for value in values if isinstance(value, float) and not math.isfinite(value)]
    if not special:
        return None
    return special[0] if len(set(special)) == 1 else math.nan


def total(values: Values) -> Any:
    """The exact sum; beyond int64 null."""
    if all(isinstance(value, int) for value in values):
        exact = sum(values)
        return exact if LEAST_INT <= exact <= MOST_INT else None
    special = not_finite(values)
    return rounded(sum(map(Fraction, values), Fraction())) if special is None else special


def mean(values: Values) -> float:
    """The exact sum over the count."""
    special = not_finite(values)
    return rounded(sum(map(Fraction, values), Fraction()) / len(values)) if special is None else special


def variance(values: Values, ddof: int) -> float | None:
    """The sum of squared deviations over count - ddof."""
    if len(values) <= ddof:
        return None
    if not_finite(values) is not None:
        return math.nan
    exact = list(map(Fraction, values))
    centre = sum(exact, Fraction()) / len(exact)
    return rounded(sum(((x - centre) ** 2 for x in exact), Fraction()) / (len(exact) - ddof))


def deviation(values: Values, ddof: int) -> float | None:
    """The square root of the variance."""
    found = variance(values, ddof)
    return None if found is None else math.sqrt(found)


def quantile(values: Values, q: float) -> float:
    """The value at q between the least and the greatest, interpolated between its two neighbours."""
    ordered = sorted(values, key=rank)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def top(values: Values, k: int) -> list[dict[str, Any]]:
    """The most frequent values, equally frequent ones by value."""
    counted = sorted(Counter(values).items(), key=lambda item: (-item[1], rank(item[0])))
    return [{"value": value, "count": count} for value, count in counted[:k]]


def at_least(rows: list[Element], x: str, by: str) -> Any:
    """x where `by` is least, of several the earliest."""
    return min(rows, key=lambda e: (rank(e.row[by]), arrival_in_time(e))).row[x]


def at_most(rows: list[Element], x: str, by: str) -> Any:
    """x where `by` is greatest, of several the earliest."""
    greatest = max(rank(e.row[by]) for e in rows)
    return min((e for e in rows if rank(e.row[by]) == greatest), key=arrival_in_time).row[x]


COUNTS: dict[str, Callable[[Values], int]] = {"count": len, "distinct": lambda values: len(set(values))}
PLAIN: dict[str, Callable[[Values], Any]] = {
    "sum": total,
    "min": lambda values: min(values, key=rank),
    "max": lambda values: max(values, key=rank),
    "mean": mean,
    "median": lambda values: quantile(values, 0.5),
    "collect": list,
}
WITH_PARAMETER: dict[str, Callable[[Values, Any], Any]] = {
    "var": variance,
    "std": deviation,
    "quantile": quantile,
    "top_k": top,
}
BY_ELEMENT: dict[str, Callable[..., Any]] = {
    "first": lambda rows, x: min(rows, key=arrival_in_time).row[x],
    "last": lambda rows, x: max(rows, key=arrival_in_time).row[x],
    "arg_min": at_least,
    "arg_max": at_most,
}
