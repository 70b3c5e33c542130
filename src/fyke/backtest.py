"""Two versions of a pattern on one log: which matches would come, go, or be others?

Both run in one engine, so the log is read once and both see the same watermarks. A match of one version is the same as
one of the other if it is made of the same events, in stages that divide them alike; what stages are called does not
matter. Of the rest, two that begin with the same event are one match that changed. Only what has no counterpart yet is
kept, so memory goes with the differences.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

import pyarrow as pa

from fyke.errors import DefinitionError
from fyke.match import Match
from fyke.pattern import Pattern
from fyke.replay import Replay, replay

__all__ = ["Backtest", "Difference", "Found", "backtest"]

TIME = pa.timestamp("ns", "UTC")


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What is kept of a match: its key, when it began, ended and came out (ns), and its events as (stage, position)."""

    key: Any
    start: int
    end: int
    released: int
    events: tuple[tuple[str, int], ...]

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """The positions of the events, stage by stage, without the names."""
        stages: dict[str, list[int]] = {}
        for stage, position in self.events:
            stages.setdefault(stage, []).append(position)
        return tuple(map(tuple, stages.values()))

    def __str__(self) -> str:
        stages: dict[str, list[str]] = {}
        for stage, position in self.events:
            stages.setdefault(stage, []).append(str(position))
        return " ".join(f"{stage}@{','.join(positions)}" for stage, positions in stages.items())


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A match of the old version, of the new one, or both, where they begin alike and differ."""

    old: Found | None
    new: Found | None

    @property
    def change(self) -> Literal["gained", "lost", "changed"]:
        """What became of the match from the old version to the new one."""
        return "gained" if self.old is None else "lost" if self.new is None else "changed"

    @property
    def first(self) -> Found:
        """The match, the old version's where there are both."""
        found = self.old or self.new
        assert found is not None
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Backtest:
    """What two versions found on one log.

    Attributes:
        rows: read.
        old, new: matches of each version. same: matches of both.
        differences: by the time and place where they begin.
    """

    rows: int
    old: int
    new: int
    same: int
    differences: tuple[Difference, ...]

    def count(self, change: Literal["gained", "lost", "changed"]) -> int:
        """Count the matches that were gained, lost or changed."""
        return sum(each.change == change for each in self.differences)

    def to_arrow(self) -> pa.Table:
        """Give the differences as a table, a row each."""
        first = [each.first for each in self.differences]
        keys = [each.key for each in first]
        is_composed = any(isinstance(key, tuple) for key in keys)
        return pa.table(
            {
                "change": pa.array([each.change for each in self.differences], pa.string()),
                "key": pa.array([str(key) for key in keys] if is_composed else keys),
                "start": pa.array([each.start for each in first], TIME),
                "old_end": pa.array([each.old and each.old.end for each in self.differences], TIME),
                "new_end": pa.array([each.new and each.new.end for each in self.differences], TIME),
                "old_events": pa.array([each.old and str(each.old) for each in self.differences], pa.string()),
                "new_events": pa.array([each.new and str(each.new) for each in self.differences], pa.string()),
            }
        )


def backtest(
    source: Any, old: Pattern, new: Pattern, *, on_step: Callable[[Replay], object] | None = None, **options: Any
) -> Backtest:
    """Compare what two versions of a pattern find on one log.

    Args:
        source: as `fyke.replay` takes it.
        old: the version that is compared with.
        new: the version that it would be.
        on_step: called after each batch, to show progress.
        options: as `fyke.replay` takes them: time, unit, out_of_order, partition and so on, for both.

    Raises:
        DefinitionError: no patterns, or a wrong option. Reading raises as `fyke.replay`.

    >>> from fyke import begin, col
    >>> rows = [{"ts": n, "x": x} for n, x in enumerate([1, 5, 1, 9])]
    >>> old, new = (begin("low", col.x < 2).next("high", col.x > limit) for limit in (4, 6))
    >>> found = backtest(rows, old, new, time="ts", unit="s")
    >>> found.old, found.new, [(each.change, str(each.first)) for each in found.differences]
    (2, 1, [('lost', 'low@0 high@1')])
    """
    for each in (old, new):
        if not isinstance(each, Pattern):
            raise DefinitionError(f"backtest: expected two patterns, got {each!r:.80}")
    if "timeouts" in options or "checkpoint" in options:
        raise DefinitionError("backtest: compares matches, all of them: no timeouts=, no checkpoint=")
    run = replay(source, {"old": old, "new": new}, **options)
    counts: Counter[str | None] = Counter()
    same = 0
    open_: dict[str, dict[Any, list[Found]]] = {"old": defaultdict(list), "new": defaultdict(list)}
    for results in run.results():
        for match in results:
            counts[match.pattern] += 1
            found = _kept(match)
            mine, others = (open_["old"], open_["new"]) if match.pattern == "old" else (open_["new"], open_["old"])
            identity = (repr(found.key), found.shape)
            if others.get(identity):
                same += 1
                others[identity].pop()
                if not others[identity]:
                    del others[identity]
            else:
                mine[identity].append(found)
        if on_step is not None:
            on_step(run)
    differences = _paired(*(_flat(each.values()) for each in (open_["old"], open_["new"])))
    return Backtest(run.progress.rows, counts["old"], counts["new"], same, tuple(differences))


def _kept(match: Match) -> Found:
    events = tuple((stage, event.position) for stage, event in match.events)
    return Found(match.key, match.start, match.end, match.released, events)


def _flat(lists: Iterable[list[Found]]) -> list[Found]:
    return [found for each in lists for found in each]


def _paired(old: list[Found], new: list[Found]) -> list[Difference]:
    """Put what begins with the same event together, in the order of their events, and sort all by their beginning."""
    begins: dict[Any, tuple[list[Found], list[Found]]] = defaultdict(lambda: ([], []))
    for side, found in [*((0, each) for each in old), *((1, each) for each in new)]:
        begins[repr(found.key), found.events[0][1]][side].append(found)
    differences = []
    for olds, news in begins.values():
        olds.sort(key=lambda each: each.events)
        news.sort(key=lambda each: each.events)
        n = max(len(olds), len(news))
        filled: list[list[Found | None]] = [[*side, *[None] * (n - len(side))] for side in (olds, news)]
        differences += [Difference(*pair) for pair in zip(*filled, strict=True)]
    return sorted(differences, key=lambda each: (each.first.start, each.first.events))
