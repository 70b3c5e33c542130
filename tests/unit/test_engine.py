"""The engine from outside: what it takes, counts and says; that it stays sound without memory and among threads."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import re
import threading
from typing import Any

import pyarrow as pa
import pytest

import fyke
from fyke import begin, col, prev, ref

SECOND = 1_000_000_000
PAIR = begin("a", col.x == 1).followed_by("b", col.x == 2).within("10s").by("key")


def rows(text: str, key: Any = "k", start: int = 0) -> list[dict[str, Any]]:
    """One row a second; a is x = 1, b is x = 2, anything else 0."""
    return [{"t": start + i, "key": key, "x": {"a": 1, "b": 2}.get(c, 0)} for i, c in enumerate(text)]


def engine_of(patterns: Any = PAIR, **options: Any) -> fyke.Engine:
    return fyke.Engine(patterns, **({"time": "t", "unit": "s", "timeouts": True} | options))


def pairs(results: Any) -> list[tuple[int, int]]:
    return [(m["a"]["t"], m["b"]["t"]) for m in results]


# --------------------------------------------------------------------------------- patterns


def test_one_pattern_several_or_several_by_name() -> None:
    other = begin("z", col.x == 0)
    for patterns, names in (
        (PAIR, {None}),
        ([PAIR, other], {None}),
        ((PAIR.named("p"), other.named("q")), {"p", "q"}),
        ({"p": PAIR, "q": other}, {"p", "q"}),
    ):
        engine = engine_of(patterns)
        found = [*engine.push(rows("ab-")), *engine.flush()]
        assert {m.pattern for m in found} == names


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ([], "patterns: none given"),
        ({}, "patterns: none given"),
        (None, "patterns: expected a Pattern, several, or names mapped to them, got None"),
        ("pattern", "patterns: expected a Pattern, several, or names mapped to them, got 'pattern'"),
        ([PAIR, "x"], "patterns: expected a Pattern, got 'x'"),
        ([PAIR.named("p"), PAIR.named("p")], 'two patterns are named "p": give each a name of its own'),
    ],
)
def test_what_is_no_set_of_patterns_is_refused(patterns: Any, said: str) -> None:
    with pytest.raises(fyke.DefinitionError, match=re.escape(said)):
        engine_of(patterns)


def test_an_unfinished_pattern_is_refused_when_the_engine_is_made() -> None:
    with pytest.raises(fyke.PatternError, match="n"):
        engine_of(begin("a").not_followed_by("n"))


def test_two_engines_of_one_pattern_share_nothing() -> None:
    one, two = engine_of(), engine_of()
    one.push(rows("a"))
    two.push(rows("b"))
    assert (len(one.flush().timeouts), len(two.flush().timeouts)) == (1, 0)


# --------------------------------------------------------------------------------- one after the other


def test_matches_come_out_with_the_push_that_moves_the_watermark_over_them() -> None:
    engine = engine_of()
    assert [len(engine.push(row)) for row in rows("aabb--")] == [0, 0, 0, 2, 0, 0]
    assert len(engine.flush()) == 0
    bounded = engine_of(out_of_order="2s")
    assert [len(bounded.push(row)) for row in rows("aabb--")] == [0, 0, 0, 0, 0, 2]


def test_the_watermark_is_the_highest_time_less_the_bound_and_a_tick() -> None:
    engine = engine_of(out_of_order="2s")
    assert engine.watermark is None
    engine.push(rows("-", start=10))
    assert engine.watermark == 8 * SECOND - 1
    engine.push(rows("-", start=9))
    assert engine.watermark == 8 * SECOND - 1
    engine.advance(20 * SECOND)
    assert engine.watermark == 20 * SECOND
    engine.advance(dt.datetime(1970, 1, 1, 0, 0, 15))
    assert engine.watermark == 20 * SECOND
    engine.advance(dt.datetime(1970, 1, 1, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1))))
    assert engine.watermark == 30 * SECOND


def test_statistics_count_everything() -> None:
    engine = engine_of()
    data = [*rows("aab"), *rows("a", key=None, start=3), *rows("a", key="late", start=1), *rows("a", key="m", start=4)]
    assert len(engine.push(data)) == 2
    s = engine.statistics()
    assert (s.rows, s.late, s.null_keys, s.matches, s.timeouts, s.pruned) == (6, 1, 1, 2, 0, 0)
    assert (s.partials, s.held, s.keys, s.waiting) == (0, 0, 0, 1)
    assert s.watermark == 4 * SECOND - 1
    assert len(engine.advance(14 * SECOND).timeouts) == 1
    s = engine.statistics()
    assert (s.timeouts, s.partials, s.keys, s.waiting, s.pinned_rows, s.segments, s.payload_bytes) == (
        1,
        0,
        0,
        0,
        0,
        0,
        0,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        s.rows = 0  # type: ignore[misc]


def test_pruned_counts_what_a_skip_strategy_ended() -> None:
    engine = engine_of(PAIR.skip(fyke.skip.past_last_event()))
    found = [*engine.push(rows("aaab-")), *engine.flush()]
    assert pairs(found) == [(0, 3)]
    assert engine.statistics().pruned == 2


def test_an_engine_that_was_never_used_says_zero() -> None:
    s = engine_of().statistics()
    assert {f.name: getattr(s, f.name) for f in dataclasses.fields(s) if f.name != "bytes"} == {
        **{f.name: 0 for f in dataclasses.fields(s) if f.name != "bytes"},
        "watermark": None,
    }


def test_explain_says_what_is_read_and_how_each_pattern_is_run() -> None:
    text = engine_of({"p": PAIR}).explain()
    assert "x float64" in text
    assert "pattern p: general runs" in text
    assert "bit per row): col.x == 1" in text


def test_a_skip_strategy_that_throws_stops_the_engine_and_hands_out_what_came_before() -> None:
    throwing = begin("a", col.x == 1).optional().followed_by("b", col.x == 2).skip(fyke.skip.to_first("a", throw=True))
    engine = engine_of(throwing, max_partials=10)
    with pytest.raises(
        fyke.SkipError, match=r'skip to stage "a" at position 1: the match has no event in it'
    ) as raised:
        engine.push(rows("-b-"))
    assert (raised.value.position, raised.value.time, list(raised.value.results)) == (1, SECOND, [])
    with pytest.raises(fyke.FykeError, match="this engine has stopped: skip to stage"):
        engine.push(rows("a"))


# --------------------------------------------------------------------------------- threads


def test_a_second_thread_gets_an_error_and_not_a_race() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(event: Any, so_far: Any) -> bool:
        inside.set()
        assert go_on.wait(10)
        return True

    engine = engine_of(begin("a").followed_by("b", slow).within("10s"))
    thread = threading.Thread(target=lambda: engine.push(rows("aab")))
    thread.start()
    assert inside.wait(10)
    try:
        for use in (lambda: engine.push(rows("b", start=5)), lambda: engine.advance(SECOND), engine.flush):
            with pytest.raises(fyke.FykeError, match="in use by another thread; give each thread an engine of its own"):
                use()
    finally:
        go_on.set()
        thread.join()
    assert len(engine.flush()) == 1


def test_a_condition_may_not_push_into_its_own_engine() -> None:
    def greedy(event: Any, so_far: Any) -> bool:
        engine.push(rows("a"))
        return True

    engine = engine_of(begin("a").followed_by("b", greedy).within("10s"))
    with pytest.raises(fyke.FykeError, match="in use"):
        engine.push(rows("ab-"))


# --------------------------------------------------------------------------------- memory runs out

EVERYTHING = (
    begin("low", col.x == 1)
    .followed_by_any("up", col.x >= prev.x, col.x >= ref("low").x)
    .one_or_more()
    .allow_combinations()
    .followed_by("end", col.x > ref("up").x.avg() - 2)
    .within("8s")
    .by("key")
    .skip(fyke.skip.to_next())
)


def test_memory_that_runs_out_anywhere_is_an_error_and_nothing_worse() -> None:
    """Let the n-th allocation fail, for every n that a push needs: the engine says so, and can be let go."""
    data = [row for i in range(40) for row in rows("ab-ab"[i % 5], key=f"key {i % 7}", start=i)]
    failed = 0
    for n in range(1, 400):
        engine = engine_of(EVERYTHING, out_of_order="3s")
        engine.push(data[:2])
        engine._core.fail_allocation_after(n)
        try:
            for i in range(2, len(data), 9):
                engine.push(data[i : i + 9])
            engine.flush()
        except MemoryError:
            failed += 1
            engine._core.fail_allocation_after(0)
            # It has stopped and says so, or nothing had happened yet and it goes on.
            with contextlib.suppress(fyke.FykeError):
                engine.push(rows("a", start=100))
                engine.flush()
        else:
            break
    assert 5 < failed < 399


# --------------------------------------------------------------------------------- sizes


def test_more_than_sixty_four_conditions_and_many_patterns_in_one_engine() -> None:
    """Masks of several words; every pattern sees its own rows."""
    patterns = {f"p{i}": begin("a", col.n == i).followed_by("b", col.n == i + 1).within("1h") for i in range(200)}
    engine = fyke.Engine(patterns, time="t", unit="s")
    table = pa.table({"t": list(range(201)), "n": list(range(201))})
    found = [(m.pattern, m["a"]["n"], m["b"]["n"]) for m in [*engine.push(table), *engine.flush()]]
    assert found == [(f"p{i}", i, i + 1) for i in range(200)]


def test_a_long_pattern_and_a_long_match() -> None:
    long = begin("s0", col.n == 0)
    for i in range(1, 120):
        long = long.next(f"s{i}", col.n == i)
    engine = fyke.Engine(long, time="t", unit="s")
    (match,) = [*engine.push(pa.table({"t": range(121), "n": range(121)})), *engine.flush()]
    assert [stage for stage, _ in match.events] == [f"s{i}" for i in range(120)]
    many = begin("z", col.n == 0).next("a").times(2_000).consecutive().next("b", col.n == 2_001)
    engine = fyke.Engine(many, time="t", unit="s")
    (match,) = [*engine.push(pa.table({"t": range(2_003), "n": range(2_003)})), *engine.flush()]
    assert (len(match["a"]), match["b"]["n"], match.start) == (2_000, 2_001, 0)


def test_keys_of_many_kinds_and_lengths_in_one_engine() -> None:
    keys = [None, "", "k", "k" * 100_000, b"k", 1, True, (1, "k"), *[f"key {i}" for i in range(5_000)]]
    engine = engine_of()
    engine.push([row for key in keys for row in rows("a", key)])
    found = [*engine.push([row for key in keys for row in rows("b", key, start=1)]), *engine.flush()]
    assert [m.key for m in found] == keys[1:]
    assert engine.statistics().null_keys == 2
    engine.check()
