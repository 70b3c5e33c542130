"""The named deviations of profile fyke (docs/semantics.md): which of them touch a case.

A rule touches a case if the case's pattern uses what the rule is about, or its results in the file show it; that says
nothing yet about whether the results differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.oracle import FLINK, run_case

from .cases import Case, bag, differences, outcome_of

RULES = "TDGWNER"

ONLY_TIES = replace(FLINK, name="flink with fyke's order of ties", ordered_ties=True)


def touching(case: Case) -> str:
    """Return the letters of the rules that touch the case, in the order of RULES."""
    stages = case["pattern"]["stages"]
    touched = {
        "T": hangs_on_ties(case),
        "D": any(count > 1 for count in bag(case["matches"]).values()),
        "G": any(greedy_range(stage) for stage in walk(stages)),
        "W": any(bounded_loop(stage) for stage in walk(stages)),
        "N": absence_after_loop(stages),
        "E": "fine" in case,
        "R": case["error_kind"] == "compile" or crashed(case),
    }
    return "".join(rule for rule in RULES if touched[rule])


def walk(stages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield all stages, those in groups too."""
    for stage in stages:
        yield stage
        if stage.get("group"):
            yield from walk(stage["group"]["stages"])


def kind(stage: dict[str, Any]) -> str:
    """Return the kind of a stage's quantifier."""
    return str((stage.get("quantifier") or {}).get("kind", "one"))


def hangs_on_ties(case: Case) -> bool:
    """T: under a skip strategy, another order of equally early matches gives other matches or timeouts.

    The file's flag is set where two queues, first in first out and last in first out, give different results. A third
    order may differ although these two agree, so the oracle also tries fyke's.
    """
    if case["ties"] == "set":
        return True
    skip = case["pattern"].get("skip") or {"kind": "no_skip"}
    if skip["kind"] == "no_skip" or case["error_kind"] == "compile" or crashed(case):
        return False
    return bool(differences(outcome_of(case), outcome_of(run_case(case, ONLY_TIES))))


def crashed(case: Case) -> bool:
    """R: a runtime error that no skip strategy has asked for is a crash of Flink's."""
    skip = case["pattern"].get("skip") or {}
    return case["error_kind"] == "runtime" and not skip.get("throw")


def greedy_range(stage: dict[str, Any]) -> bool:
    """G: greedy, with a minimum and a larger maximum."""
    quantifier = stage.get("quantifier") or {}
    ranged = kind(stage) == "times" and quantifier.get("max") not in (None, quantifier["min"])
    return bool(quantifier.get("greedy")) and ranged


def bounded_loop(stage: dict[str, Any]) -> bool:
    """W: a gap bound on a loop or a group."""
    if (stage.get("quantifier") or {}).get("within") is not None:
        return True
    return stage.get("within") is not None and (kind(stage) != "one" or bool(stage.get("group")))


def absence_after_loop(stages: list[dict[str, Any]]) -> bool:
    """N: a trailing not_followed_by (also at the end of a group that ends the pattern) after a loop or a group."""
    last = stages[-1]
    if last.get("group"):
        return absence_after_loop(last["group"]["stages"])
    if last["contiguity"] != "not_followed_by" or len(stages) < 2:
        return False
    before = stages[-2]
    return kind(before) != "one" or bool(before.get("group"))
