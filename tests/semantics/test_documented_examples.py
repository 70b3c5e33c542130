"""Every example of docs/semantics.md, in both profiles of the oracle and on the engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import notation
from tests.conformance.kinds import Matcher, by_engine
from tests.conformance.runner import oracle_matcher

PAGE = Path(__file__).parents[2] / "docs" / "semantics.md"

Example = tuple[str, list[tuple[str, str]]]  # the case's line, and (profile or "", result line)


def examples() -> list[Example]:
    """Read the page's blocks marked cep: a line at the left is a case, indented lines are its results."""
    found: list[Example] = []
    for indent, block in re.findall(r"^( *)```cep\n(.*?)^ *```$", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.splitlines():
            line = line.removeprefix(indent)
            if not line.startswith(" "):
                found.append((line, []))
            else:
                profile, result = re.fullmatch(r"(?:(flink|fyke): )?(.*)", line.strip()).groups(default="")
                found[-1][1].append((profile, result))
    return found


EXAMPLES = examples()


def check(example: Example, profile: str, matcher: Matcher) -> None:
    text, results = example
    given = notation.case(text)
    wanted = [result for only, result in results if only in ("", profile)]
    wrong = notation.disagreements(wanted or ["none"], given, matcher(given))
    assert not wrong, f"{text}\n" + "\n".join(wrong)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 60


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
@pytest.mark.parametrize("profile", ["flink", "fyke"])
def test_oracle(example: Example, profile: str) -> None:
    check(example, profile, oracle_matcher(profile))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
def test_engine(example: Example) -> None:
    check(example, "fyke", by_engine())
