"""The planner: which patterns are run as strict sequences, and what explain() says of the others."""

from __future__ import annotations

import pytest

import fyke
from fyke import Pattern, begin, col, prev, ref

A, B = col.x > 1, col.x < 1
TWO = begin("a", A).next("b", B)


def explained(pattern: Pattern, **options: str) -> list[str]:
    return fyke.Engine(pattern, time="t", unit="s", max_partials=9, **options).explain().splitlines()


@pytest.mark.parametrize(
    ("pattern", "n_events"),
    [
        (TWO, 2),
        (TWO.by("k").within("5s").skip(fyke.skip.past_last_event()), 2),
        (begin("a").next("b", col.x > prev.x, ~(col.x == 3)).next("c", (col.x < 2) | (prev.x > 3)), 3),
        (begin("a", A).times(3).consecutive().next("b", B).times(2).consecutive(), 5),
        (TWO.next(begin("c", A).next("d", B)).within(gap="5s"), 4),
        (begin("a").times(32).consecutive(), 32),
    ],
)
def test_a_chain_of_neighbouring_events_is_run_as_a_strict_sequence(pattern: Pattern, n_events: int) -> None:
    assert f"pattern 0: strict sequence ({n_events} events)" in explained(pattern)
    assert "  why: no event lies between two of a match, and each condition is a bit" in explained(pattern)


SKIPS = "  why: a match can skip events, or take more or fewer of them"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (begin("a", A).followed_by("b", B), SKIPS),
        (begin("a", A).followed_by_any("b", B).followed_by("c", A), SKIPS),
        (TWO.optional(), SKIPS),
        (TWO.one_or_more().consecutive(), SKIPS),
        (TWO.times(2), SKIPS),
        (TWO.times(1, 2).consecutive(), SKIPS),
        (TWO.not_next("c", A), SKIPS),
        (TWO.not_followed_by("c", A).within("5s"), SKIPS),
        (begin("a", A), "  why: a match is a single event"),
        (begin("a").times(33).consecutive(), "  why: a match has 33 events, over 32"),
        (
            begin("a", A).next("b", col.x < ref("a").x),
            "  why: a condition reads earlier events of the match (prev would do)",
        ),
    ],
)
def test_any_other_pattern_is_run_in_general_and_explain_says_why(pattern: Pattern, why: str) -> None:
    lines = explained(pattern)
    assert any(line.startswith("pattern 0: general runs (") for line in lines)
    assert why in lines


ANY = begin("a", A).followed_by_any("b", B).within("5s")


@pytest.mark.parametrize(
    ("pattern", "n_states"),
    [
        (ANY, 2),
        (ANY.by("k").followed_by_any("c", col.x == 3), 3),
        (ANY.one_or_more().allow_combinations().followed_by_any("c", col.x == 3), 3),
        (ANY.times(2, 4).allow_combinations().followed_by_any("c"), 6),
        (ANY.optional().followed_by_any("c", A), 3),
        (ANY.optional().followed_by_any("c", A).followed_by_any("d", B), None),
    ],
)
def test_a_pattern_that_passes_over_any_event_is_run_as_a_compact_set(pattern: Pattern, n_states: int | None) -> None:
    lines = fyke.Engine(pattern, time="t", unit="s").explain().splitlines()
    if n_states is None:
        assert "  why: an event can stand in one of several stages" in lines
    else:
        assert f"pattern 0: compact set ({n_states} states)" in lines
        assert "  why: any event may be passed over, and each condition reads the event alone" in lines


@pytest.mark.parametrize(
    ("pattern", "options", "why"),
    [
        (ANY, {"timeouts": True}, "timeouts= looks at partial matches one by one"),
        (ANY, {"max_partials": 9}, "max_partials= looks at partial matches one by one"),
        (ANY, {"key_ttl": "1h"}, "key_ttl= looks at partial matches one by one"),
        (ANY.skip(fyke.skip.past_last_event()), {}, "its skip strategy ends partial matches"),
        (begin("a", A).followed_by_any("b", col.x > ref("a").x).within("5s"), {}, "a condition reads earlier events"),
        (begin("a", A).followed_by_any("b", col.x > prev.x).within("5s"), {}, "a condition reads earlier events"),
        (ANY.followed_by("c", A), {}, "a match can skip events, or take more or fewer of them"),
        (ANY.within(gap="1s"), {}, "a gap bounds a wait"),
        (begin("a", A).one_or_more().allow_combinations().within("5s"), {}, "a match can be a single event"),
        (ANY.not_followed_by("n", col.x == 7).followed_by_any("c", A), {}, "an event can end a partial match"),
    ],
)
def test_what_needs_partial_matches_one_by_one_is_run_in_general(
    pattern: Pattern, options: dict[str, object], why: str
) -> None:
    assert f"  why: {why}" in fyke.Engine(pattern, time="t", unit="s", **options).explain().splitlines()  # type: ignore[call-overload]


def test_the_general_strategy_can_be_asked_for() -> None:
    lines = explained(TWO, strategy="general")
    assert any(line.startswith("pattern 0: general runs (") for line in lines)
    assert '  why: strategy="general"' in lines


@pytest.mark.parametrize("strategy", ["strict", "", None, 1, ["auto"]])
def test_a_strategy_that_is_not_there_is_refused(strategy: object) -> None:
    with pytest.raises(fyke.DefinitionError, match=r"strategy=.*: expected 'auto' or 'general'"):
        fyke.Engine(TWO, time="t", strategy=strategy)  # type: ignore[arg-type]
