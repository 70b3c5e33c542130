"""Runs a corpus case on fyke's engine, and puts its results in the form of the corpora.

One corpus millisecond is one engine tick (a nanosecond). Events go in as dicts, in batches of the size that the
environment variable FYKE_CONFORMANCE_BATCH names (1, 7, all; default all), and are matched by the strategy that
FYKE_CONFORMANCE_STRATEGY names (auto, general; default auto): results must depend on neither.
"""

from __future__ import annotations

import os
import warnings
from bisect import bisect_left
from itertools import islice
from typing import Any

import fyke
from tests.unit.corpus_patterns import to_pattern

from .cases import Case, Outcome


def run_on_engine(
    case: Case, batch: str | None = None, strategy: str | None = None, *, timeouts: bool = True
) -> Outcome:
    """Run one case, in batches of the given size and by the given strategy, or by the environment's.

    Without time-outs nobody asks for partial matches, and there are no bounds on them: compact sets are possible.
    """
    strategy = strategy or os.environ.get("FYKE_CONFORMANCE_STRATEGY", "auto")
    try:
        pattern = to_pattern(case["pattern"])
        bounds: dict[str, Any] = {"timeouts": True, "max_partials": 100_000} if timeouts else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # some have no window
            engine = fyke.Engine(pattern, time="t", unit="ns", strategy=strategy, **bounds)
    except fyke.DefinitionError:
        return Outcome(error_kind="compile")
    rows = [{"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"]} for e in case["events"]]
    outcome = Outcome()
    translate = Translator([row["t"] for row in rows], outcome)
    try:
        for part in batches(rows, batch or os.environ.get("FYKE_CONFORMANCE_BATCH", "all")):
            translate(engine.push(part))
        translate(engine.flush())
    except fyke.SkipError as error:
        translate(error.results)  # what was found before
        kind, position = error.cause
        outcome.error_kind = "runtime"
        outcome.error_at = position if kind == "event" else translate.place(error.cause)
    return outcome


def batches(rows: list[dict[str, Any]], size: str) -> list[list[dict[str, Any]]]:
    """Cut the rows into batches."""
    step = max(len(rows), 1) if size == "all" else int(size)
    left = iter(rows)
    return list(iter(lambda: list(islice(left, step)), []))


class Translator:
    """Appends an engine's results to an outcome."""

    def __init__(self, times: list[int], outcome: Outcome) -> None:
        self.times = times
        self.outcome = outcome

    def __call__(self, results: fyke.Results) -> None:
        for match in results:
            self.outcome.matches.append(ids(match))
            kind, position = match.cause
            by_event = kind == "event"
            self.outcome.match_at.append(["event", position] if by_event else ["time", self.place(match.cause)])
        for timeout in results.timeouts:
            told = {"partial": ids(timeout), "t": timeout.released, "at": self.place(timeout.cause)}
            self.outcome.timeouts.append(told)

    def place(self, cause: tuple[str, int]) -> int | None:
        """Say which event's time made it happen: the first at or after the deadline, or None for the end.

        A deadline that was past already when the event at a position set it fires before the event after that.
        """
        kind, value = cause
        position = value + 1 if kind == "after" else bisect_left(self.times, value)
        return position if position < len(self.times) else None


def ids(match: fyke.Match) -> dict[str, list[int]]:
    """Show a match as the corpora do: the ids of each stage's events."""
    stages: dict[str, list[int]] = {}
    for stage, event in match.events:
        stages.setdefault(stage, []).append(event["id"])
    return stages
