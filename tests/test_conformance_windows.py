"""The corpora of Flink's results for windows and joins: the oracle in both profiles, and the rules."""

from __future__ import annotations

import io
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cases import CORPORA, Case, read
from tests.conformance.join_adapter import run_join_on_engine
from tests.conformance.kinds import kind_for
from tests.conformance.runner import Expectation, Report, expected, judge, main, oracle_matcher
from tests.conformance.window_adapter import run_window_on_engine

CASES = {"windows_public": 1500, "joins_public": 600, "probes": 90}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case for corpus in CASES for case in read(CORPORA / f"{corpus}.jsonl.gz")]


@pytest.fixture(scope="module")
def expectations(cases: list[Case]) -> list[Expectation]:
    """What is wanted in profile fyke; asking the oracle takes most of the time of these tests, so it is done once."""
    return [expected(case, "fyke") for case in cases]


def agree(cases: list[Case], expectations: list[Expectation], profile: str) -> Report:
    """Judge the oracle in a profile; fail with the runner's own report unless every case agrees."""
    matcher = oracle_matcher(profile)
    report = Report([judge(case, matcher, wanted) for case, wanted in zip(cases, expectations, strict=True)])
    *lines, last = report.lines(verbose=False)
    assert last.startswith("conformance: 2190 of 2190 cases agree"), "\n".join([*lines, last])
    return report


@pytest.mark.parametrize(("corpus", "size"), CASES.items())
def test_the_corpora_are_whole(corpus: str, size: int) -> None:
    assert sum(1 for _ in read(CORPORA / f"{corpus}.jsonl.gz")) == size


def test_oracle_in_profile_flink_gives_what_flink_gives(cases: list[Case]) -> None:
    assert not agree(cases, [expected(case, "flink") for case in cases], "flink").deviating


def test_oracle_in_profile_fyke_deviates_by_named_rules_only(
    cases: list[Case], expectations: list[Expectation]
) -> None:
    report = agree(cases, expectations, "fyke")
    found = {rule: [v for v in report.verdicts if v.rules == rule and v.deviates] for rule in "HVOCUJ"}
    assert {rule for rule, verdicts in found.items() if verdicts} == set("HOCJ")
    assert not found["V"], "what falls in no window is in both files and profiles; fyke also tells it to the user"
    assert not found["U"], "what a count trigger holds at the end comes out on request only"


@pytest.mark.parametrize(("batch", "every"), [("1", 3), ("7", 2), ("all", 1)])
def test_engine_agrees(batch: str, every: int, cases: list[Case], expectations: list[Expectation]) -> None:
    """All cases in one batch, some of them in smaller ones."""

    def matcher(case: Case) -> Any:
        return run_join_on_engine(case, batch) if "join" in case else run_window_on_engine(case, batch)

    some = list(zip(cases, expectations, strict=True))[::every]
    verdicts = [judge(case, matcher, wanted) for case, wanted in some]
    assert not [f"{verdict.id}: {verdict.wrong}" for verdict in verdicts if verdict.wrong]


def test_the_command_knows_the_kind_of_each_case(tmp_path: Path, cases: list[Case]) -> None:
    mixed = tmp_path / "mixed.jsonl"
    pattern = next(read(CORPORA / "itcases.jsonl.gz"))
    mixed.write_text("".join(json.dumps(case) + "\n" for case in [pattern, *cases[-90:], *cases[:100]]))
    out = io.StringIO()
    assert main([str(mixed), "--matcher", "oracle"], out) == 0
    *rules, last = out.getvalue().splitlines()
    assert re.fullmatch(r"conformance: 191 of 191 cases agree \(\d+ deviate as documented\)", last)
    for line in rules:
        assert re.match(r"rule [HVOCJU]: touches \d+, \d+ of these equal Flink anyway, \d+ do not", line)


def swap(rows: list[Any], i: int, j: int) -> None:
    rows[i], rows[j] = rows[j], rows[i]


def test_a_wrong_result_of_a_window_is_seen(cases: list[Case]) -> None:
    case = next(c for c in cases if "window" in c and c["late"] and len({r["at"] for r in c["output"]}) > 2)
    for spoil in (
        lambda got: got.rows.pop(),
        lambda got: got.rows[0].update(sum=got.rows[0]["sum"] + 1),
        lambda got: got.rows[0].update(at=got.rows[0]["at"] + 1),
        lambda got: swap(got.rows, 0, -1),
        lambda got: got.late.pop(),
        lambda got: got.no_window.append(0),
        lambda got: setattr(got, "failed", True),
    ):
        assert spoiled(case, spoil)


def test_a_wrong_result_of_a_join_is_seen(cases: list[Case]) -> None:
    case = next(c for c in cases if "join" in c and c["late"] and c["output"])
    for spoil in (
        lambda got: got.rows.pop(),
        lambda got: got.rows[0].update(ts=got.rows[0]["ts"] + 1),
        lambda got: got.late.pop(),
        lambda got: got.dropped.append(0),
    ):
        assert spoiled(case, spoil)


def spoiled(case: Case, spoil: Any) -> bool:
    """Whether the judge notices that the recorded results have been spoiled."""
    outcome = kind_for(case).recorded(deepcopy(case))
    assert not judge(case, lambda _: outcome, expected(case, "flink")).wrong
    spoil(outcome)
    return bool(judge(case, lambda _: outcome, expected(case, "flink")).wrong)


def test_what_one_key_gets_comes_in_order_and_so_do_the_ends_of_windows(cases: list[Case]) -> None:
    case = next(c for c in cases if c.get("text", "").startswith("tumbling 10 ; a@25 b@5 a@5 c@15 winf"))
    outcome = kind_for(case).recorded(deepcopy(case))
    swap(outcome.rows, 0, 1)  # two windows with the same end: in any order
    assert not judge(case, lambda _: outcome, expected(case, "flink")).wrong
    swap(outcome.rows, 0, 3)
    assert judge(case, lambda _: outcome, expected(case, "flink")).wrong
