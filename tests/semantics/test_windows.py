"""Windows and joins: the named deviations with results derived by hand, and the examples of docs/semantics.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import window_notation
from tests.conformance import join_cases, window_cases
from tests.conformance.join_adapter import run_join_on_engine
from tests.conformance.window_adapter import detailed_on_engine

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "semantics.md"

Written = tuple[str, str, list[tuple[str, str]]]  # the rule, the case's line, and (profile or "", results)


def read(text: str, found: list[Written], rule: str = "") -> list[Written]:
    """Read cases: one at the left, its results indented, some for one profile only; ``== H`` begins a rule's cases."""
    for line in text.splitlines():
        if line.startswith("== "):
            rule = line.removeprefix("== ")
        elif line.startswith(" "):
            profile, results = re.fullmatch(r"(?:(flink|fyke): )?(.*)", line.strip()).groups(default="")
            found[-1][2].append((profile, results))
        elif line and not line.startswith("#"):
            found.append((rule, line, []))
    return found


def examples() -> list[Written]:
    """Read the page's blocks marked windows."""
    found: list[Written] = []
    for indent, block in re.findall(r"^( *)```windows\n(.*?)^ *```$", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        read(re.sub(f"^{indent}", "", block, flags=re.M), found)
    return found


DEVIATIONS = read((HERE / "windows.cases").read_text(encoding="utf-8"), [])
EXAMPLES = examples()


def by_oracle(case: dict[str, Any], profile: str) -> Any:
    return join_cases.by_oracle(case, profile) if "join" in case else window_cases.detailed_by_oracle(case, profile)


def check(written: Written, profile: str, give: Any) -> None:
    _, text, results = written
    case = window_notation.case(text)
    lines = [line for only, line in results if only in ("", profile)]
    # At equal times Flink's order is that of a heap; fyke's is defined.
    wrong = window_notation.disagreements(lines, give(case), ordered=profile == "fyke" and "window" in case)
    assert not wrong, f"{text}\n" + "\n".join(wrong)


@pytest.mark.parametrize("rule", "HVOCJU")
def test_each_rule_has_at_least_ten_cases(rule: str) -> None:
    assert sum(written[0] == rule for written in DEVIATIONS) >= 10


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 60


def by_engine(case: dict[str, Any]) -> Any:
    return run_join_on_engine(case) if "join" in case else detailed_on_engine(case)


@pytest.mark.parametrize("written", DEVIATIONS + EXAMPLES, ids=lambda written: written[1])
def test_engine(written: Written) -> None:
    check(written, "fyke", by_engine)


@pytest.mark.parametrize("written", DEVIATIONS, ids=lambda written: f"{written[0]}: {written[1]}")
def test_oracle_deviates_as_the_rules_say(written: Written) -> None:
    check(written, "fyke", lambda case: by_oracle(case, "fyke"))


@pytest.mark.parametrize("written", EXAMPLES, ids=lambda written: written[1])
@pytest.mark.parametrize("profile", ["flink", "fyke"])
def test_oracle(written: Written, profile: str) -> None:
    check(written, profile, lambda case: by_oracle(case, profile))
