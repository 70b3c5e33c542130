"""The values the oracle computes with: an event, and what a partial match has taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One input event; `id` is its position in the stream, `t` its time in ticks."""

    id: int
    t: int
    type: str
    v: float

    @property
    def order(self) -> tuple[int, int]:
        """Where the event stands among all: by time, then by arrival."""
        return (self.t, self.id)


@dataclass(frozen=True)
class Taken:
    """One event in one stage of a partial match."""

    stage: str
    event: Event


Path = tuple[Taken, ...]
"""What a partial match has taken so far, in the order taken."""


def read_events(rows: list[dict[str, Any]]) -> list[Event]:
    """Read the events of a corpus case."""
    return [Event(row["id"], row["t"], row["type"], float(row.get("v", 0))) for row in rows]


def by_stage(path: Path) -> dict[str, list[int]]:
    """Show a path as a corpus match: the ids of the events of each stage."""
    match: dict[str, list[int]] = {}
    for taken in path:
        match.setdefault(taken.stage, []).append(taken.event.id)
    return match
