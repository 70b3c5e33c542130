"""The named deviations, case by case, with results derived by hand: the oracle and the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import notation
from tests.conformance.kinds import Matcher, by_engine
from tests.conformance.rules import RULES
from tests.conformance.runner import oracle_matcher


@dataclass
class Written:
    """A case of deviations.cep."""

    rule: str
    text: str
    results: list[str] = field(default_factory=list)


def written_cases() -> list[Written]:
    """Read deviations.cep: sections by rule, a case at the left, its results indented."""
    found: list[Written] = []
    rule = ""
    for line in (Path(__file__).parent / "deviations.cep").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            rule = line.removeprefix("== ")
        elif line.startswith(" "):
            found[-1].results.append(line.strip())
        elif line and not line.startswith("#"):
            found.append(Written(rule, line))
    return found


CASES = written_cases()


def check(written: Written, matcher: Matcher) -> None:
    given = notation.case(written.text)
    outcome = matcher(given)
    wrong = notation.disagreements(written.results, given, outcome)
    assert not wrong, f"{written.text}\n" + "\n".join(wrong)
    if written.rule == "T":
        # The order of the report is part of the rule.
        matches = [line.split(" @")[0] for line in written.results if not line.startswith("timeout")]
        reported = [line.split(" @")[0] for line in notation.describe(given, outcome)[: len(outcome.matches)]]
        assert reported == matches


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_at_least_ten_cases(rule: str) -> None:
    assert sum(written.rule == rule for written in CASES) >= 10


@pytest.mark.parametrize("written", CASES, ids=lambda written: f"{written.rule}: {written.text}")
def test_oracle(written: Written) -> None:
    check(written, oracle_matcher("fyke"))


@pytest.mark.parametrize("written", CASES, ids=lambda written: f"{written.rule}: {written.text}")
def test_engine(written: Written) -> None:
    check(written, by_engine())
