"""The kinds of corpora, and what the runner must know of each: results, rules, and who gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.oracle import FYKE, PROFILES, run_case

from . import cases, join_cases, rules, window_cases
from .cases import Case

Outcome = Any  # each kind has its own
Matcher = Callable[[Case], Outcome]


@dataclass(frozen=True)
class Kind:
    """One kind of corpus.

    Attributes:
        rules: letters of the deviations that can touch a case.
        touching: letters of those that do.
        recorded: what the file says that Flink gives.
        by_rules: what profile fyke wants of a case that these rules touch.
        by_oracle: what the oracle gives in a profile.
        differences: in what an outcome differs from the one wanted.
    """

    rules: str
    touching: Callable[[Case], str]
    recorded: Callable[[Case], Outcome]
    by_rules: Callable[[Case, str], Outcome]
    by_oracle: Callable[[Case, str], Outcome]
    differences: Callable[[Case, Outcome, Outcome], list[str]]


def pattern_by_rules(case: Case, touched: str) -> cases.Outcome:
    """What fyke gives for a pattern. For D and E the file itself tells: Flink's with fine time, each match once."""
    if not set(touched) <= set("ED"):
        return cases.outcome_of(run_case(case, FYKE))
    finely = cases.Outcome(**case["fine"], error_kind=None) if "E" in touched else cases.outcome_of(case)
    return cases.once(finely) if "D" in touched else finely


KINDS = {
    "pattern": Kind(
        rules.RULES,
        rules.touching,
        cases.outcome_of,
        pattern_by_rules,
        lambda case, profile: cases.outcome_of(run_case(case, PROFILES[profile])),
        lambda case, wanted, got: cases.differences(wanted, got),
    ),
    "window": Kind(
        window_cases.WINDOW_RULES,
        window_cases.touching,
        window_cases.recorded,
        lambda case, touched: window_cases.by_oracle(case, "fyke"),
        window_cases.by_oracle,
        window_cases.differences,
    ),
    "join": Kind(
        join_cases.JOIN_RULES,
        join_cases.touching,
        join_cases.recorded,
        lambda case, touched: join_cases.by_oracle(case, "fyke"),
        join_cases.by_oracle,
        join_cases.differences,
    ),
}

ALL_RULES = "".join(dict.fromkeys(letter for kind in KINDS.values() for letter in kind.rules))


def kind_for(case: Case) -> Kind:
    """The kind of a case that `read` has let through."""
    return KINDS[cases.kind_of(case)]


def by_engine(strategy: str | None = None) -> Matcher:
    """Return the engine as a matcher, patterns run by the strategy given or by the environment's.

    Imported late, so that the oracle runs without a built engine.
    """
    from .engine_adapter import run_on_engine
    from .join_adapter import run_join_on_engine
    from .window_adapter import run_window_on_engine

    adapters: dict[str, Matcher] = {
        "pattern": lambda case: run_on_engine(case, strategy=strategy),
        "window": run_window_on_engine,
        "join": run_join_on_engine,
    }

    return lambda case: adapters[cases.kind_of(case)](case)
