"""The corpora of Flink's results for patterns: the oracle in both profiles, and the engine."""

from __future__ import annotations

import io
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import fyke
from tests.conformance.cases import CORPORA, Case, NotACorpus, Outcome, differences, outcome_of, read
from tests.conformance.engine_adapter import run_on_engine
from tests.conformance.runner import Expectation, Report, expected, judge, main, oracle_matcher
from tests.oracle import FYKE, run_case
from tests.unit.corpus_patterns import to_pattern

CASES = {"itcases": 232, "random_public": 3000}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case for corpus in CASES for case in read(CORPORA / f"{corpus}.jsonl.gz")]


@pytest.fixture(scope="module")
def expectations(cases: list[Case]) -> list[Expectation]:
    """What is wanted in profile fyke; asking the oracle takes most of the time of these tests, so it is done once."""
    return [expected(case, "fyke") for case in cases]


def check(report: Report) -> None:
    """Fail with the runner's own report unless every case agrees."""
    *lines, last = report.lines(verbose=False)
    assert last.startswith("conformance: 3232 of 3232 cases agree"), "\n".join([*lines, last])


@pytest.mark.parametrize(("corpus", "size"), CASES.items())
def test_the_corpora_are_whole(corpus: str, size: int) -> None:
    assert sum(1 for _ in read(CORPORA / f"{corpus}.jsonl.gz")) == size


def test_oracle_in_profile_flink_gives_what_flink_gives_in_its_order(cases: list[Case]) -> None:
    for case in cases:
        outcome = oracle_matcher("flink")(case)
        assert not differences(outcome_of(case), outcome), case["id"]
        assert outcome.matches == case["matches"], case["id"]


def test_oracle_in_profile_fyke_deviates_by_named_rules_only(
    cases: list[Case], expectations: list[Expectation]
) -> None:
    matcher = oracle_matcher("fyke")
    check(Report([judge(case, matcher, wanted) for case, wanted in zip(cases, expectations, strict=True)]))


@pytest.mark.parametrize(("batch", "every"), [("1", 1), ("7", 4), ("all", 4)])
def test_engine_agrees(batch: str, every: int, cases: list[Case], expectations: list[Expectation]) -> None:
    """All cases event by event, a quarter of them in larger batches: most of the time goes into compiling patterns.

    The runner does all of them in any size: FYKE_CONFORMANCE_BATCH=7 python tests/conformance.py
    """
    verdicts = [
        judge(case, lambda case: run_on_engine(case, batch), wanted)
        for case, wanted in list(zip(cases, expectations, strict=True))[::every]
    ]
    assert not [f"{verdict.id}: {verdict.wrong}" for verdict in verdicts if verdict.wrong]


def run_strictly(case: Case) -> bool:
    """Whether the planner takes the strict strategy for the case."""
    try:
        pattern = to_pattern(case["pattern"])
    except fyke.DefinitionError:
        return False
    return "strict sequence" in fyke.Engine(pattern, time="t", unit="ns", max_partials=1).explain()


def test_the_general_strategy_agrees_where_another_is_chosen(
    cases: list[Case], expectations: list[Expectation]
) -> None:
    """Every case has then run by every strategy that takes it, in any size of batch."""
    taken = [(case, wanted) for case, wanted in zip(cases, expectations, strict=True) if run_strictly(case)]
    assert len(taken) >= 54
    for strategy in ("auto", "general"):
        for batch in ("1", "7", "all"):
            verdicts = [
                judge(case, lambda case: run_on_engine(case, batch, strategy), wanted)  # noqa: B023
                for case, wanted in taken
            ]
            assert not [f"{strategy}, {verdict.id}: {verdict.wrong}" for verdict in verdicts if verdict.wrong]


def run_compactly(case: Case) -> bool:
    """Whether the planner takes a compact set for the case, if nobody asks for partial matches one by one."""
    stages = case["pattern"]["stages"]
    if any(stage.get("contiguity") not in ("begin", "followed_by_any") for stage in stages):
        return False
    try:
        pattern = to_pattern(case["pattern"])
    except fyke.DefinitionError:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some have no window
        return "compact set" in fyke.Engine(pattern, time="t", unit="ns").explain()


@pytest.mark.parametrize("batch", ["1", "7", "all"])
def test_compact_sets_agree(batch: str, cases: list[Case], expectations: list[Expectation]) -> None:
    taken = [(case, wanted) for case, wanted in zip(cases, expectations, strict=True) if run_compactly(case)]
    assert len(taken) >= 10
    for case, wanted in taken:
        found = run_on_engine(case, batch, timeouts=False)
        assert not differences(replace(wanted.outcome, timeouts=[]), found), case["id"]


def test_the_command_prints_figures_and_ids_per_rule(tmp_path: Path, cases: list[Case]) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(case) + "\n" for case in cases[:300]))
    out = io.StringIO()
    assert main([str(few), "--matcher", "oracle"], out) == 0
    *rules, last = out.getvalue().splitlines()
    assert re.fullmatch(r"conformance: 300 of 300 cases agree \(\d+ deviate as documented\)", last)
    for line in rules:
        assert re.match(r"rule [TDGWNER]: touches \d+, \d+ of these equal Flink anyway, \d+ do not", line)


def test_a_wrong_result_is_seen(cases: list[Case]) -> None:
    case = cases[0]
    for spoil in (
        lambda outcome: outcome.matches.pop() and outcome.match_at.pop(),
        lambda outcome: outcome.match_at.__setitem__(0, ["time", None]),
        lambda outcome: outcome.timeouts.append({"partial": {}, "t": 1, "at": None}),
        lambda outcome: setattr(outcome, "error_kind", "compile"),
    ):
        outcome = oracle_matcher("fyke")(case)
        spoil(outcome)
        assert judge(case, lambda _, outcome=outcome: outcome, expected(case, "fyke")).wrong


def test_order_within_a_call_and_text_of_refusals_do_not_count() -> None:
    one, two = {"a": [0]}, {"a": [1]}
    at = [["event", 1], ["event", 1]]
    assert not differences(Outcome([one, two], at), Outcome([two, one], at))
    assert not differences(Outcome(error_kind="compile"), Outcome(error_kind="compile", error_at=None))


def test_a_file_of_something_else_is_refused_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(json.dumps({"id": "q", "query": {"kind": "select"}}) + "\n")
    with pytest.raises(NotACorpus, match="no case of a known kind"):
        list(read(queries))
    assert main([str(queries), "--matcher", "oracle"]) == 2
    assert "'pattern', 'window', 'join'" in capsys.readouterr().err


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": \n')
    with pytest.raises(NotACorpus, match=r"broken.jsonl:1: not JSON"):
        list(read(broken))


def test_the_oracle_says_why_it_refuses(cases: list[Case]) -> None:
    refused = [case for case in cases if case["error_kind"] == "compile"]
    assert len(refused) == 56
    assert all(run_case(case, FYKE).error for case in refused)
