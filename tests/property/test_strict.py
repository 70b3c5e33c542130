"""Strict sequences: results are those of the general strategy and of the oracle, and states are the same bytes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fyke
from fyke import Expr, Pattern, begin, col, prev
from tests.conformance.cases import differences, outcome_of
from tests.conformance.engine_adapter import run_on_engine
from tests.oracle import FYKE, run_case
from tests.property.strategies import conditions, streams
from tests.unit.corpus_patterns import to_pattern

Json = dict[str, Any]
Row = dict[str, Any]

thorough = settings(
    max_examples=settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def strict_patterns(draw: st.DrawFn) -> Json:
    """Stages joined by next, some of them several times in a row; any window, gap and skip strategy."""
    stages: list[Json] = []
    for i in range(draw(st.integers(1, 4))):
        n = draw(st.sampled_from([1, 1, 1, 2, 3]))
        kind = "one" if n == 1 else "times"
        quantifier: Json = {"kind": kind, "min": n, "max": n, "optional": False, "greedy": False}
        stages.append(
            {
                "name": f"s{i + 1}",
                "contiguity": "next" if i else "begin",
                "until": None,
                "where": draw(conditions([])),
                "within": draw(st.integers(1, 6)) if i and draw(st.integers(0, 3)) == 0 else None,
                "quantifier": quantifier | {"inner": "strict" if n > 1 else "relaxed"},
            }
        )
    skip: Json = {"kind": draw(st.sampled_from(["no_skip", "to_next", "past_last_event", "to_first", "to_last"]))}
    if skip["kind"] in ("to_first", "to_last"):
        skip |= {"stage": draw(st.sampled_from(stages))["name"], "throw": draw(st.integers(0, 7)) == 0}
    within = draw(st.integers(6, 12)) if draw(st.booleans()) else None
    return {"stages": stages, "within": within, "skip": skip}


def strictly(pattern: Pattern) -> bool:
    return "strict sequence" in fyke.Engine(pattern, time="t", unit="ns", max_partials=1).explain()


@pytest.mark.parametrize("batch", ["1", "7", "all"])
@thorough
@given(pattern=strict_patterns(), stream=streams(longest=20))
def test_both_strategies_give_what_the_oracle_gives(batch: str, pattern: Json, stream: list[Json]) -> None:
    case = {"id": "random", "pattern": pattern, "events": stream}
    assume(sum(s["quantifier"]["min"] for s in pattern["stages"]) > 1)
    assert strictly(to_pattern(pattern))
    wanted = outcome_of(run_case(case, FYKE))
    for strategy in ("auto", "general"):
        found = run_on_engine(case, batch, strategy)
        wrong = differences(wanted, found)
        assert not wrong, "\n".join([strategy, *wrong])


# --------------------------------------------------------------------------------- one engine of each strategy


def told(results: fyke.Results) -> list[Any]:
    """All there is in results, in order."""
    matches = [*results, *results.timeouts, *results.held]
    return [(m.id, m.key, m.kind, m.released, m.cause, [dict(e) for _, e in m.events]) for m in matches]


def counted(engine: fyke.Engine) -> dict[str, int | None]:
    """What is counted, but for the memory that a strategy takes."""
    s = engine.statistics()
    return {
        name: getattr(s, name)
        for name in s.__slots__
        if name not in ("bytes", "payload_bytes", "pinned_rows", "segments")
    }


def random_condition(random: Random) -> Expr | None:
    n = random.randrange(4)
    return random.choice(
        [None, col.x == n, col.x < n, col.x >= n, col.x != prev.x, col.x > prev.x, ~(col.x == prev.x), col.x.is_null(),
         (prev.x < n) | (col.x == n), (col.x == n) & (col.s != prev.s), ~(prev.x + col.x > n), col.s == "a"]
    )  # fmt: skip


def random_sequence(random: Random) -> Pattern:
    """Up to eleven conditions, over the number of bits that are looked up in a table; some bounded by a gap."""
    pattern = begin("s0", *_conditions(random))
    for i in range(random.choice([1, 1, 2, 3, 10])):
        pattern = pattern.next(f"s{i + 1}", *_conditions(random))
        pattern = pattern.within(gap=f"{random.randrange(1, 6)}s") if random.random() < 0.2 else pattern
    pattern = pattern.times(2).consecutive() if random.random() < 0.3 else pattern
    pattern = pattern.within(f"{random.randrange(6, 14)}s") if random.random() < 0.5 else pattern
    key = random.choice([(), ("key",), ("key",), ("key", "s")])
    pattern = pattern.by(*key) if key else pattern
    skip = random.choice(["no_skip", "to_next", "past_last_event", "to_first", "to_last"])
    stage = [f"s{random.randrange(2)}"] if skip.startswith(("to_f", "to_l")) else []
    return pattern.skip(getattr(fyke.skip, skip)(*stage))


def _conditions(random: Random) -> list[Expr]:
    return [c for c in [random_condition(random) for _ in range(random.choice([1, 1, 2]))] if c is not None]


def random_rows(random: Random, late: int) -> list[Row]:
    rows, t = [], 0
    for _ in range(random.choice([10, 40, 200])):
        t += random.choice([0, 0, 1, 1, 2, 9])
        rows.append(
            {
                "t": t + random.randrange(late + 1), "key": random.choice([1, 1, 1, 2, 2, 3, None]),
                "x": random.choice([0, 1, 2, 3, None]), "s": random.choice(["a", "b", None]),
            }
        )  # fmt: skip
    return rows


SCHEMA = fyke.Schema.of(t="int64", key="int64", x="int64", s="string")


@thorough
@given(seed=st.integers(0, 2**32))
def test_engines_of_both_strategies_tell_the_same_and_take_over_from_each_other(seed: int) -> None:
    """Results in the same order, the same counts, and equal bytes after any event, whoever took the state before."""
    random = Random(seed)
    built = {f"p{i}": random_sequence(random) for i in range(random.choice([1, 1, 2, 3]))}
    if random.random() < 0.3:
        built["loose"] = begin("a", col.x == 1).followed_by("b", col.x > prev.x).within("5s").by("key")
    late = random.choice([0, 0, 3])
    options: dict[str, Any] = {
        "time": "t", "unit": "s", "timeouts": random.random() < 0.7, "schema": SCHEMA, "out_of_order": f"{late}s",
        "key_ttl": random.choice([None, None, "3s", "6s"]), "max_partials": random.choice([100, 3, 2]),
        "on_max_partials": random.choice(["drop_oldest", "drop_newest"]),
    }  # fmt: skip
    engines = [fyke.Engine(built, **options, strategy=s) for s in ("auto", "general")]
    size = random.choice([1, 1, 3, 50])
    rows = random_rows(random, late)
    for i in range(0, len(rows), size):
        one, other = [engine.push(rows[i : i + size]) for engine in engines]
        assert told(one) == told(other)
        assert counted(engines[0]) == counted(engines[1])
        for engine in engines:
            engine.check()
        if random.random() < 0.3:
            states = [engine.snapshot() for engine in engines]
            assert states[0] == states[1]
            # Some six times a stream, at any place of it: compiling patterns for it takes longer than all the rest.
            if random.random() < 20 * size / len(rows):
                engines = [fyke.Engine.restore(states[0], built, **options, strategy=s) for s in ("auto", "general")]
        if random.random() < 0.2:
            engines[0].compact()
            engines[0].check()
    assert told(engines[0].flush()) == told(engines[1].flush())
    assert counted(engines[0]) == counted(engines[1])
    engines[0].check()


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
@thorough
@given(seed=st.integers(0, 2**32))
def test_a_bound_of_memory_drops_partial_matches_and_nothing_else_breaks(policy: str, seed: int) -> None:
    random = Random(seed)
    built = {f"p{i}": random_sequence(random) for i in range(2)}
    built["loose"] = begin("a", col.x == 1).followed_by("b", col.x > prev.x).within("5s").by("key")
    bound = random.choice([1, 3000, 6000])
    engine = fyke.Engine(built, time="t", unit="s", schema=SCHEMA, max_memory=bound, on_max_memory=policy)
    for row in random_rows(random, 0):
        engine.push([row])
        engine.check()
    s = engine.statistics()
    assert s.partials == 0 or bound > 1
    assert s.dropped_partials > 0 or s.matches + s.partials + s.timeouts == 0 or bound > 1
    engine.flush()
    engine.check()


def test_a_bound_of_partial_matches_is_an_error_that_says_where() -> None:
    pattern = begin("a").times(5).consecutive().by("key")
    rows = [{"t": t, "key": 1} for t in range(6)]
    for strategy in ("auto", "general"):
        engine = fyke.Engine(pattern, time="t", unit="s", max_partials=2, strategy=strategy)
        with pytest.raises(fyke.LimitError, match=r"3 partial matches of one key at position 2, max_partials allows 2"):
            engine.push(rows)


def test_a_skip_to_the_first_event_is_an_error_of_both_strategies() -> None:
    pattern = begin("a", col.x > 0).next("b", col.x > 1).skip(fyke.skip.to_first("a", throw=True))
    found = []
    for strategy in ("auto", "general"):
        engine = fyke.Engine(pattern, time="t", unit="s", max_partials=9, strategy=strategy)
        with pytest.raises(fyke.SkipError) as caught:
            engine.push([{"t": 0, "x": 1}, {"t": 1, "x": 2}, {"t": 2, "x": 0}])
        found.append((str(caught.value), caught.value.cause))
    assert found[0] == found[1]


def test_what_is_due_at_the_end_of_time_says_which_event_made_it_overdue() -> None:
    """A window that reaches past the last instant ends there: for an event at that instant at once."""
    last = 2**63 - 2
    pattern = begin("a", col.x > 0).next("b", col.x > 9).within("1h").by("key")
    for strategy in ("auto", "general"):
        engine = fyke.Engine(pattern, time="t", unit="ns", timeouts=True, strategy=strategy)
        engine.push([{"t": last - 5, "x": 1, "key": 1}, {"t": last, "x": 1, "key": 2}])
        state = engine.snapshot()
        causes = [(m.key, m.cause) for m in engine.flush().timeouts]
        assert causes == [(1, ("time", last)), (2, ("after", 1))], strategy
        restored = fyke.Engine.restore(state, pattern, time="t", unit="ns", timeouts=True)
        assert [(m.key, m.cause) for m in restored.flush().timeouts] == causes


def test_a_key_with_nothing_open_costs_nothing() -> None:
    engine = fyke.Engine(begin("a", col.x == 1).next("b", col.x == 2).by("key"), time="t", unit="s")
    engine.push([{"t": t, "key": t, "x": 0} for t in range(1000)])
    assert engine.statistics().keys == 0
    engine.push([{"t": 1000 + t, "key": t % 10, "x": t // 10 % 2} for t in range(1000)])
    engine.advance(1999 * 10**9)
    engine.check()
    s = engine.statistics()
    assert (s.keys, s.partials) == (10, 10)
    engine.push([{"t": 2000 + t, "key": t, "x": 0} for t in range(10)])
    engine.advance(2009 * 10**9)
    s = engine.statistics()
    assert (s.keys, s.partials, s.segments) == (0, 0, 0)
