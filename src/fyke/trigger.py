"""Triggers as values: when the result of a window comes out. Frozen, hashable, checked when they are written.

Each of them can purge: the window is emptied with every result, so that each result holds only what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fyke.duration import DurationLike, format_ns, to_ns
from fyke.errors import DefinitionError

__all__ = ["Trigger", "at_end", "continuous", "count", "end_of_stream", "from_json", "per_update", "to_json"]

KINDS: Final = ("at_end", "continuous", "count", "per_update", "end_of_stream")
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, repr=False)
class Trigger:
    """When the result of a window comes out.

    Attributes:
        kind: at_end, continuous, count, per_update or end_of_stream.
        every: continuous: the interval in ns; count: the number of rows; else None.
        purge: the window is emptied with every result.
    """

    kind: str
    every: int | None = None
    purge: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DefinitionError(f"trigger {self.kind!r} is not one of {', '.join(KINDS)}")
        if not isinstance(self.purge, bool):
            raise DefinitionError(f"trigger {self.kind}: purge is True or False, not {self.purge!r}")
        if self.kind not in ("continuous", "count"):
            if self.every is not None:
                raise DefinitionError(f"trigger {self.kind}: it takes no number, got {self.every!r}")
            return
        most, what = 2**32 - 2, "a number of rows from 1 to 2^32 - 2"
        if self.kind == "continuous":
            most, what = _INT64_MAX, "an interval above 0, in ns"
        if isinstance(self.every, bool) or not isinstance(self.every, int) or not 1 <= self.every <= most:
            raise DefinitionError(f"trigger {self.kind}: {what} is needed, not {self.every!r}")

    def __repr__(self) -> str:
        given = []
        if self.every is not None:
            given.append(repr(format_ns(self.every)) if self.kind == "continuous" else str(self.every))
        if self.purge:
            given.append("purge=True")
        return f"trigger.{self.kind}({', '.join(given)})"


def at_end(purge: bool = False) -> Trigger:
    """Make the trigger that windows of time have by themselves: when the watermark passes the window's end.

    Within the allowed lateness each late row brings the result out again.

    Args:
        purge: empty the window with every result; late rows then give results of their own.

    >>> at_end()
    trigger.at_end()
    """
    return Trigger("at_end", purge=purge)


def continuous(interval: DurationLike, purge: bool = False) -> Trigger:
    """Make the trigger for early results: at every multiple of an interval of event time, and at the end.

    Args:
        interval: "10s", a timedelta; counted from 1970.
        purge: empty the window with every result.

    Raises:
        DefinitionError: an interval of 0.

    >>> continuous("10s")
    trigger.continuous('10s')
    """
    return Trigger("continuous", to_ns(interval), purge)


def count(n: int, purge: bool = False) -> Trigger:
    """Make the trigger for a result after every n rows of a window, in place of that at its end.

    Args:
        n: how many rows.
        purge: empty the window with every result.

    Raises:
        DefinitionError: not a positive number.

    >>> count(100, purge=True)
    trigger.count(100, purge=True)
    """
    return Trigger("count", n, purge)


def per_update(purge: bool = False) -> Trigger:
    """Make the trigger for a result with every row, and a final one when the window is closed.

    >>> per_update()
    trigger.per_update()
    """
    return Trigger("per_update", purge=purge)


def end_of_stream(purge: bool = False) -> Trigger:
    """Make the trigger for one result when the input ends.

    >>> end_of_stream()
    trigger.end_of_stream()
    """
    return Trigger("end_of_stream", purge=purge)


def to_json(trigger: Trigger) -> dict[str, Any]:
    """Give a trigger as a plain dict.

    >>> to_json(count(3))
    {'kind': 'count', 'every': 3, 'purge': False}
    """
    return {"kind": trigger.kind, "every": trigger.every, "purge": trigger.purge}


def from_json(node: Mapping[str, Any]) -> Trigger:
    """Read a trigger that `to_json` wrote.

    Raises:
        DefinitionError: not such a dict.

    >>> from_json({"kind": "count", "every": 3, "purge": False})
    trigger.count(3)
    """
    try:
        return Trigger(**node)
    except TypeError as error:
        raise DefinitionError(f"not the JSON of a trigger: {node!r} ({error})") from error
