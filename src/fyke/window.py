"""Windows as values: which rows are summed up together. Frozen, hashable, checked when they are written.

A window takes the rows of one key (or all rows, without a key) whose event times lie in [start, end). When its result
comes out is a trigger's affair (trigger.py), what the result holds that of aggregates (agg.py).
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fyke import expr as ex
from fyke.duration import DurationLike, format_ns, to_ns
from fyke.errors import DefinitionError
from fyke.expr import Expr

__all__ = [
    "CountWindow",
    "GlobalWindow",
    "Hopping",
    "Session",
    "Sliding",
    "Tumbling",
    "Window",
    "count_window",
    "from_json",
    "global_window",
    "hopping",
    "session",
    "sliding",
    "to_json",
    "tumbling",
]

DAY: Final = 86_400_000_000_000
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, repr=False)
class Tumbling:
    """Windows of one size, side by side: [offset + i * size, offset + (i + 1) * size).

    Attributes:
        size, offset: ns. The windows are counted from 1970-01-01T00:00:00 UTC, or from that midnight in `tz`.
        tz: IANA name of a time zone; the windows then begin at local midnight (plus offset), and a day with a change
            of the clock is shorter or longer.
    """

    size: int
    offset: int = 0
    tz: str | None = None

    def __post_init__(self) -> None:
        _check_length(self, "size", self.size)
        _check_grid(self, self.size, self.offset, self.tz, "size")

    def __repr__(self) -> str:
        return _write("tumbling", format_ns(self.size), **_grid_options(self.offset, self.tz))


@dataclass(frozen=True, slots=True, repr=False)
class Hopping:
    """Windows of one size that begin every so often: [offset + i * every, offset + i * every + size).

    They overlap if `every` is less than the size, and leave gaps if it is more; a row in a gap is in no window.

    Attributes:
        size, every, offset, tz: as of Tumbling; `every` is the time between two beginnings, in ns.
    """

    size: int
    every: int
    offset: int = 0
    tz: str | None = None

    def __post_init__(self) -> None:
        _check_length(self, "size", self.size)
        _check_length(self, "every", self.every)
        _check_grid(self, self.every, self.offset, self.tz, "every")
        if self.tz is not None and self.size % DAY:
            raise DefinitionError(
                f"{self!r}: with a time zone the size is a number of whole days, not {format_ns(self.size)}"
            )

    def __repr__(self) -> str:
        sizes = f"{format_ns(self.size)}", f"{format_ns(self.every)}"
        return _write("hopping", *sizes, **_grid_options(self.offset, self.tz))


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """Rows of a key that come close after each other: a session ends when there is nothing for a gap.

    A row alone makes the window [t, t + gap); windows that overlap or touch become one.

    Attributes:
        gap: ns, or an expression over the row (a duration, or an integer of ns): each row its own.
    """

    gap: int | Expr

    def __post_init__(self) -> None:
        if isinstance(self.gap, Expr):
            _check_row_expression(self.gap, "session")
        else:
            _check_length(self, "gap", self.gap)

    def __repr__(self) -> str:
        return f"session({self.gap!r})" if isinstance(self.gap, Expr) else _write("session", format_ns(self.gap))

    def __eq__(self, other: object) -> bool:
        # Expressions have no plain equality; their structure is asked.
        if not isinstance(other, Session):
            return NotImplemented
        if isinstance(self.gap, Expr):
            return self.gap.equals(other.gap)
        return not isinstance(other.gap, Expr) and self.gap == other.gap

    def __hash__(self) -> int:
        return hash(("session", self.gap))


@dataclass(frozen=True, slots=True, repr=False)
class CountWindow:
    """The latest n rows of a key, in arrival order; event time means nothing.

    Attributes:
        n: how many rows at most.
        every: a result after so many rows; None: after n, and the rows are gone then.
    """

    n: int
    every: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("n", self.n), ("every", 1 if self.every is None else self.every)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**32 - 2:
                raise DefinitionError(f"count_window: {name} is a number of rows from 1 to 2^32 - 2, not {value!r}")

    def __repr__(self) -> str:
        return f"count_window({self.n})" if self.every is None else f"count_window({self.n}, every={self.every})"


@dataclass(frozen=True, slots=True)
class GlobalWindow:
    """All rows of a key, for ever; its trigger says when results come out."""

    def __repr__(self) -> str:
        return "global_window()"


@dataclass(frozen=True, slots=True, repr=False)
class Sliding:
    """For each row the rows of its key from `before` earlier up to its own time, both ends included.

    SQL's RANGE BETWEEN before PRECEDING AND CURRENT ROW: one result per row, rows of equal time are in each other's.

    Attributes:
        before: ns.
    """

    before: int

    def __post_init__(self) -> None:
        if isinstance(self.before, bool) or not isinstance(self.before, int) or not 0 <= self.before <= _INT64_MAX:
            raise DefinitionError(f"sliding: {self.before!r} is not a length of time in ns (0 to 2^63 - 1)")

    def __repr__(self) -> str:
        return _write("sliding", format_ns(self.before))


Window: TypeAlias = Tumbling | Hopping | Session | CountWindow | GlobalWindow | Sliding


# --- writing them ---------------------------------------------------------------------------------------------------


def tumbling(size: DurationLike, *, offset: DurationLike = 0, tz: str | None = None) -> Tumbling:
    """Make windows of one size, side by side.

    Args:
        size: "1m", a timedelta; with a time zone a number of whole days.
        offset: shifts the beginnings, later or ("-3h") earlier; by less than the size.
        tz: "Europe/Zurich": days as the clocks there show them.

    Raises:
        DefinitionError: a size of 0, an offset of the size or more, an unknown time zone, or a part of a day with one.

    >>> tumbling("1h", offset="15m")
    tumbling('1h', offset='15m')
    >>> tumbling("1d", tz="Europe/Zurich")
    tumbling('1d', tz='Europe/Zurich')
    """
    return Tumbling(to_ns(size), _offset(offset), tz)


def hopping(size: DurationLike, every: DurationLike, *, offset: DurationLike = 0, tz: str | None = None) -> Hopping:
    """Make windows of one size that begin every so often: each row is in about size / every of them.

    Args:
        size: how long a window is.
        every: the time from the beginning of one to that of the next.
        offset: shifts the beginnings, by less than `every`.
        tz: as for tumbling; size and every are then numbers of whole days.

    Raises:
        DefinitionError: a length of 0, an offset of `every` or more, an unknown time zone, or a part of a day with one.

    >>> hopping("10m", "1m")
    hopping('10m', '1m')
    """
    return Hopping(to_ns(size), to_ns(every), _offset(offset), tz)


def session(gap: DurationLike | Expr) -> Session:
    """Make sessions: rows of a key between which there is never more than a gap.

    Args:
        gap: a length of time; or an expression over the row, as `col.pause` (a duration, or an integer of ns).

    Raises:
        DefinitionError: a gap of 0, or an expression that reads more than its row.

    >>> session("30m")
    session('30m')
    >>> session(ex.col.pause)
    session(col.pause)
    """
    return Session(gap if isinstance(gap, Expr) else to_ns(gap))


def count_window(n: int, every: int | None = None) -> CountWindow:
    """Make windows of n rows of a key, in the order of arrival.

    Args:
        n: how many rows.
        every: a result after so many rows, over the latest n (fewer at the beginning); None: after every n, over these.

    Raises:
        DefinitionError: not a positive number.

    >>> count_window(100), count_window(100, every=10)
    (count_window(100), count_window(100, every=10))
    """
    return CountWindow(n, every)


def global_window() -> GlobalWindow:
    """Make one window for all rows of a key; it needs a trigger, for it never ends.

    >>> global_window()
    global_window()
    """
    return GlobalWindow()


def sliding(before: DurationLike) -> Sliding:
    """Make a window for each row: the rows of its key from `before` earlier up to its own time, ends included.

    Args:
        before: how far back.

    Raises:
        DefinitionError: not a length of time.

    >>> sliding("5m")
    sliding('5m')
    """
    return Sliding(to_ns(before))


# --- JSON -----------------------------------------------------------------------------------------------------------

_KINDS: Final[dict[str, type[Any]]] = {
    "tumbling": Tumbling,
    "hopping": Hopping,
    "session": Session,
    "count": CountWindow,
    "global": GlobalWindow,
    "sliding": Sliding,
}


def to_json(window: Window) -> dict[str, Any]:
    """Give a window as plain dicts and scalars, lengths of time in ns.

    Raises:
        ExpressionError: a gap holds a Python callable without an importable name.

    >>> to_json(tumbling("1s"))
    {'kind': 'tumbling', 'size': 1000000000, 'offset': 0, 'tz': None}
    """
    kind = next(name for name, cls in _KINDS.items() if isinstance(window, cls))
    node: dict[str, Any] = {"kind": kind}
    for name in type(window).__dataclass_fields__:
        value = getattr(window, name)
        node[name] = ex.to_json(value) if isinstance(value, Expr) else value
    return node


def from_json(node: Mapping[str, Any], *, callables: bool = False) -> Window:
    """Read a window that `to_json` wrote; everything is checked as if it had been written by hand.

    Args:
        node: the dict.
        callables: import the Python functions that a gap names. Importing runs code: only for text that you trust.

    Raises:
        DefinitionError: not such a dict.

    >>> from_json({"kind": "sliding", "before": 1000})
    sliding('1us')
    """
    try:
        cls = _KINDS[node["kind"]]
        given = {name: value for name, value in node.items() if name != "kind"}
        if isinstance(given.get("gap"), Mapping):
            given["gap"] = ex.from_json(given["gap"], callables=callables)
        made: Window = cls(**given)
    except DefinitionError:
        raise
    except (KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(f"not the JSON of a window: {node!r} ({error})") from error
    return made


# --- checks ---------------------------------------------------------------------------------------------------------


def _offset(offset: DurationLike) -> int:
    return 0 if type(offset) is int and offset == 0 else to_ns(offset, signed=True)


def _check_length(window: object, name: str, value: object) -> None:
    kind = type(window).__name__.lower()
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _INT64_MAX:
        raise DefinitionError(f"{kind}: {name} is a length of time above 0, in ns, not {value!r}")


def _check_grid(window: Tumbling | Hopping, step: int, offset: object, tz: str | None, name: str) -> None:
    kind = type(window).__name__.lower()
    if isinstance(offset, bool) or not isinstance(offset, int):
        raise DefinitionError(f"{kind}: offset is a length of time in ns, not {offset!r}")
    if abs(offset) >= step:
        raise DefinitionError(
            f"{kind}: the offset {format_ns(offset)} is not shorter than {name}={format_ns(step)}: "
            f"take {format_ns(offset % step)}"
        )
    if tz is None:
        return
    if not isinstance(tz, str):
        raise DefinitionError(f'{kind}: tz is the name of a time zone, as "Europe/Zurich", not {tz!r}')
    try:
        zoneinfo.ZoneInfo(tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise DefinitionError(f"{kind}: there is no time zone {tz!r} in this machine's database") from None
    if step % DAY:
        raise DefinitionError(
            f"{kind}: with a time zone {name} is a number of whole days, not {format_ns(step)}: "
            "hours do not change with the zone; leave tz out, or shift them with offset="
        )


def _check_row_expression(expression: Expr, what: str) -> None:
    for node in ex.walk(expression):
        if isinstance(node, ex.Agg | ex.Prev) or (isinstance(node, ex.Call) and node.arity == 2):
            raise DefinitionError(f"{what}({expression!r}): it can read only the columns of its own row, not {node!r}")


def _grid_options(offset: int, tz: str | None) -> dict[str, str]:
    options = {"offset": format_ns(offset)} if offset else {}
    return options | ({"tz": tz} if tz is not None else {})


def _write(name: str, *values: str, **options: str) -> str:
    return f"{name}({', '.join([*map(repr, values), *(f'{key}={value!r}' for key, value in options.items())])})"
