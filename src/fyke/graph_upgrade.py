"""State of a stream graph under another graph: which box goes on with whose state.

A box goes on with the state of the box that does the same with the same inputs all the way up; else of the box of the
same name that does the same (inputs may have changed: a filter before a window, say), where a name that was not given
counts only under the same sources. A box of patterns that changed takes what can be mapped. A box without a namesake
begins anew, at the next watermark that it hears of. What a box held that is not there any more is lost only if that is
said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fyke.errors import StateError
from fyke.operator import State
from fyke.upgrade import Upgrade

__all__ = ["Graph", "MovedBoxes", "Place", "difference_of_graphs", "places_of"]


@dataclass(frozen=True, slots=True)
class MovedBoxes:
    """Boxes by name: that went on with their state, whose patterns were mapped, that are new, that are gone with it."""

    kept: tuple[str, ...]
    mapped: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the state of a box stands in a snapshot, and whether its patterns changed."""

    number: int
    is_mapped: bool = False


@dataclass(frozen=True, slots=True)
class _Box:
    name: str
    what: Any
    lineage: str
    sources: tuple[str, ...]

    @property
    def kind(self) -> str:
        return str(self.what.get("kind"))

    @property
    def has_given_name(self) -> bool:
        return not self.name.startswith(f"{self.kind}_")


class Graph:
    """A graph as a snapshot tells it.

    Args:
        definition: JSON text, as StreamEngine.definition gives it.

    Raises:
        StateError: it is something else.
    """

    def __init__(self, definition: Any) -> None:
        self.boxes: dict[str, _Box] = {}
        self.sources: list[str] = []
        try:
            order: list[_Box] = []
            for name, what, inputs in json.loads(definition)[0]:
                above = [order[i] for i in inputs]
                text = json.dumps([what, [each.lineage for each in above]], sort_keys=True)
                is_source = not inputs
                own = (name,) if is_source else tuple(sorted({s for each in above for s in each.sources}))
                box = _Box(str(name), dict(what), hashlib.sha256(text.encode()).hexdigest(), own)
                order.append(box)
                if is_source:
                    self.sources.append(box.name)
                self.boxes[box.name] = box
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise StateError(f"snapshot, section meta: it does not say which streams it is of: {error!r:.80}") from None


def difference_of_graphs(old: Graph, new: Graph) -> list[str]:
    """Say how a graph differs from one before, a line a box: - gone, + new, ~ changed."""
    lines = [f"- {each.name}: {_said(each)}" for each in old.boxes.values() if each.name not in new.boxes]
    lines += [f"+ {each.name}: {_said(each)}" for each in new.boxes.values() if each.name not in old.boxes]
    both = [(each, new.boxes[each.name]) for each in old.boxes.values() if each.name in new.boxes]
    return lines + [f"~ {a.name}: {_said(a)} -> {_said(b)}" for a, b in both if a.what != b.what]


def _said(box: _Box) -> str:
    return json.dumps({name: value for name, value in box.what.items() if value not in (None, [], "")})[:300]


def places_of(
    old: Graph, names: Sequence[str], sections: State, new: Graph, wanted: Sequence[str], upgrade: Upgrade
) -> tuple[dict[str, Place], MovedBoxes]:
    """Say whose state each box goes on with.

    Args:
        old, names: the graph of the snapshot, and its boxes that have sections, in their order.
        sections: the snapshot.
        new, wanted: the graph that goes on, and its boxes that have state.
        upgrade: "map" or "drop".

    Raises:
        StateError: a box that holds something has no place; names it, and says what changed.
    """
    if upgrade.open == "finish":
        raise StateError('streams: open="finish" is of patterns alone; let the old streams run beside the new ones')
    numbers = {name: i for i, name in enumerate(names)}
    by_lineage = {old.boxes[name].lineage: name for name in names if name in old.boxes}
    places: dict[str, Place] = {}
    taken: dict[str, str] = {}
    for name in wanted:
        found = by_lineage.get(new.boxes[name].lineage)
        if found is not None:
            places[name], taken[found] = Place(numbers[found]), name
    mapped = []
    for name in wanted:
        before, now = old.boxes.get(upgrade.patterns.get(name, name)), new.boxes[name]
        if name in places or before is None or before.name in taken or before.name not in numbers:
            continue
        if not now.has_given_name and before.sources != now.sources:
            continue
        is_mapped = before.what != now.what and before.kind == now.kind == "match" and upgrade.open == "map"
        if before.what == now.what or is_mapped:
            places[name], taken[before.name] = Place(numbers[before.name], is_mapped), name
            mapped += [name] if is_mapped else []
    lost = [name for name in names if name not in taken and _holds_something(sections, numbers[name])]
    if lost and upgrade.open != "drop" and upgrade.rest != "drop":
        told = "\n".join(difference_of_graphs(old, new))
        raise StateError(f'{", ".join(lost)}: what is held has no place in the new streams; say rest="drop"\n{told}')
    kept = tuple(name for name in places if name not in mapped)
    return places, MovedBoxes(kept, tuple(mapped), tuple(name for name in wanted if name not in places), tuple(lost))


def _holds_something(sections: State, number: int) -> bool:
    prefixes = (f"box/{number}/operator/", f"box/{number}/pending/")
    return any(
        not isinstance(section, dict) and section.num_rows > 0
        for name, section in sections.items()
        if name.startswith(prefixes)
    )
