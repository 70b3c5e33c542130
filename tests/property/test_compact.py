"""Compact sets: matches are those of the general strategy, in its order, whoever took the state before."""

from __future__ import annotations

import warnings
from itertools import groupby, islice
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fyke
from fyke import Expr, Pattern, begin, col

Row = dict[str, Any]
SCHEMA = fyke.Schema.of(t="int64", key="int64", x="int64", s="string")

thorough = settings(
    max_examples=settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def random_condition(random: Random) -> list[Expr]:
    n = random.randrange(4)
    return random.choice(
        [[], [col.x == n], [col.x == n], [col.x < n], [~(col.x == n)], [col.x.is_null()],
         [(col.x == n) | (col.s == "a")], [col.s == "b"], [col.x >= n, col.s == "a"]]
    )  # fmt: skip


def loose(random: Random, pattern: Pattern, last: bool) -> Pattern:
    """The last stage as it is, several times, or (at the end of the pattern) optional."""
    least = random.randrange(1, 3)
    quantified = random.choice(
        [
            lambda: pattern,
            lambda: pattern,
            lambda: pattern.one_or_more().allow_combinations(),
            lambda: pattern.times(least, least + random.randrange(3)).allow_combinations(),
        ]
    )()
    return quantified.optional() if last and random.random() < 0.2 else quantified


def random_pattern(random: Random) -> Pattern:
    pattern = loose(random, begin("s0", *random_condition(random)), False)
    n = random.choice([1, 1, 2, 3])
    for i in range(n):
        pattern = pattern.followed_by_any(f"s{i + 1}", *random_condition(random))
        pattern = loose(random, pattern, i == n - 1)
    pattern = pattern.within(f"{random.randrange(3, 9)}s") if random.random() < 0.9 else pattern
    return pattern.by(*random.choice([["key"], ["key"], ["key", "s"]])) if random.random() < 0.6 else pattern


def compactly(pattern: Pattern) -> bool:
    return "compact set" in made(pattern).explain()


def made(patterns: Any, state: bytes | None = None, **options: Any) -> fyke.Engine:
    options = {"time": "t", "unit": "s", "schema": SCHEMA, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # without within()
        return fyke.Engine(patterns, **options) if state is None else fyke.Engine.restore(state, patterns, **options)


def compact_pattern(random: Random) -> Pattern:
    while True:
        pattern = random_pattern(random)
        if compactly(pattern):
            return pattern


def random_rows(random: Random, late: int) -> list[Row]:
    rows, t = [], 0
    for _ in range(random.choice([5, 12, 12, 20])):
        t += random.choice([0, 0, 1, 1, 2, 9])
        rows.append(
            {
                "t": t + random.randrange(late + 1), "key": random.choice([1, 1, 1, 2, None]),
                "x": random.choice([0, 1, 2, 3, None]), "s": random.choice(["a", "b", None]),
            }
        )  # fmt: skip
    return rows


def told(results: fyke.Results) -> list[Any]:
    return [(m.id, m.key, m.kind, m.released, m.cause, [dict(e) for _, e in m.events]) for m in results]


@thorough
@given(seed=st.integers(0, 2**32))
def test_engines_of_both_strategies_tell_the_same_and_take_over_from_each_other(seed: int) -> None:
    """In the same order, with rows out of order, compaction, and any of the two going on from the other's state."""
    random = Random(seed)
    built = {f"p{i}": compact_pattern(random) for i in range(random.choice([1, 1, 2]))}
    if random.random() < 0.3:
        built["other"] = begin("a", col.x == 1).followed_by("b", col.x > 1).within("5s").by("key")
    late = random.choice([0, 0, 3])
    options: dict[str, Any] = {"out_of_order": f"{late}s"}
    engines = [made(built, strategy=s, **options) for s in ("auto", "general")]
    size = random.choice([1, 1, 3, 50])
    rows = random_rows(random, late)
    for i in range(0, len(rows), size):
        one, other = [engine.push(rows[i : i + size]) for engine in engines]
        assert told(one) == told(other)
        assert len(one) == len(one.matches) == one.total == other.total == len(other)
        for engine in engines:
            engine.check()
        if random.random() < 0.3:
            state = random.choice(engines).snapshot()
            engines = [made(built, state, strategy=s, **options) for s in ("auto", "general")]
            for engine in engines:
                engine.check()
                assert engine.snapshot() == engine.snapshot()
        if random.random() < 0.2:
            engines[0].compact()
            engines[0].check()
    assert told(engines[0].flush()) == told(engines[1].flush())
    assert engines[0].statistics().matches == engines[1].statistics().matches
    if all(p.window is not None for p in built.values()):
        s = engines[0].statistics()
        assert (s.partials, s.keys, s.segments) == (0, 0, 0)
    engines[0].check()


@thorough
@given(seed=st.integers(0, 2**32))
def test_a_limit_keeps_the_first_matches_of_an_event_and_counts_all(seed: int) -> None:
    random = Random(seed)
    pattern = compact_pattern(random)
    rows = random_rows(random, 0)[:14]  # all matches of long streams can be too many
    limit = random.choice([0, 0, 1, 2, 7])
    engines = {s: made(pattern, strategy=s, limit=limit) for s in ("auto", "general")}
    everything = made(pattern, strategy="general")
    for row in rows:
        wanted = everything.push([row])
        firsts = [m for _, same in groupby(told(wanted), lambda m: (m[1], m[4])) for m in islice(same, limit)]
        for engine in engines.values():
            found = engine.push([row])
            assert found.total == len(wanted)
            assert told(found) == firsts
            engine.check()
        if random.random() < 0.2:
            engines = {s: made(pattern, engine.snapshot(), limit=limit, strategy=s) for s, engine in engines.items()}
    assert {e.statistics().matches for e in engines.values()} == {everything.statistics().matches}


@thorough
@given(seed=st.integers(0, 2**32), size=st.sampled_from([1, 4, 100]))
def test_positions_are_those_of_the_events(seed: int, size: int) -> None:
    random = Random(seed)
    pattern = compact_pattern(random).named("p")
    engine = made({"p": pattern, "q": begin("z", col.x == 1).times(1, 2).within("9s")})
    rows = random_rows(random, 0)
    for i in range(0, len(rows), size):
        results = engine.push(rows[i : i + size])
        for name in ("p", "q"):
            mine = [m for m in results if m.pattern == name]
            stages = [s.name for s in (pattern if name == "p" else begin("z").times(1, 2)).all_stages()]
            table = results.positions(name)
            assert table.column_names == stages
            for stage in stages:
                wanted = [
                    None if m[stage] is None else [e.position for e in m[stage]] if isinstance(m[stage], list)
                    else m[stage].position
                    for m in mine
                ]  # fmt: skip
                assert table[stage].to_pylist() == wanted


def test_partial_matches_that_a_bound_has_dropped_do_not_come_back() -> None:
    """They are no compact set: the pattern goes on in general."""
    pattern = begin("a", col.x == 0).followed_by_any("b", col.x == 1).followed_by_any("c", col.x == 2).within("1h")
    bounded = made(pattern, max_partials=2, on_max_partials="drop_newest")
    rows = [{"t": t, "x": x, "key": 1, "s": ""} for t, x in enumerate([0, 1, 1, 0, 1])]
    bounded.push(rows)
    state = bounded.snapshot()
    engine = made(pattern, state)
    engine.check()
    assert engine.statistics().partials == bounded.statistics().partials == 2
    last = {"t": 9, "x": 2, "key": 1, "s": ""}
    assert told(engine.push([last])) == told(bounded.push([last]))
    engine.check()


def test_counts_stop_at_the_most_they_can_say() -> None:
    pattern = begin("a", col.x == 0).one_or_more().allow_combinations().followed_by_any("b", col.x == 1).within("1h")
    engine = made(pattern, limit=2)
    most = 2**64 - 1

    def push(t: int, x: int) -> fyke.Results:
        engine.push([{"t": t, "x": x, "key": 1, "s": ""}])
        return engine.advance(t * 10**9)

    for t in range(63):
        assert push(t, 0).total == 0
    assert push(63, 1).total == 2**63 - 1
    push(64, 0)
    push(65, 0)
    found = push(66, 1)
    assert (len(found), found.total, engine.statistics().matches) == (2, most, most)
    assert (push(67, 1).total, engine.statistics().partials) == (most, most)
    engine.check()
    with pytest.raises(fyke.StateError, match="partial matches: more than a snapshot holds"):
        engine.snapshot()
    assert push(3660, 1).total == 2**4 - 1, "exact again, once most have left the window"


def test_matches_come_back_from_a_set_that_held_none_for_long() -> None:
    """The window slides over many events: what is kept is that of the window."""
    pattern = begin("a", col.x == 0).followed_by_any("b", col.x == 1).followed_by_any("c", col.x == 2).within("100s")
    engine = made(pattern, limit=0)
    general = made(pattern, strategy="general")
    random = Random(7)
    rows = [{"t": t, "x": random.randrange(4), "key": 1, "s": ""} for t in range(3000)]
    total = 0
    for i in range(0, 3000, 500):
        total += engine.push(rows[i : i + 500]).total
        engine.check()
    assert total == sum(len(general.push(rows[i : i + 100])) for i in range(0, 3000, 100))
    assert engine.statistics().bytes < 200_000
