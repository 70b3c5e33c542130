"""Patterns as values, and every refusal with what it tells the user."""

from __future__ import annotations

import copy
import datetime as dt
import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fyke
from fyke import Pattern, PatternError, Quantifier, Skip, Stage, begin, call, col, func, lit, prev, ref, skip
from tests.unit.corpus_patterns import to_pattern

HERE = Path(__file__).parent
CORPORA = HERE.parent / "corpora"
NAMES: dict[str, Any] = {name: getattr(fyke, name) for name in fyke.__all__} | {"datetime": dt}

A, B, C = col.x == "a", col.x == "b", col.x == "c"

SAMPLES = [
    begin("a"),
    begin("a", A).next("b", B).followed_by("c", C).followed_by_any("d"),
    begin("a").not_next("b", B).next("c").not_followed_by("d", col.y > 1).within("10m"),
    begin("a").not_followed_by("b").within(gap="5s"),
    begin("a", A, col.y > 1).where(col.z < 2).or_(B),
    begin("a").times(3).followed_by("b").times(2, 4, within="5s").consecutive().followed_by("c").times(0, 2),
    begin("a").times_or_more(2).greedy().next("b").next("c").one_or_more(within="1s").allow_combinations().optional(),
    begin("a").one_or_more().greedy().followed_by("b").times(0, 1),
    begin(begin("a", A).next("b")).times(2).followed_by(begin("c").next(begin("d")).optional()).one_or_more().until(B),
    begin("a").one_or_more().until(col.x == ref("a").x.first()),
    begin("a").followed_by("b", prev.x > 1, func.atan2(col.x, 1) > 0.5).by("user", col.t // 10).named("two words"),
    begin("a").next("b").skip(skip.to_last("b", throw=True)),
    begin("a", lit(True), col.at > dt.datetime(2024, 1, 1), call("os.path:exists", arity=1)),
]  # fmt: skip
IDS = [str(number) for number in range(len(SAMPLES))]


# --- a value --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", SAMPLES, ids=IDS)
def test_repr_is_code_that_makes_the_same_pattern(pattern: Pattern) -> None:
    """With the names of fyke, on one line or on several."""
    again = eval(repr(pattern), NAMES)
    assert again == pattern
    assert hash(again) == hash(pattern)


@pytest.mark.parametrize("pattern", SAMPLES, ids=IDS)
def test_json_makes_the_same_pattern(pattern: Pattern) -> None:
    """As text, as bytes and as a dict; equal patterns give equal text."""
    text = pattern.to_json()
    for given in (text, text.encode(), json.loads(text)):
        again = Pattern.from_json(given, callables=True)
        assert again == pattern
        assert again.to_json() == text


@pytest.mark.parametrize("pattern", SAMPLES, ids=IDS)
def test_copies_are_equal(pattern: Pattern) -> None:
    """A pattern is a value: copied, pickled, in a set."""
    assert copy.deepcopy(pattern) == pattern
    assert pickle.loads(pickle.dumps(pattern)) in {pattern}


def test_different_patterns_are_different() -> None:
    """Every sample is unequal to every other, and to what is no pattern."""
    assert len(set(SAMPLES)) == len(SAMPLES)
    assert begin("a") != begin("a", A)
    assert begin("a").by("x") != begin("a").by("x", "y")
    assert begin("a") != "a"


def test_the_json_form_is_the_golden_one() -> None:
    """A change of the form breaks stored patterns: it needs a new version, not a new golden file."""
    pattern = (
        begin("probe", col.amount < 1, col.country.is_in(["CH", "AT"]))
        .followed_by(begin("spree", col.amount > 500.5, col.country != ref("probe").country).next("rest"))
        .times(2, 3, within="1m")
        .not_followed_by("block", ref("spree").amount.sum(empty=0) > 9)
        .within(gap="5m")
        .within("10m")
        .by("card", col.shop // 10)
        .skip(skip.to_first("probe"))
        .named("card testing")
    )
    golden = (HERE / "golden" / "pattern_v1.json").read_text().strip()
    assert pattern.to_json() == golden
    assert Pattern.from_json(golden) == pattern


def test_json_of_another_version_or_kind_is_refused() -> None:
    """With the version that is read, or what is missing."""
    node = begin("a").to_dict()
    with pytest.raises(PatternError, match="version 99: this fyke reads version 1"):
        Pattern.from_json(node | {"version": 99})
    with pytest.raises(PatternError, match="not the JSON of a pattern"):
        Pattern.from_json("[1]")
    with pytest.raises(PatternError, match="not the JSON of a pattern"):
        Pattern.from_json("{")
    with pytest.raises(PatternError, match="KeyError: 'stages'"):
        Pattern.from_json({key: value for key, value in node.items() if key != "stages"})


def test_json_is_checked_like_the_builder() -> None:
    """What no builder call lets through does not come in by JSON either."""
    node = begin("a").next("b").to_dict()
    node["stages"][1]["contiguity"] = "not_followed_by"
    with pytest.raises(PatternError, match="needs a window"):
        Pattern.from_json(node)
    node["stages"][1]["contiguity"] = "begin"
    with pytest.raises(PatternError, match="contiguity begin, and only that one"):
        Pattern.from_json(node)


def test_builder_calls_give_new_patterns() -> None:
    """A common start can be used twice."""
    start = begin("a", A)
    one, other = start.next("b"), start.followed_by("c")
    assert len(start.stages) == 1
    assert (one.stages[1].contiguity, other.stages[1].contiguity) == ("next", "followed_by")


# --- what the builder makes ------------------------------------------------------------------------------------------


def test_conditions_are_joined_in_order() -> None:
    """where() is and, or_() is or, over all that was given before."""
    stage = begin("a", A, B).where(C).or_(col.y > 1).stages[0]
    assert stage.where is not None
    assert stage.where.equals(((A & B) & C) | (col.y > 1))
    only = begin("a").or_(A).stages[0].where
    assert only is not None
    assert only.equals(A)


@pytest.mark.parametrize(
    ("built", "quantifier"),
    [
        (begin("a"), Quantifier()),
        (begin("a").optional(), Quantifier(optional=True)),
        (begin("a").times(3), Quantifier("times", 3, 3)),
        (begin("a").times(2, 4, within="1s"), Quantifier("times", 2, 4, within=10**9)),
        (begin("a").times(0, 4), Quantifier("times", 1, 4, optional=True)),
        (begin("a").times_or_more(2), Quantifier("times_or_more", 2, None)),
        (begin("a").one_or_more().greedy(), Quantifier("one_or_more", 1, None, greedy=True)),
        (begin("a").one_or_more().consecutive(), Quantifier("one_or_more", 1, None, inner="strict")),
        (begin("a").times(2).allow_combinations(), Quantifier("times", 2, 2, inner="combinations")),
        (begin("a").optional().one_or_more(), Quantifier("one_or_more", 1, None, optional=True)),
    ],
)
def test_quantifier_is_as_written(built: Pattern, quantifier: Quantifier) -> None:
    """optional() before a loop is kept."""
    assert built.stages[-1].quantifier == quantifier


def test_the_shortest_window_counts() -> None:
    """Given on the pattern twice, or on a group."""
    assert begin("a").within("10m").next("b").within("5m").within("7m").window == 300 * 10**9
    assert begin("a").followed_by(begin("b").within("1s")).within("1m").window == 10**9


def test_a_gap_belongs_to_the_last_stage() -> None:
    """And leaves the whole pattern's window alone."""
    pattern = begin("a").next("b").within(gap="5s")
    assert (pattern.window, pattern.stages[1].within) == (None, 5 * 10**9)


def test_stages_are_listed_with_groups_before_their_stages() -> None:
    """As the errors name them."""
    pattern = begin("a").followed_by(begin("b").next("c")).next("d")
    assert [stage.title() for stage in pattern.all_stages()] == [
        'stage "a"', 'group ("b", "c")', 'stage "b"', 'stage "c"', 'stage "d"',
    ]  # fmt: skip


# --- refusals at the builder call -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: begin(""), "named by a non-empty string"),
        (lambda: begin(5), "takes the name of a stage, or a pattern as a group"),
        (lambda: begin("a").next("a"), 'stage "a": the name occurs twice'),
        (lambda: begin("a").followed_by(begin("b").next("a")), 'stage "a": the name occurs twice'),
        (lambda: begin("a").times(0), 'stage "a": times(0): the least is 1; leave the stage out, or write .optional()'),
        (lambda: begin("a").times(3, 2), 'stage "a": from 3 to 2 times: the maximum is below the minimum'),
        (lambda: begin("a").times(0, 0), "the maximum is at least 1"),
        (lambda: begin("a").times(-1, 2), "the minimum is negative"),
        (lambda: begin("a").times(True), "takes whole numbers, not True"),
        (lambda: begin("a").times("2"), "takes whole numbers, not '2'"),
        (lambda: begin("a").times_or_more(0), ".one_or_more().optional()"),
        (lambda: begin("a").times(2).one_or_more(), 'stage "a": has the quantifier .times(2) already; to repeat'),
        (lambda: begin("a").greedy(), 'stage "a": .greedy() needs a loop: add .one_or_more() or .times(n) first'),
        (lambda: begin("a").consecutive(), 'stage "a": .consecutive() needs a loop'),
        (lambda: begin("a").allow_combinations(), 'stage "a": .allow_combinations() needs a loop'),
        (lambda: begin("a").one_or_more().greedy().allow_combinations(), "contradict each other"),
        (lambda: begin("a").one_or_more().allow_combinations().greedy(), "contradict each other"),
        (lambda: begin("a").one_or_more().consecutive().allow_combinations(), "contradict each other"),
        (lambda: begin("a").one_or_more().consecutive().consecutive(), ".consecutive() is given twice"),
        (lambda: begin("a").optional().optional(), "is optional already"),
        (lambda: begin("a").until(A), '.until() ends a loop without a maximum: add .one_or_more()'),
        (lambda: begin("a").times(2).until(A), ".until() ends a loop without a maximum"),
        (lambda: begin("a").one_or_more().until(A).until(B), "until() is given twice; join the conditions with |"),
        (lambda: begin(begin("a")).one_or_more().greedy(), 'group ("a"): a group cannot be greedy; put .greedy() on'),
        (lambda: begin(begin("a")).where(A), 'group ("a"): a group has no condition of its own; put where()'),
        (lambda: begin(begin("a")).or_(A), "a group has no condition of its own; put or_()"),
        (lambda: begin(begin("a"), A), "a group has no condition of its own"),
        (lambda: begin(begin("a").by("k")), "a group cannot have a key; put by() on the whole pattern"),
        (lambda: begin(begin("a").named("n")), "a group has no name"),
        (lambda: begin(begin("a").skip(skip.to_next())), "a group has no skip strategy"),
        (lambda: begin("a").not_next("b").times(2), 'stage "b": a negated stage cannot be repeated'),
        (lambda: begin("a").not_next("b").one_or_more(), 'stage "b": a negated stage cannot be repeated'),
        (lambda: begin("a").not_followed_by("b").optional(), 'stage "b": a negated stage cannot be optional'),
        (lambda: begin("a").not_next(begin("b")), "takes the name of one stage, not a group"),
        (
            lambda: begin("a").next("b").optional().not_followed_by("c"),
            'stage "c": a negated stage cannot come right after the optional stage "b": use two patterns, one with and '
            'one without stage "b"',
        ),
        (lambda: begin("a").next("b").times(0, 2).not_next("c"), 'right after the optional stage "b"'),
        (lambda: begin("a").next(begin("b")).optional().not_next("c"), 'right after the optional group ("b")'),
        (
            lambda: begin("a").one_or_more().greedy().followed_by("b").optional(),
            'stage "b": an optional stage cannot come right after the greedy stage "a": leave out .greedy()',
        ),
        (
            lambda: begin("x").next(begin("a").optional()).one_or_more(),
            'group ("a"): a loop without a maximum around a group that can match no event at all would turn for ever',
        ),
        (lambda: begin(begin(begin("a").optional()).next("b").optional()).times_or_more(2), "would turn for ever"),
        (lambda: begin("a").within(), 'within("10m"), or a gap, within(gap="5s")'),
        (lambda: begin("a").within("1s", gap="1s"), "or a gap"),
        (lambda: begin("a").within("0s"), "within: the window must be longer than 0"),
        (lambda: begin("a").within(10), "the duration 10 has no unit"),
        (lambda: begin("a").next("b").within(gap="ten"), "stage \"b\": within(gap=...): 'ten' is not a duration"),
        (lambda: begin("a").times(2, within="-1s"), 'stage "a": times(within=...): '),
        (lambda: begin("a").by(), "by() needs a column or an expression"),
        (lambda: begin("a").by("x").by("y"), "by() is given twice"),
        (lambda: begin("a").by(""), "the name of a column or an expression"),
        (lambda: begin("a").by(5), "the name of a column or an expression"),
        (lambda: begin("a").by(prev.x), "a key is made of the current event only, not of prev.x"),
        (lambda: begin("a").by(ref("a").x), "a key is made of the current event only"),
        (lambda: begin("a").by(lit(5)), "is the same for all events"),
        (lambda: begin("a").named(""), "a pattern is named by a non-empty string"),
        (lambda: begin("a").skip("to_next"), "skip('to_next'): write for example .skip(fyke.skip.past_last_event())"),
        (lambda: begin("a", skip=skip.to_next()).skip(skip.no_skip()), "the pattern has skip.to_next() already"),
        (lambda: begin("a", 5), 'stage "a": 5 is neither an expression nor a function'),
        (lambda: begin("a", "x > 5"), "stage \"a\": got the string 'x > 5', not an expression"),
        (lambda: begin("a", True), 'stage "a": got True, not an expression: was it `in`'),
        (lambda: begin("a", col.x + 1), 'stage "a": `col.x + 1` is neither true nor false'),
        (lambda: begin("a", lit(5)), "`lit(5)` is neither true nor false"),
        (lambda: begin("a", col.x.abs()), "`col.x.abs()` is neither true nor false"),
        (lambda: begin("a").where(), 'stage "a": where() needs a condition'),
        (lambda: begin("a", lambda: True), 'stage "a": call('),
        (lambda: begin("a").where(ref("b")), "name a column"),
        (lambda: Pattern(()), "at least one stage"),
        (lambda: Pattern((Stage("a", "next"),)), "contiguity begin, and only that one"),
        (lambda: Stage("a", "after"), "contiguity 'after' is not one of begin, next"),
        (lambda: Stage("a", "begin", group=(Stage("b", "begin"),)), "a group has no name"),
        (lambda: Stage(None, "begin", group=()), "a group needs at least one stage"),
        (lambda: Quantifier("many"), "quantifier 'many' is not one of"),
        (lambda: Quantifier("times", 2, None), "times has a maximum"),
        (lambda: Quantifier("one_or_more", 2, None), "one_or_more has min 1"),
        (lambda: Quantifier("one_or_more", 1, 3), "one_or_more has no maximum"),
        (lambda: Quantifier(within=5), "a window inside a loop needs a loop"),
        (lambda: Skip("to_first"), "skip.to_first needs the name of a stage"),
        (lambda: Skip("to_next", "a"), "skip.to_next takes no stage"),
        (lambda: Skip("to_next", throw=True), "cannot miss"),
        (lambda: Skip("to_middle"), "is not one of no_skip"),
    ],
)
def test_wrong_when_written(build: Callable[[], object], says: str) -> None:
    """The error comes from the call that is wrong, names the stage and says what to write."""
    with pytest.raises(PatternError) as error:
        build()
    assert says in str(error.value)


# --- refusals of the finished pattern -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (
            begin("a").not_followed_by("b"),
            'stage "b": .not_followed_by() as the last stage needs a window that says how long to wait: add .within(',
        ),
        (
            begin("a").next("b").within(gap="20s").within("10s"),
            'stage "b": .within(gap=...) of 20s is longer than the whole pattern\'s window of 10s',
        ),
        (begin("a").not_followed_by("b").within(gap="20s").within("10s"), 'stage "b": .within(gap=...) of 20s is'),
        (begin("a").not_next("b").within(gap="20s").next("c").within("10s"), 'stage "b": .within(gap=...) of 20s'),
        (begin("a").times(2, within="20s").within("10s"), 'stage "a": .times(within=...) of 20s is longer'),
        (begin("a").one_or_more(within="20s").within("10s"), ".one_or_more(within=...) of 20s is longer"),
        (begin("a").next(begin("b").within(gap="20s")).within("10s"), 'stage "b": .within(gap=...) of 20s is longer'),
        (
            begin("first").next("b").skip(skip.to_first("frist")),
            'skip.to_first(\'frist\'): no stage "frist" (did you mean "first"?); the stages outside of groups are ',
        ),
        (begin("a").next(begin("b")).skip(skip.to_last("b")), 'stage "b" lies inside a group'),
        (
            begin("probe").next("b", col.x > ref("prob").x),
            'stage "b": ref(\'prob\').x: no stage "prob" (did you mean "probe"?)',
        ),
        (begin("a").not_next("n").next("b", col.x > ref("n").x), 'stage "n" is negated and never has an event'),
        (begin("a").one_or_more().until(ref("z").x > 1), 'stage "a" until: ref(\'z\').x: no stage "z"'),
    ],
)
def test_wrong_as_a_whole(pattern: Pattern, says: str) -> None:
    """check() finds what only the finished pattern shows; to_json() asks it."""
    with pytest.raises(PatternError) as error:
        pattern.check()
    assert says in str(error.value)
    with pytest.raises(PatternError):
        pattern.to_json()


@pytest.mark.parametrize(
    "pattern",
    [
        begin("a").not_followed_by("b").within("1s"),
        begin("a").not_followed_by("b").within(gap="1s"),
        begin("a").not_followed_by("b").next("c"),
        begin("a").next("b").within(gap="10s").within("10s"),
        begin("a").times(1, within="20s").within("10s"),
        begin("a").not_followed_by("b").within(gap="20s").next("c").within("10s"),
        begin("a").next(begin("b")).times(2, within="20s").within("10s"),
        begin("a").one_or_more().within(gap="20s").within("10s"),
        begin("x").next(begin("a").optional()).times(3),
        begin("a").not_next("n").skip(skip.to_first("n")),
        begin("a").next("b", col.x > ref("c").x).next("c"),
        begin("a", col.x > ref("a").x).one_or_more(),
        begin("x").next(begin("a").not_next("b")).next("c"),
    ],
)
def test_right_as_a_whole(pattern: Pattern) -> None:
    """What Flink lets through is let through."""
    pattern.check()


# --- the conformance corpora ----------------------------------------------------------------------------------------


def _cases() -> list[dict[str, Any]]:
    cases = []
    for path in sorted(CORPORA.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            cases += [case for line in lines if "stages" in (case := json.loads(line)).get("pattern", {})]
    return cases


def test_exactly_what_flink_refuses_is_refused() -> None:
    """Every pattern of the corpora; those accepted come back from their code and from JSON."""
    cases = _cases()
    assert len(cases) > 3000
    for case in cases:
        if case["error_kind"] == "compile":
            with pytest.raises(PatternError):
                to_pattern(case["pattern"])
        else:
            pattern = to_pattern(case["pattern"])
            assert Pattern.from_json(pattern.to_json()) == pattern, case["id"]
            assert eval(repr(pattern), NAMES) == pattern, case["id"]
