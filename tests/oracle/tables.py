"""The reference tables: the latest element of each key by arrival, joins of two tables, streams enriched by one.

A change of a table is the difference between its rows before an element and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .window_definition import Element

Side = dict[Any, int]  # by key the place of the latest element
Row = tuple[int | None, int | None]  # the places of the elements that a row is made of


@dataclass(frozen=True)
class Change:
    """What became of the row of a key, by the element at a place: +I, -U, +U or -D, and the row."""

    kind: str
    row: Row
    at: int


def changes(
    elements: Sequence[Element],
    gone: Callable[[Element], bool],
    told: Callable[[Element], bool],
    there: Callable[[Row], bool],
    retract: bool,
) -> list[Change]:
    """Follow a table made of one side or two.

    `gone` says which elements delete, `told` which ones say anything, `there` which rows the table has.
    """
    sides: dict[str, Side] = {"l": {}, "r": {}}
    found: list[Change] = []
    for element in elements:
        if not told(element):
            continue
        before = row_of(sides, element.key)
        sides[element.side].pop(element.key, None)
        if not gone(element):
            sides[element.side][element.key] = element.id
        after = row_of(sides, element.key)
        if before == after:
            continue
        if not there(before):
            found += [Change("+I", after, element.id)] if there(after) else []
        elif not there(after):
            found.append(Change("-D", before, element.id))
        else:
            found += [Change("-U", before, element.id)] if retract else []
            found.append(Change("+U", after, element.id))
    return found


def row_of(sides: dict[str, Side], key: Any) -> Row:
    """The latest elements of a key."""
    return (sides["l"].get(key), sides["r"].get(key))


def by_how(how: str) -> Callable[[Row], bool]:
    """Say which rows a join of two tables has."""
    return {
        "inner": lambda row: None not in row,
        "left": lambda row: row[0] is not None,
        "right": lambda row: row[1] is not None,
        "outer": lambda row: row != (None, None),
    }[how]


def compacted(elements: Sequence[Element], delete: bool, retract: bool) -> list[Change]:
    """A log as a table; with `delete` an element without a value deletes its key."""
    return changes(elements, lambda e: delete and e.v is None, lambda e: True, by_how("left"), retract)


def joined(elements: Sequence[Element], how: str) -> list[Change]:
    """The join of two tables whose changes the elements are: v is the kind."""
    return changes(elements, lambda e: e.v == "-D", lambda e: e.v != "-U", by_how(how), True)


def enriched(elements: Sequence[Element], how: str) -> list[tuple[int, int | None]]:
    """Each element of the left side with the place of what the table on the right says of its key when it arrives."""
    table: Side = {}
    found: list[tuple[int, int | None]] = []
    for element in elements:
        if element.side == "l":
            if how == "left" or element.key in table:
                found.append((element.id, table.get(element.key)))
        elif element.v == "-D":
            table.pop(element.key, None)
        elif element.v != "-U":
            table[element.key] = element.id
    return found
