"""Partial matches found by a value that must be equal: the same results, counts and snapshots as without the index."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fyke
from fyke import Expr, Pattern, begin, col, prev, ref
from tests.property.test_strict import counted, told

SCHEMA = fyke.Schema.of(t="int64", key="int64", x="int64", y="int64", s="string", f="float64", b="bool")
Row = dict[str, Any]


def random_equality(random: Random) -> Expr:
    return random.choice(
        [col.x == ref("a").x, ref("a").x == col.x, col.s == ref("a").s, col.f == ref("a").f, col.b == ref("a").b,
         col.x == ref("a").y]
    )  # fmt: skip


def random_pattern(random: Random) -> Pattern:
    """Stages behind the first one all ask for the same equality, and for something else besides."""
    equality = random_equality(random)
    others = [col.y > 0, col.y == 1, col.y != ref("a").y, col.s != "b", prev.y < 2, col.x < 3]
    pattern = begin("a", *random.choice([[], [col.y == 0], [col.s == "a"]]))
    is_optional = False
    for i in range(random.choice([1, 1, 2])):
        how = random.choice(["followed_by", "followed_by", "followed_by_any", "followed_by_any", "not_followed_by"])
        if is_optional and how == "not_followed_by":
            how = "followed_by"  # the other cannot come right after what may be missing
        conditions = [*random.sample(others, random.randrange(3)), equality]
        random.shuffle(conditions)
        pattern = getattr(pattern, how)(f"s{i}", *conditions)
        if how == "not_followed_by":
            pattern = pattern.followed_by(f"e{i}", equality, col.y == 1)
        elif random.random() < 0.3:
            quantified = [pattern.one_or_more(), pattern.times(2), pattern.optional(), pattern.times(1, 3)]
            pattern = random.choice(quantified)
            is_optional = pattern is quantified[2]
    skip = random.choice(["no_skip", "no_skip", "to_next", "past_last_event"])
    pattern = pattern.within(f"{random.randrange(4, 30)}s").skip(getattr(fyke.skip, skip)())
    return pattern.by("key") if random.random() < 0.3 else pattern


def indexed(pattern: Pattern) -> bool:
    return "  index: " in fyke.Engine(pattern, time="t", unit="s", schema=SCHEMA).explain()


def random_rows(random: Random, late: int) -> list[Row]:
    rows, t = [], 0
    for _ in range(random.choice([20, 60, 200])):
        t += random.choice([0, 0, 1, 1, 2, 9])
        rows.append(
            {
                "t": t + random.randrange(late + 1), "key": random.choice([1, 2, None]),
                "x": random.choice([0, 1, 2, 3, None]), "y": random.choice([0, 1, 2, None]),
                "s": random.choice(["a", "b", "", "a longer text", None]),
                "f": random.choice([0.0, -0.0, 1.5, float("nan"), None]), "b": random.choice([True, False, None]),
            }
        )  # fmt: skip
    return rows


@settings(max_examples=settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_an_engine_with_the_index_tells_what_one_without_does(seed: int) -> None:
    """In the same order, the same counts, equal bytes; each takes over from the other."""
    random = Random(seed)
    pattern = random_pattern(random)
    while not indexed(pattern):
        pattern = random_pattern(random)
    late = random.choice([0, 0, 3])
    options: dict[str, Any] = {
        "time": "t", "unit": "s", "timeouts": random.random() < 0.7, "schema": SCHEMA, "out_of_order": f"{late}s",
        "key_ttl": random.choice([None, None, None, "6s"]), "max_partials": random.choice([300, 300, 20, 3]),
        "on_max_partials": random.choice(["drop_oldest", "drop_newest"]),
    }  # fmt: skip
    engines = [fyke.Engine(pattern, **options, strategy=s) for s in ("auto", "general")]
    size = random.choice([1, 3, 50])
    rows = random_rows(random, late)
    for i in range(0, len(rows), size):
        one, other = [engine.push(rows[i : i + size]) for engine in engines]
        assert told(one) == told(other)
        assert counted(engines[0]) == counted(engines[1])
        engines[0].check()
        if random.random() < 0.15:
            states = [engine.snapshot() for engine in engines]
            assert states[0] == states[1]
            engines = [fyke.Engine.restore(states[0], pattern, **options, strategy=s) for s in ("auto", "general")]
        if random.random() < 0.1:
            engines[0].compact()
            engines[0].check()
    assert told(engines[0].flush()) == told(engines[1].flush())
    assert counted(engines[0]) == counted(engines[1])
    engines[0].check()


EQUAL = col.x == ref("a").x
INDEX = "  index: an event concerns partial matches whose first event's x is its x"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (begin("a", col.y == 0).followed_by_any("b", EQUAL), True),
        (begin("a").followed_by("b", col.y > 1, EQUAL).followed_by("c", ref("a").x == col.x), True),
        (begin("a").followed_by("b", EQUAL).one_or_more().followed_by("c", EQUAL, col.y > ref("b").y.sum()), False),
        (begin("a").next("b", EQUAL), False),
        (begin("a").followed_by("b", EQUAL).followed_by("c", col.y == 0), False),
        (begin("a").followed_by("b", EQUAL | (col.y == 0)), False),
        (begin("a").one_or_more().followed_by("b", EQUAL), False),
        (begin("a").followed_by("b", col.x == ref("a").f), False),
        (begin("a").followed_by("b", EQUAL).within(gap="2s"), False),
    ],
)
def test_explain_says_where_partial_matches_are_found_by_a_value(pattern: Pattern, found: bool) -> None:
    assert indexed(pattern.within("9s")) == found
    lines = fyke.Engine(pattern.within("9s"), time="t", unit="s", schema=SCHEMA).explain().splitlines()
    assert (INDEX in lines) == found


def test_what_leaves_the_window_frees_its_memory() -> None:
    """Partial matches come and go at the two ends: the array does not grow with what has gone."""
    engine = fyke.Engine(begin("a", col.y == 0).followed_by("b", EQUAL, col.y == 1).within("100s"), time="t", unit="s")
    sizes = []
    for start in range(0, 20_000, 1000):
        engine.push([{"t": start + i, "x": i % 50, "y": 0 if i % 3 else 1} for i in range(1000)])
        engine.check()
        sizes.append(engine.statistics().bytes)
    assert max(sizes[5:]) <= max(sizes[:5])
