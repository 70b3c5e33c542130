"""Runs corpora against the engine or the oracle, and judges each case.

Profile flink: each case must agree with the file, which holds what Flink gives. Profile fyke: a case that no rule
touches must agree with the file as well. Where a rule touches it and the oracle's two profiles differ, the case must
agree with the oracle in profile fyke; where they do not differ, with the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.oracle import PROFILES

from .cases import CORPORA, Case, NotACorpus, read
from .kinds import ALL_RULES, Matcher, Outcome, by_engine, kind_for

SHOWN = 4  # lines per disagreement, and ids per rule, unless everything is asked for


@dataclass
class Verdict:
    """How one case came out."""

    id: str
    rules: str  # letters of the rules that touch it
    deviates: bool  # what is wanted is not what Flink gives
    wrong: list[str]  # in what it disagrees; empty if it agrees


@dataclass
class Report:
    """All verdicts of a run."""

    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def agreeing(self) -> int:
        """How many cases agree."""
        return sum(not verdict.wrong for verdict in self.verdicts)

    @property
    def deviating(self) -> int:
        """How many agree with fyke's documented deviation instead of with Flink."""
        return sum(verdict.deviates and not verdict.wrong for verdict in self.verdicts)

    def lines(self, verbose: bool) -> Iterable[str]:
        """Write the report: disagreements, figures per rule, the summary last."""
        for verdict in self.verdicts:
            if verdict.wrong:
                yield f"{verdict.id}{f' [{verdict.rules}]' if verdict.rules else ''} disagrees"
                yield from (f"    {line}" for line in abbreviated(verdict.wrong, verbose, "lines"))
        for rule in ALL_RULES:
            touched = [verdict for verdict in self.verdicts if rule in verdict.rules]
            rest = [verdict.id for verdict in touched if verdict.deviates]
            if touched:
                told = f": {' '.join(abbreviated(rest, verbose, 'cases'))}" if rest else ""
                figures = f"touches {len(touched)}, {len(touched) - len(rest)} of these equal Flink anyway"
                yield f"rule {rule}: {figures}, {len(rest)} do not{told}"
        total = len(self.verdicts)
        yield f"conformance: {self.agreeing} of {total} cases agree ({self.deviating} deviate as documented)"


def abbreviated(items: list[str], verbose: bool, what: str) -> list[str]:
    """Keep the first few items, and say how many more there are."""
    if verbose or len(items) <= SHOWN + 1:
        return items
    return [*items[:SHOWN], f"... and {len(items) - SHOWN} more {what}"]


@dataclass(frozen=True)
class Expectation:
    """What is wanted of a case."""

    rules: str  # letters of the rules that touch it
    deviates: bool  # what is wanted is not what Flink gives
    outcome: Outcome


def expected(case: Case, profile: str) -> Expectation:
    """Say what is wanted of a case: the file's results, or what a rule makes of them."""
    kind = kind_for(case)
    flinks = kind.recorded(case)
    touched = kind.touching(case) if profile == "fyke" else ""
    if not touched:
        return Expectation("", False, flinks)
    wanted = kind.by_rules(case, touched)
    return Expectation(touched, bool(kind.differences(case, flinks, wanted)), wanted)


def judge(case: Case, matcher: Matcher, wanted: Expectation) -> Verdict:
    """Run one case and compare it with what is wanted; whatever a matcher raises is a disagreement."""
    try:
        wrong = kind_for(case).differences(case, wanted.outcome, matcher(case))
    except Exception as error:  # one broken case must not hide the others
        wrong = [f"raised {type(error).__name__}: {error}"]
    return Verdict(case["id"], wanted.rules, wanted.deviates, wrong)


def oracle_matcher(profile: str) -> Matcher:
    """Return the oracle in a profile, as a matcher."""
    return lambda case: kind_for(case).by_oracle(case, profile)


def run(files: Iterable[Path], matcher: Matcher, profile: str) -> Report:
    """Judge all cases of the files."""
    return Report([judge(case, matcher, expected(case, profile)) for path in files for case in read(path)])


def main(arguments: list[str] | None = None, out: TextIO | None = None) -> int:
    """Run the command line; return the exit status.

    0: every case agrees. 1: some do not. 2: the call or a file is wrong.
    """
    parser = argparse.ArgumentParser(prog="conformance.py", description="Compare the engine or the oracle with Flink.")
    parser.add_argument("files", nargs="*", type=Path, help="corpora, .jsonl or .jsonl.gz (default: tests/corpora)")
    parser.add_argument("--matcher", choices=["engine", "oracle"], default="engine")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="fyke")
    parser.add_argument("--strategy", choices=["auto", "general"], help="how the engine runs patterns (default: auto)")
    parser.add_argument("--verbose", action="store_true", help="show everything: all lines, all ids")
    options = parser.parse_args(arguments)
    if options.matcher == "engine" and options.profile == "flink":
        parser.error("the engine has one profile, fyke; --profile flink is the oracle's (--matcher oracle)")
    files = options.files or sorted(CORPORA.glob("*.jsonl.gz"))
    matcher = by_engine(options.strategy) if options.matcher == "engine" else oracle_matcher(options.profile)
    try:
        report = run(files, matcher, options.profile)
    except (NotACorpus, OSError) as error:
        print(f"conformance.py: {error}", file=sys.stderr)
        return 2
    for line in report.lines(options.verbose):
        print(line, file=out or sys.stdout)
    return 0 if report.agreeing == len(report.verdicts) else 1
