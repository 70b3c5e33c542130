"""Automata of small patterns, spelt out: what one event does to a partial match in each state."""

from __future__ import annotations

import pytest

from fyke import Pattern, PatternError, begin, col, lit
from fyke import automaton as am

A, B, C = col.x == 1, col.x == 2, col.x == 3
NAMES = {A: "A", B: "B", C: "C"}
SECOND = 1_000_000_000


def text(guard: am.Guard) -> str:
    """A guard as a formula."""
    if guard.op == "const":
        return "always" if guard.value else "never"
    if guard.op == "cond":
        assert guard.cond is not None
        return NAMES[guard.cond]
    if guard.op == "not":
        return f"~{text(guard.args[0])}"
    return f"({(' & ' if guard.op == 'and' else ' | ').join(text(g) for g in guard.args)})"


def edge(e: am.FlatEdge) -> str:
    words = [f"{e.action} {text(e.guard)}"]
    if e.action != "stop":
        words.append(f"-> {e.target}")
    if e.gap is not None:
        words.append(f"within {e.gap // SECOND}s")
    if e.final != am.FALSE:
        words.append(f"completes {text(e.final)}")
    return " ".join(words)


def flat(pattern: Pattern) -> dict[str, list[str]]:
    """Every state, as number:stage, with its edges; a state that is neither start nor waiting says its kind."""
    states = am.flatten(am.build(pattern))
    out = {}
    for i, s in enumerate(states):
        name = f"{i}:{s.stage}" if s.kind in ("start", "normal") else f"{i}:{s.kind}"
        out[name if s.gap is None else f"{name} gap {s.gap // SECOND}s"] = [edge(e) for e in s.edges]
    return out


# --- contiguity and quantifiers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "waiting"),
    [
        (begin("a", A).next("b", B), ["take B -> 2"]),
        (begin("a", A).followed_by("b", B), ["take B -> 2", "ignore ~B -> 1"]),
        (begin("a", A).followed_by_any("b", B), ["take B -> 2", "ignore always -> 1"]),
    ],
)
def test_contiguity_says_what_a_wait_passes_over(pattern: Pattern, waiting: list[str]) -> None:
    """Strict: nothing; relaxed: what does not match; any: everything."""
    assert flat(pattern) == {"0:a": ["take A -> 1"], "1:b": waiting, "2:final": []}


def test_a_stage_without_condition_takes_every_event() -> None:
    """No condition is one that always holds."""
    assert flat(begin("a")) == {"0:a": ["take always -> 1"], "1:final": []}


def test_the_way_past_an_optional_stage_is_folded_into_edges() -> None:
    """No state is left whose only way out costs no event."""
    assert flat(begin("a", A).next("b", B).optional().next("c", C)) == {
        "0:a": ["take A -> 1"],
        "1:b": ["take B -> 2", "take C -> 3"],
        "2:c": ["take C -> 3"],
        "3:final": [],
    }


def test_before_an_optional_end_a_take_completes_and_waits_on() -> None:
    """The match without the optional event comes out at once; the partial match stays for the one with it."""
    assert flat(begin("a", A).next("b", B).optional()) == {
        "0:a": ["take A -> 1 completes always"],
        "1:b": ["take B -> 2"],
        "2:final": [],
    }


def test_a_loop_takes_passes_over_and_goes_on() -> None:
    """Having passed over an event, it has to take another before it can go on."""
    assert flat(begin("a", A).one_or_more().next("b", B)) == {
        "0:a": ["take A -> 1"],
        "1:a": ["take A -> 1", "ignore ~A -> 2", "take B -> 3"],
        "2:a": ["take A -> 1", "ignore ~A -> 2"],
        "3:final": [],
    }


def test_a_consecutive_loop_at_the_end_completes_with_each_event() -> None:
    """Its state passes over nothing."""
    assert flat(begin("a", A).one_or_more().consecutive()) == {
        "0:a": ["take A -> 1 completes always"],
        "1:a": ["take A -> 1 completes always"],
    }


def test_times_is_a_chain_of_states() -> None:
    """As many as it counts."""
    assert flat(begin("a", A).times(3).consecutive()) == {
        "0:a": ["take A -> 1"],
        "1:a": ["take A -> 2"],
        "2:a": ["take A -> 3"],
        "3:final": [],
    }


def test_a_greedy_loop_keeps_its_events_from_what_follows() -> None:
    """An event that both would take is the loop's."""
    assert flat(begin("a", A).one_or_more().greedy().next("b", B))["1:a"] == [
        "take A -> 1",
        "ignore ~A -> 2",
        "take (B & ~A) -> 3",
    ]


def test_until_ends_taking_and_passing_over() -> None:
    """The event that ends the loop is not taken by it, and may be the next stage's."""
    states = flat(begin("a", A).one_or_more().until(C).followed_by("b", B))
    assert states["0:a"] == ["take (~C & A) -> 1"]
    assert states["1:a"] == ["take (~C & A) -> 1", "ignore (~C & ~A) -> 2", "take B -> 3", "ignore ~B -> 4"]
    assert states["2:a"] == ["take (~C & A) -> 1", "ignore (~C & ~A) -> 2"]


def test_a_group_is_its_stages_again_and_again() -> None:
    """Between two rounds it passes over events as its inner contiguity says."""
    assert flat(begin(begin("a", A).next("b", B)).times(2)) == {
        "0:a": ["take A -> 1"],
        "1:b": ["take B -> 2"],
        "2:a": ["take A -> 3", "ignore ~A -> 2"],
        "3:b": ["take B -> 4"],
        "4:final": [],
    }


# --- negation -------------------------------------------------------------------------------------------------------


def test_not_followed_by_stops_while_the_next_stage_waits() -> None:
    """Its event ends the partial match, wherever the wait stands."""
    assert flat(begin("a", A).not_followed_by("n", B).followed_by("c", C)) == {
        "0:a": ["take A -> 1"],
        "1:c": ["take C -> 2", "ignore ~C -> 1", "stop B"],
        "2:final": [],
    }


def test_not_next_looks_at_one_event_only() -> None:
    """The same event is the next stage's if it is not the one that must not come."""
    assert flat(begin("a", A).not_next("n", B).next("c", C)) == {
        "0:a": ["take A -> 1"],
        "1:n": ["stop B", "take (~B & C) -> 2"],
        "2:final": [],
    }


def test_a_trailing_absence_waits_in_a_pending_state() -> None:
    """Time completes it, not an event."""
    assert flat(begin("a", A).not_followed_by("n", B).within("10s")) == {
        "0:a": ["take A -> 1"],
        "1:pending": ["stop B", "ignore ~B -> 1"],
    }


# --- what fyke does otherwise than Flink ----------------------------------------------------------------------------


def test_rule_g_a_full_greedy_loop_goes_on_as_if_it_were_not_greedy() -> None:
    """After times(1, 2) has taken two, the loop can hold nothing against b any more; after one, it still can."""
    states = flat(begin("a", A).times(1, 2).greedy().followed_by("b", B))
    assert states["1:a"] == ["take A -> 2", "ignore ~A -> 3", "take (B & ~A) -> 4", "ignore (~B & ~A) -> 5"]
    assert states["2:b"] == ["take B -> 4", "ignore ~B -> 2"]
    assert states["5:b"] == ["take (B & ~A) -> 4", "ignore (~B & ~A) -> 5"]


def test_rule_n_every_length_of_a_loop_waits_for_the_absence_by_itself() -> None:
    """Each take branches into the loop and into a pending state of its own."""
    states = flat(begin("a", A).one_or_more().not_followed_by("n", B).within("10s"))
    assert states["0:a"] == ["take A -> 1", "take A -> 2"]
    assert states["1:a"][:2] == ["take A -> 1", "take A -> 2"]
    assert states["2:pending"] == ["stop B", "ignore ~B -> 2"]


def test_the_gap_of_one_stage_is_a_timer_of_its_wait() -> None:
    """It ends the partial match, as in Flink."""
    assert flat(begin("a", A).followed_by("b", B).within(gap="5s"))["1:b gap 5s"] == ["take B -> 2", "ignore ~B -> 1"]


def test_rule_w_the_gap_of_a_loop_closes_its_edges_and_leaves_the_way_on_open() -> None:
    """Past the gap the loop takes no more, but the match goes on to c; only a wait inside the loop times out."""
    states = flat(begin("a", A).followed_by("b", B).one_or_more().within(gap="5s").followed_by("c", C))
    assert states["1:b gap 5s"] == ["take B -> 2", "ignore ~B -> 1"]
    assert states["2:b"] == ["take B -> 2 within 5s", "ignore ~B -> 3 within 5s", "take C -> 4", "ignore ~C -> 5"]
    assert states["3:b gap 5s"] == ["take B -> 2", "ignore ~B -> 3"]
    assert states["5:c"] == ["take C -> 4", "ignore ~C -> 5"]


# --- guards ---------------------------------------------------------------------------------------------------------

a, b, c = am.cond(A), am.cond(B), am.cond(C)


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (am.cond(None), "always"),
        (am.neg(am.TRUE), "never"),
        (am.neg(am.neg(a)), "A"),
        (am.both(), "always"),
        (am.both(a, am.TRUE), "A"),
        (am.both(a, am.FALSE), "never"),
        (am.both(a, a, b), "(A & B)"),
        (am.both(a, am.both(b, c)), "(A & B & C)"),
        (am.both(a, am.neg(a)), "never"),
        (am.both(am.neg(a), b, am.neg(am.neg(a))), "never"),
        (am.either(), "never"),
        (am.either(a, am.FALSE), "A"),
        (am.either(a, am.TRUE), "always"),
        (am.either(a, am.neg(a)), "always"),
        (am.either(a, b), "(A | B)"),
        (am.either(am.both(a, b), c), "((A & B) | C)"),
    ],
)
def test_guards_are_simplified_as_they_are_made(guard: am.Guard, expected: str) -> None:
    """Constants vanish, doubles too, and what contradicts itself is false."""
    assert text(guard) == expected


@pytest.mark.parametrize("true", [frozenset(), frozenset({A}), frozenset({A, B}), frozenset({C})])
def test_a_simplified_guard_means_the_same(true: frozenset) -> None:
    """Judged by hand, condition by condition."""
    x, y, z = A in true, B in true, C in true
    assert am.holds(am.both(a, am.either(b, am.neg(c))), true) == (x and (y or not z))
    assert am.holds(am.either(am.both(a, b), am.neg(am.both(a, c))), true) == ((x and y) or not (x and z))
    assert am.holds(am.neg(am.either(a, b, c)), true) == (not (x or y or z))


def test_guards_over_constants_are_compared_as_trees() -> None:
    """A constant beside a condition of another kind: equality of the expressions themselves has no truth value."""
    constant = am.cond(lit(False))
    assert constant != a
    assert am.both(constant, a, constant).args == (constant, a)
    assert am.both(a, constant, am.neg(a)) == am.FALSE
    assert len({constant, am.cond(lit(False)), a}) == 2


# --- the construction -----------------------------------------------------------------------------------------------


def test_states_are_only_those_that_a_partial_match_can_be_in() -> None:
    """Every state but the start is the target of an edge, and the start of none."""
    pattern = (
        begin("a", A)
        .times(2, 3)
        .greedy()
        .followed_by(begin("b", B).next("c", C).optional())
        .one_or_more()
        .followed_by("d")
    )
    states = am.flatten(am.build(pattern))
    targets = {e.target for s in states for e in s.edges if e.action != "stop"}
    assert targets == set(range(1, len(states)))
    assert [s.kind for s in states].count("start") == 1
    assert states[0].kind == "start"


def test_building_twice_gives_the_same() -> None:
    """No state of one construction reaches the next."""
    pattern = begin("a", A).one_or_more().greedy().until(C).followed_by("b", B).within("1m")
    assert am.flatten(am.build(pattern)) == am.flatten(am.build(pattern))


def test_too_many_ways_past_optional_parts_are_an_error_and_no_endless_compile() -> None:
    """Nested optional groups multiply the epsilon paths."""
    pattern = begin("start", A)
    for i in range(40):
        inner = begin(f"a{i}", A).optional().followed_by(f"b{i}", B).optional().followed_by(f"c{i}", C).optional()
        pattern = pattern.followed_by(inner).optional()
    with pytest.raises(PatternError, match="ways past its optional parts"):
        am.flatten(am.build(pattern))
