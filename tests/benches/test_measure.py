"""The bench harness itself: what it measures, what it flags, what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benches import report, workloads
from benches.__main__ import parse, slope
from benches.case import Case, Outcome, Subject, Target
from benches.measure import measure


def test_subjects_run_in_turn_and_only_work_is_timed() -> None:
    """A B A B ...: what disturbs a round disturbs all."""
    seen: list[str] = []

    def subject(name: str) -> Subject:
        def work(_: object) -> Outcome:
            seen.append(name)
            return Outcome(7, {f"{name}_us": 2.0})

        return Subject(work)

    target = Target("a claim", 3.0, lambda s: s["engine_us"])
    result = measure(Case(10, None, subject("engine"), subject("limit"), targets=(target,)), rounds=2)
    assert seen == ["engine", "limit"] * 3
    assert result["matches"] == 7
    assert result["wrong_counts"] == {}
    assert result["targets"] == [{"target": "a claim", "bound": 3.0, "got": 2.0, "met": True}]
    assert len(result["rounds_s"]["engine"]) == 2


def test_a_wrong_count_is_flagged() -> None:
    """Of engine and peers, against the published count, or else the limit's."""
    case = Case(10, None, Subject(lambda _: 6), Subject(lambda _: 7), peers={"other": Subject(lambda _: 7)})
    assert measure(case, rounds=1)["wrong_counts"] == {"engine": [6]}
    assert measure(Case(10, 6, Subject(lambda _: 6), Subject(lambda _: 7)), rounds=1)["wrong_counts"] == {"limit": [7]}


def test_a_wrong_total_is_flagged() -> None:
    """Where as many results come, but not the right ones; rounding is no mistake."""
    ours, theirs = Subject(lambda _: Outcome(6, total=1.0 + 1e-12)), Subject(lambda _: Outcome(6, total=1.1))
    assert measure(Case(10, 6, ours, peers={"other": theirs}, total=1.0), rounds=1)["wrong_counts"] == {
        "other, by total": [1.1]
    }


def test_without_the_engine_nothing_of_fyke_runs() -> None:
    """Limits and peers can be measured before there is an engine."""

    def fail() -> None:
        raise AssertionError("fyke was run")

    ours = Subject(lambda _: 1, fail, is_fyke=True)
    result = measure(Case(10, 1, ours, Subject(lambda _: 1), references={"ours": ours}), rounds=1, engine=False)
    assert result["events_per_s"] is None
    assert result["references"] == {}


def test_every_workload_defines_what_a_workload_defines() -> None:
    """A file in workloads/ joins the command by being there."""
    assert {"fraud", "vshape", "equal-join"} <= set(workloads.names())
    for name in workloads.names():
        module = workloads.load(name)
        assert module.ROWS > 0
        assert len(module.VARIANTS) >= 1
        assert callable(module.case)


def test_unknown_workloads_and_no_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An exit with the names there are."""
    with pytest.raises(SystemExit):
        parse(["--only", "fruad"])
    assert "fraud" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--rounds", "0"])


def test_results_merge_by_variant_and_n(tmp_path: Path) -> None:
    """A run of one workload replaces its own lines in the file of a run of all."""
    path = tmp_path / "results.json"
    report.write([{"variant": "a", "n": 1, "x": 1}, {"variant": "b", "n": 1, "x": 1}], path, merge=True)
    report.write([{"variant": "a", "n": 1, "x": 2}], path, merge=True)
    assert json.loads(path.read_text()) == [{"variant": "b", "n": 1, "x": 1}, {"variant": "a", "n": 1, "x": 2}]


def test_slope_is_the_exponent() -> None:
    """Quadratic time has slope 2."""
    results = [{"n": n, "events_per_s": 1e6 / n} for n in (1_000, 2_000, 4_000)]
    assert slope(results) == pytest.approx(2.0)
