"""What patterns become: bits shared by all, guards, states that need not look, run registers; and errors on the way."""

from __future__ import annotations

from typing import Any

import pytest

from fyke import (
    DefinitionError,
    Pattern,
    PatternError,
    Schema,
    SchemaError,
    begin,
    call,
    col,
    func,
    lit,
    prev,
    ref,
)
from fyke.compiler import compile_plan
from tests.unit.plan_tables import NONE, bits, edges, guard, ops, read_plan, states

SCHEMA = Schema.of(amount="float64", n="int64", card="string", country="string", ok="bool", ts="timestamp")
A, B = col.amount > 1, col.amount > 2


def compiled(*patterns: Pattern) -> Any:
    return read_plan(compile_plan(patterns, SCHEMA).tables)


def is_odd(event: Any) -> bool:
    """Stand in for a row condition in Python."""
    return bool(event["n"] % 2)


def is_more(event: Any, match: Any) -> bool:
    """Stand in for a condition in Python that reads the match so far."""
    return bool(event["n"] > match["a"][-1]["n"])


# --- conditions -----------------------------------------------------------------------------------------------------


def test_patterns_that_have_a_condition_share_its_bit() -> None:
    """It is judged once for a row, however many patterns ask."""
    plan = compiled(begin("a", A).followed_by("b", B), begin("c", B).followed_by("d", A))
    assert ops(plan, plan.row_program).count("bit") == 2
    first, second = plan.patterns
    assert edges(plan, plan.states[first.first_state]) == ["take if bit 0 -> 1"]
    assert edges(plan, plan.states[second.first_state]) == ["take if bit 1 -> 4"]
    assert edges(plan, plan.states[second.first_state + 1]) == ["take if bit 0 -> 5", "ignore if not bit 0 -> 4"]


def test_what_conditions_have_in_common_is_computed_once() -> None:
    """A column is read once for the whole row program, a common part too."""
    plan = compiled(begin("a", col.amount * 2 > 1).followed_by("b", (col.amount * 2 > 3) & (col.n == 1)))
    assert [op for op in ops(plan, plan.row_program) if op in ("load", "mul_f")] == ["load", "mul_f", "load"]


def test_a_condition_is_split_at_its_and() -> None:
    """What reads the row is one bit, what reads the event before another, what reads the match a program after them."""
    plan = compiled(begin("a").followed_by("b", A & (col.n == ref("a").n) & (prev.n < col.n) & col.ok).by("card"))
    assert guard(plan, plan.edges[states(plan)[1].first_edge].guard) == (
        "bit 0; false-> 5; bit 1; false-> 5; condition 0"
    )
    assert ops(plan, plan.row_program)[-2:] == ["and", "bit"]
    (keyspace,) = plan.keyspaces
    assert keyspace.needs_lag
    assert ops(plan, keyspace.lag_program)[-2:] == ["lt_i", "bit"]
    assert ops(plan, plan.conditions[0].program)[-2:] == ["eq_i", "result"]


def test_conditions_beyond_64_take_another_word() -> None:
    """And care words are as wide."""
    pattern = begin("s0", col.n == 0)
    for i in range(1, 70):
        pattern = pattern.followed_by(f"s{i}", col.n == i)
    plan = compiled(pattern)
    assert plan.mask_words == 2
    assert bits(plan, plan.patterns[0].first_care) == set(range(70))
    assert bits(plan, states(plan)[69].first_care) == {69}


def test_a_condition_on_the_match_is_a_program_of_its_pattern() -> None:
    """Two patterns with the same text have each their own: it reads their registers."""
    p = begin("a").followed_by("b", col.n == ref("a").n)
    plan = compiled(p, p)
    assert [c.pattern for c in plan.conditions] == [0, 1]


# --- guards ---------------------------------------------------------------------------------------------------------


def test_a_guard_of_several_conditions_is_short_circuit_code() -> None:
    """Bits first, then programs, then Python, as each costs more than the one before."""
    condition = call(is_more) & (col.n > ref("a").n.sum()) & A
    plan = compiled(begin("a").followed_by("b", condition))
    take = plan.edges[states(plan)[1].first_edge]
    assert guard(plan, take.guard) == "bit 0; false-> 5; condition 0; false-> 5; condition 1"
    assert plan.conditions[0].program != NONE
    assert (plan.conditions[1].program, plan.conditions[1].callable) == (NONE, 0)


def test_a_greedy_loop_guards_with_a_negation() -> None:
    """b is taken only if the loop does not want it."""
    plan = compiled(begin("a", A).one_or_more().greedy().next("b", B))
    take_b = plan.edges[states(plan)[1].first_edge + 2]
    assert guard(plan, take_b.guard) == "bit 1; false-> 4; bit 0; not"


def test_callables_combine_as_guards() -> None:
    """A negation goes down to what is judged, where null is known not to hold either way."""
    plan = compiled(begin("a").followed_by("b", ~(call(is_more) | A)))
    take = plan.edges[states(plan)[1].first_edge]
    assert guard(plan, take.guard) == "bit 0; false-> 4; condition 0; not"
    assert "not" in ops(plan, plan.row_program)


def test_equal_guards_are_written_once() -> None:
    """Across states and patterns."""
    p = begin("a", A).followed_by("b", A).followed_by("c", A)
    assert len(compiled(p, p, p).guards) == len(compiled(p).guards)


# --- rows that need not be looked at --------------------------------------------------------------------------------


def test_a_relaxed_wait_is_quiet() -> None:
    """A row without its bits leaves it as it is; so most rows reach no partial match at all."""
    plan = compiled(begin("a", A).followed_by("b", B))
    waiting = states(plan)[1]
    assert waiting.quiet
    assert bits(plan, waiting.first_care) == {1}
    (pattern,) = plan.patterns
    assert not pattern.every_row
    assert pattern.start_quiet
    assert (bits(plan, pattern.first_care), bits(plan, pattern.first_start_care)) == ({0, 1}, {0})


@pytest.mark.parametrize(
    ("pattern", "quiet"),
    [
        (begin("a", A).followed_by_any("b", B), True),
        (begin("a", A).next("b", B), False),
        (begin("a", A).not_next("n", B).followed_by("b", B), False),
        (begin("a", A).not_followed_by("n", B).followed_by("b", B), True),
        (begin("a", A).not_followed_by("n", B).within("1m"), True),
        (begin("a", A).followed_by("b"), False),
        (begin("a", A).followed_by("b", B).within(gap="5s"), True),
        (begin("a", A).one_or_more().followed_by("b", B), False),
        (begin("a", A).followed_by("b", col.n > ref("a").n), False),
        (begin("a", A).followed_by("b", B & (col.n > ref("a").n)), True),
        (begin("a", A).followed_by("b", B | (col.n > ref("a").n)), False),
        (begin("a", A).followed_by("b", prev.n < col.n), True),
        (begin("a", A).followed_by("b", call(is_odd)), True),
        (begin("a", A).followed_by("b", call(is_more)), False),
    ],
)
def test_a_state_is_quiet_if_only_bits_can_change_it(pattern: Pattern, quiet: bool) -> None:
    """A strict wait, a condition that always holds and one without a bit need every row."""
    plan = compiled(pattern)
    assert bool(states(plan)[1].quiet) is quiet
    assert bool(plan.patterns[0].every_row) is not quiet


def test_a_start_that_takes_anything_looks_at_every_row() -> None:
    """Without a condition every row starts a match."""
    plan = compiled(begin("a").followed_by("b", B))
    assert not plan.patterns[0].start_quiet
    assert plan.patterns[0].every_row


# --- registers ------------------------------------------------------------------------------------------------------

EVENTS, FIRST, LAST, SUM_I, SUM_F, MIN_I, MIN_F, MAX_I, MAX_F, VALUES = range(10)


def updates_of(plan: Any, stage: int) -> list[tuple[int, int]]:
    s = plan.stages[plan.patterns[0].first_stage + stage]
    return [(u.kind, u.slot) for u in plan.updates[s.first : s.first + s.n]]


def test_a_reference_to_an_event_is_one_register_for_all_its_columns() -> None:
    """It holds the event's node; columns are read through it."""
    p = begin("a").followed_by("b", (col.n > ref("a").n) & (col.card == ref("a").card) & (col.n != ref("a").n.first()))
    plan = compiled(p)
    assert plan.patterns[0].n_registers == 2
    assert updates_of(plan, 0) == [(LAST, 0), (FIRST, 1)]
    assert updates_of(plan, 1) == []
    assert compile_plan([p], SCHEMA).patterns[0].node_registers == (0, 1)


def test_an_aggregate_is_kept_and_never_read_again() -> None:
    """Value, count of values, count of events; counts move last, as the others ask whether they are the first."""
    plan = compiled(begin("a").one_or_more().next("b", col.amount > ref("a").amount.max()))
    assert plan.patterns[0].n_registers == 3
    assert sorted(updates_of(plan, 0)) == [(EVENTS, 0), (MAX_F, 1), (VALUES, 2)]
    kinds = [kind for kind, _ in updates_of(plan, 0)]
    assert kinds.index(MAX_F) < kinds.index(VALUES)


def test_aggregates_of_a_stage_share_their_counts() -> None:
    """avg is sum and count."""
    a = ref("a").n
    plan = compiled(begin("a").one_or_more().next("b", (col.n > a.sum()) & (col.n < a.avg()) & (a.min() < a.max())))
    kinds = [kind for kind, _ in updates_of(plan, 0)]
    assert sorted(kinds) == [EVENTS, SUM_I, MIN_I, MAX_I, VALUES, VALUES]  # of the sum, and of min and max


# --- keys -----------------------------------------------------------------------------------------------------------


def test_patterns_with_the_same_key_share_its_dictionary() -> None:
    """A key is looked up once for a row."""
    plan = compiled(begin("a", A).by("card"), begin("b", A).by("card"), begin("c", A).by("card", "n"), begin("d", A))
    assert [p.keyspace for p in plan.patterns] == [0, 0, 1, 2]
    assert [k.n_columns for k in plan.keyspaces] == [1, 2, 0]


def test_only_a_key_whose_pattern_reads_the_event_before_remembers_it() -> None:
    """prev inside a condition on the match counts, too."""
    plan = compiled(
        begin("a", prev.n < col.n).by("card"),
        begin("b").followed_by("c", ref("b").n < prev.n).by("n"),
        begin("d", A).by("country"),
    )
    assert [bool(k.needs_lag) for k in plan.keyspaces] == [True, True, False]
    assert [k.lag_program != NONE for k in plan.keyspaces] == [True, False, False]


def test_a_key_expression_is_a_computed_column() -> None:
    """A program stores it before anything else reads the row."""
    plan = compile_plan([begin("a", A).by(col.n % 10)], SCHEMA)
    tables = read_plan(plan.tables)
    (column,) = [c for c in plan.columns if c.kind == "computed"]
    assert (column.name, column.type) == ("col.n % 10", "int64")
    assert ops(tables, tables.computed_program)[-2:] == ["mod_i", "store"]


@pytest.mark.parametrize("key", [prev.n, ref("a").n, col.n + prev.n])
def test_a_key_reads_nothing_but_its_event(key: Any) -> None:
    """Whose key would it be?"""
    with pytest.raises(DefinitionError, match="made of the current event only"):
        compiled(begin("a", A).by(key))


# --- what results need ----------------------------------------------------------------------------------------------


def test_stages_say_how_a_match_shows_them() -> None:
    """A list where several events can be, nothing for what must not come."""
    inner = begin("c", A).next("d", B)
    pattern = begin("a", A).times(2).not_followed_by("n", B).followed_by(inner).one_or_more().next("e").optional()
    (plan,) = compile_plan([pattern], SCHEMA).patterns
    assert [(s.name, s.repeats, s.negated) for s in plan.stages] == [
        ("a", True, False), ("n", False, True), ("c", True, False), ("d", True, False), ("e", False, False),
    ]  # fmt: skip


def test_the_fingerprint_is_of_patterns_and_types() -> None:
    """What a snapshot must meet to be restored: not the name of a variable, nor columns that nobody reads."""
    p = begin("a", A).followed_by("b", B).by("card")
    same = begin("a", col.amount > 1).followed_by("b", col.amount > 2).by("card")
    wider = Schema.of(**{f.name: f.type for f in SCHEMA}, more="int64")
    floats = Schema.of(**{f.name: f.type for f in SCHEMA if f.name != "card"}, card="int64")
    fingerprint = compile_plan([p], SCHEMA).fingerprint
    assert compile_plan([same], SCHEMA).fingerprint == fingerprint
    assert compile_plan([p], wider).fingerprint == fingerprint
    assert compile_plan([p], floats).fingerprint != fingerprint
    assert compile_plan([p.within("1m")], SCHEMA).fingerprint != fingerprint
    assert compile_plan([p, p], SCHEMA).fingerprint != fingerprint


def test_callables_are_numbered_over_all_patterns() -> None:
    """Each knows its pattern, whose stages name the match it is given."""
    p = begin("a").followed_by("b", call(is_more))
    plan = compile_plan([p, p], SCHEMA)
    assert plan.callables == ((0, is_more), (1, is_more))
    assert plan.serialisable
    assert not compile_plan([begin("a", lambda e: True)], SCHEMA).serialisable


def test_notes_say_what_is_judged_when() -> None:
    """For explain()."""
    p = (
        begin("a", A)
        .followed_by("b", (col.n > ref("a").n) & B)
        .followed_by("c", call(is_more))
        .within("10s")
        .named("p")
    )
    assert compile_plan([p], SCHEMA).notes == (
        "pattern p: general runs (4 states, 1 run registers)",
        "  why: a match can skip events, or take more or fewer of them",
        "  rows: some state changes on any row",
        "  condition 0 (bit per row): col.amount > 1",
        "  condition 1 (bit per row): col.amount > 2",
        "  condition 0 (program per run): col.n > ref('a').n",
        f"  condition 1 (Python, with the GIL): {call(is_more)!r}",
        "  within 10s: the deadline heap ends runs",
    )


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "error", "text"),
    [
        (
            begin("a", col.amuont > 1),
            SchemaError,
            'stage "a": col.amuont > 1: no column "amuont" (did you mean "amount"?)',
        ),
        (begin("a", A).followed_by("b", col.n > ref("a").amont), SchemaError, 'did you mean "amount"?'),
        (begin("a", A).by("crad"), SchemaError, 'did you mean "card"?'),
        (begin("a", A).by(col.crad), SchemaError, 'did you mean "card"?'),
        (begin("a", col.card > 1), SchemaError, 'stage "a": col.card > 1'),
        (begin("a", col.card + 1 == 2), SchemaError, 'stage "a": col.card + 1'),
        (begin("a", col.amount), SchemaError, 'stage "a": col.amount'),
        (begin("a").one_or_more().until(col.oks), SchemaError, 'stage "a"'),
        (begin("a").next("b", call(is_more) == True), PatternError, "&, | and ~"),  # noqa: E712
        (begin("a", A).followed_by("b", lit(1) == ref("z").n), PatternError, '"z"'),
    ],
)
def test_an_error_quotes_the_part_and_the_near_name(pattern: Pattern, error: type[Exception], text: str) -> None:
    """A pattern of twenty stages must not be searched for it."""
    with pytest.raises(error) as caught:
        compiled(pattern)
    assert text in str(caught.value)


def test_without_a_schema_types_follow_from_use() -> None:
    """A column compared with a number holds numbers; a key may be anything."""
    plan = compile_plan([begin("a", (col.x > 1) & col.name.starts_with("q")).by("k")], None)
    assert {c.name: c.type for c in plan.columns} == {"x": "float64", "name": "string", "k": "any"}


def test_the_least_of_two_texts_is_refused() -> None:
    """It is a function of numbers and times."""
    with pytest.raises(SchemaError, match="least"):
        compiled(begin("a", func.least(col.card, col.country) == "x"))
