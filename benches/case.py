"""What a workload says of itself: the stream, the subjects to run on it, the count that all must reach, the target.

A workload is a module in benches/workloads/ with
    ROWS: int                                    n, unless --n says otherwise
    VARIANTS: list[dict[str, int | str]]         what varies, an object of the JSON each; [{}] if nothing does
    def case(n: int, variant: dict[str, int | str], options: Options) -> Case
and joins `python -m benches` by being there. `case` is called in a process of the variant's own, so it may build all it
likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Variant = Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line lets one choose for every workload.

    Args:
        batch_rows: rows in a pushed batch.
    """

    batch_rows: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one round of a subject gave.

    Args:
        matches: number of matches found, None where the subject does not look for any.
        measures: figures of its own (latencies, say), of which the median over the rounds is reported.
        total: a sum over the results, where a number of results alone would hide wrong ones.
    """

    matches: int | None
    measures: Mapping[str, float] = field(default_factory=dict)
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One contender: `prepare` is not timed, `work` is, with what `prepare` gave.

    Args:
        work: one round; returns an Outcome, a plain number of matches, or None.
        prepare: makes what a round uses up (a fresh engine, an iterator).
        is_fyke: left out by --no-engine.
    """

    work: Callable[[Any], Outcome | int | None]
    prepare: Callable[[], Any] = lambda: None
    is_fyke: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A claim about one run.

    Args:
        text: the claim in words.
        bound: the figure that `figure` must not exceed (or reach, if `at_least`).
        figure: from the median seconds of each subject by name ("engine", "limit", references, peers, measures).
    """

    text: str
    bound: float
    figure: Callable[[Mapping[str, float]], float]
    at_least: bool = False

    def met(self, figure: float) -> bool:
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Args:
        events: number of events a round takes.
        matches: the count every matching subject must reach; None: the limit's count is taken.
        engine: fyke.
        limit: the hand-written loop.
        references: what targets compare with and no system of its own: building columns, sorting, reading.
        peers: other systems on the same stream.
        targets: what is claimed.
        total: the total that every subject that gives one must reach, but for rounding.
    """

    events: int
    matches: int | None
    engine: Subject
    limit: Subject | None = None
    references: Mapping[str, Subject] = field(default_factory=dict)
    peers: Mapping[str, Subject] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    total: float | None = None


def at_most_limit(times: float) -> Target:
    """Claim: at most so many times the limit's time."""
    return Target(f"at most {times:g}x the limit's time", times, lambda s: s["engine"] / s["limit"])
