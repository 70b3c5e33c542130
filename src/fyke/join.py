"""Joins as values: which rows of two streams belong together. Frozen, hashable, checked when they are written.

Rows join only within one key. An interval says how far apart in time the two may be, as-of takes the latest row of the
right side, and a window (window.py) joins all rows of both sides that lie in it. Which rows come without a partner is
the affair of `how`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fyke.duration import DurationLike, format_ns, to_ns
from fyke.errors import DefinitionError

__all__ = ["HOWS", "AsOf", "Interval", "Join", "asof", "check_how", "from_json", "interval", "to_json"]

HOWS: Final = ("inner", "left", "right", "outer")
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, repr=False)
class Interval:
    """Rows whose times are so far apart: lower <= right time - left time <= upper.

    Attributes:
        lower, upper: ns, either may be negative.
        lower_inclusive, upper_inclusive: whether a row exactly so far away joins.
    """

    lower: int
    upper: int
    lower_inclusive: bool = True
    upper_inclusive: bool = True

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _INT64_MAX:
                raise DefinitionError(f"interval: {name} is a length of time in ns, not {value!r}")
        for name in ("lower_inclusive", "upper_inclusive"):
            if not isinstance(getattr(self, name), bool):
                raise DefinitionError(f"interval: {name} is True or False, not {getattr(self, name)!r}")
        if self.lower > self.upper:
            raise DefinitionError(
                f"interval: lower={format_ns(self.lower)} is above upper={format_ns(self.upper)}: "
                "no row is ever so far away; give the smaller one first"
            )

    @property
    def bounds(self) -> tuple[int, int]:
        """The bounds as inclusive ones, ns; the lower one is above the upper one if nothing joins.

        >>> Interval(0, 10, upper_inclusive=False).bounds
        (0, 9)
        """
        return (
            min(self.lower + (not self.lower_inclusive), _INT64_MAX),
            max(self.upper - (not self.upper_inclusive), -_INT64_MAX),
        )

    def __repr__(self) -> str:
        options = "".join(
            f", {name}=False" for name in ("lower_inclusive", "upper_inclusive") if not getattr(self, name)
        )
        return f"join.interval({format_ns(self.lower)!r}, {format_ns(self.upper)!r}{options})"


@dataclass(frozen=True, slots=True, repr=False)
class AsOf:
    """The latest row of the right side that is not after the left row.

    Attributes:
        tolerance: how far back at most, inclusive, in ns; None: any time.
    """

    tolerance: int | None = None

    def __post_init__(self) -> None:
        value = self.tolerance
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _INT64_MAX
        ):
            raise DefinitionError(f"asof: tolerance is a length of time in ns (0 to 2^63 - 1) or None, not {value!r}")

    def __repr__(self) -> str:
        return f"join.asof({'' if self.tolerance is None else repr(format_ns(self.tolerance))})"


Join: TypeAlias = Interval | AsOf


def interval(
    lower: DurationLike, upper: DurationLike, lower_inclusive: bool = True, upper_inclusive: bool = True
) -> Interval:
    """Join rows whose times are so far apart: lower <= right time - left time <= upper.

    Args:
        lower: "-5m": from five minutes before the left row; 0: from its own time.
        upper: "5m": to five minutes after it.
        lower_inclusive, upper_inclusive: whether a row exactly so far away joins. With both False and equal bounds
            nothing joins.

    Raises:
        DefinitionError: lower is above upper, or not a length of time.

    >>> interval("-5m", "1h30m")
    join.interval('-5m', '1h30m')
    >>> interval("1h", 0)
    Traceback (most recent call last):
    fyke.errors.DefinitionError: interval: lower=1h is above upper=0s: no row is ever so far away; give the smaller ...
    """
    return Interval(_signed(lower), _signed(upper), lower_inclusive, upper_inclusive)


def asof(tolerance: DurationLike | None = None) -> AsOf:
    """Join each left row with the latest right row of its key that is not after it.

    Args:
        tolerance: how far back at most, inclusive; None: any time, then the last row of every key is kept for ever.

    Raises:
        DefinitionError: negative, or not a length of time.

    >>> asof("10s"), asof()
    (join.asof('10s'), join.asof())
    """
    if tolerance is None:
        return AsOf()
    return AsOf(0 if type(tolerance) is int and tolerance == 0 else to_ns(tolerance))


def check_how(how: object, allowed: tuple[str, ...] = HOWS) -> str:
    """Give `how` back; raises DefinitionError if it is not one of those allowed."""
    if not isinstance(how, str) or how not in allowed:
        raise DefinitionError(f"how={how!r}: it is one of {', '.join(allowed)}")
    return how


_KINDS: Final[dict[str, type[Any]]] = {"interval": Interval, "asof": AsOf}


def to_json(join: Join) -> dict[str, Any]:
    """Give a join as plain dicts and scalars, lengths of time in ns.

    >>> to_json(asof("1us"))
    {'kind': 'asof', 'tolerance': 1000}
    """
    kind = next(name for name, cls in _KINDS.items() if isinstance(join, cls))
    return {"kind": kind} | {name: getattr(join, name) for name in type(join).__dataclass_fields__}


def from_json(node: Mapping[str, Any]) -> Join:
    """Read a join that `to_json` wrote; everything is checked as if it had been written by hand.

    Raises:
        DefinitionError: not such a dict.

    >>> from_json({"kind": "asof", "tolerance": 1000})
    join.asof('1us')
    """
    try:
        made: Join = _KINDS[node["kind"]](**{name: value for name, value in node.items() if name != "kind"})
    except DefinitionError:
        raise
    except (KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(f"not the JSON of a join: {node!r} ({error})") from error
    return made


def _signed(length: DurationLike) -> int:
    return 0 if type(length) is int and length == 0 else to_ns(length, signed=True)
