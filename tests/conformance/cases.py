"""Corpus cases: reading them, and comparing what a matcher gives with what is expected."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORPORA = Path(__file__).parent.parent / "corpora"

KINDS = ("pattern", "window", "join")

Case = dict[str, Any]


class NotACorpus(Exception):
    """The file's cases are of no kind that this runner knows."""


@dataclass
class Outcome:
    """What a case gives: the fields of a corpus case that are results."""

    matches: list[dict[str, list[int]]] = field(default_factory=list)
    match_at: list[list[Any]] = field(default_factory=list)
    timeouts: list[dict[str, Any]] = field(default_factory=list)
    error_kind: str | None = None
    error_at: int | None = None

    @property
    def found(self) -> Counter[str]:
        """The matches and where each was emitted, as a multiset."""
        return bag(zip(self.matches, self.match_at, strict=True))


def outcome_of(results: Any) -> Outcome:
    """Take the results out of a corpus case (a dict) or an oracle's result (an object)."""
    read = results.get if isinstance(results, dict) else lambda name: getattr(results, name)
    return Outcome(read("matches"), read("match_at"), read("timeouts"), read("error_kind"), read("error_at"))


def bag(items: Iterable[Any]) -> Counter[str]:
    """Make a multiset of JSON values."""
    return Counter(json.dumps(item, sort_keys=True) for item in items)


def once(outcome: Outcome) -> Outcome:
    """Keep each match once per place where it was emitted (rule D)."""
    seen: set[str] = set()
    kept = []
    for pair in zip(outcome.matches, outcome.match_at, strict=True):
        (key,) = bag([pair])
        if key not in seen:
            seen.add(key)
            kept.append(pair)
    matches, match_at = [match for match, _ in kept], [at for _, at in kept]
    return Outcome(matches, match_at, outcome.timeouts, outcome.error_kind, outcome.error_at)


def differences(wanted: Outcome, got: Outcome) -> list[str]:
    """Say shortly in what two outcomes differ; an empty list if they agree.

    Matches count with the place where they were emitted, timeouts with time and place; order within a call does not
    count. A pattern that is refused need only be refused; of a runtime error its event counts, and what came before it.
    """
    if wanted.error_kind == got.error_kind == "compile":
        return []
    if (wanted.error_kind, wanted.error_at) != (got.error_kind, got.error_at):
        return [f"error: wanted {wanted.error_kind} at {wanted.error_at}, got {got.error_kind} at {got.error_at}"]
    lines = [f"match missing: {text}" for text in (wanted.found - got.found).elements()]
    lines += [f"match too many: {text}" for text in (got.found - wanted.found).elements()]
    lines += [f"timeout missing: {text}" for text in (bag(wanted.timeouts) - bag(got.timeouts)).elements()]
    lines += [f"timeout too many: {text}" for text in (bag(got.timeouts) - bag(wanted.timeouts)).elements()]
    return lines


def read(path: Path) -> Iterator[Case]:
    """Read a corpus, one JSON object a line, plain or compressed.

    Raises:
        NotACorpus: a case is of no kind that there is.
    """
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                case = json.loads(line)
            except ValueError as error:
                raise NotACorpus(f"{path}:{number}: not JSON: {error}") from None
            if kind_of(case) == "unknown":
                known = ", ".join(f"{kind!r}" for kind in KINDS)
                raise NotACorpus(f"{path}:{number}: no case of a known kind; a case has one of {known}")
            yield case


def kind_of(case: Any) -> str:
    """Tell the kind of a corpus from one of its cases: it has the name of what is run."""
    for kind in KINDS:
        if isinstance(case, dict) and kind in case:
            return kind
    return "unknown"
