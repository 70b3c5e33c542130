"""Bounds on what is held: max_partials, max_memory, key_ttl; what each policy does, and what is said and counted."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest

import fyke
from fyke import LimitError, begin, col, prev

# Each a opens a partial match, each b completes one with every a that is open: =>, so the a's stay.
OPEN = begin("a", col.x == 1).followed_by_any("b", col.x == 2).by("key")
EACH_A, LONG = OPEN.within("100s"), OPEN.within("1h")


def rows(text: str, key: str = "k", start: int = 0) -> list[dict[str, Any]]:
    """One row a second; a is x = 1, b is x = 2."""
    return [{"t": start + i, "key": key, "x": {"a": 1, "b": 2}.get(c, 0)} for i, c in enumerate(text)]


def engine_of(pattern: fyke.Pattern = EACH_A, **options: Any) -> fyke.Engine:
    return fyke.Engine(pattern, time="t", unit="s", timeouts=True, **options)


def pairs(results: Any) -> list[tuple[int, int]]:
    return [(m["a"]["t"], m["b"]["t"]) for m in results]


# --------------------------------------------------------------------------------- max_partials


def test_more_partial_matches_than_allowed_are_an_error_with_what_was_found_before() -> None:
    engine = engine_of(max_partials=2)
    with pytest.raises(LimitError) as raised:
        engine.push(rows("abaaax"))
    error = raised.value
    assert str(error) == (
        "3 partial matches of one key at position 3, max_partials allows 2; raise it, or choose "
        'on_max_partials="drop_oldest" or "drop_newest"'
    )
    assert pairs(error.results) == [(0, 1)]
    assert (error.position, error.time, error.cause) == (3, 3_000_000_000, ("event", 3))
    for use in (lambda: engine.push([]), lambda: engine.advance(0), engine.flush, engine.snapshot):
        with pytest.raises(fyke.FykeError, match="this engine has stopped: 3 partial matches of one key at position 3"):
            use()
    assert engine.statistics().matches == 1


def test_an_error_carries_what_earlier_chunks_of_the_same_push_had_found() -> None:
    import pyarrow as pa

    engine = engine_of(max_partials=2)
    chunks = [pa.Table.from_pylist(part) for part in (rows("ab"), rows("ab", start=2), rows("aaax", start=4))]
    with pytest.raises(LimitError) as raised:
        engine.push(pa.concat_tables(chunks))
    assert pairs(raised.value.results) == [(0, 1), (0, 3), (2, 3)]


def test_the_oldest_partial_matches_are_dropped_first() -> None:
    engine = engine_of(max_partials=2, on_max_partials="drop_oldest")
    assert pairs([*engine.push(rows("aaaab")), *engine.flush()]) == [(2, 4), (3, 4)]
    assert engine.statistics().dropped_partials == 2
    assert engine.statistics().timeouts == 2, "what was dropped has not timed out"


def test_the_newest_partial_matches_are_dropped_first() -> None:
    engine = engine_of(max_partials=2, on_max_partials="drop_newest")
    assert pairs([*engine.push(rows("aaaab")), *engine.flush()]) == [(0, 4), (1, 4)]
    assert engine.statistics().dropped_partials == 2


def test_max_partials_counts_each_key_and_each_pattern_by_itself() -> None:
    engine = fyke.Engine({"one": EACH_A, "two": EACH_A}, time="t", unit="s", max_partials=2)
    for start, key in enumerate("uvwxyz"):
        engine.push(rows("aa", key, start=2 * start))
    engine.advance(12_000_000_000)
    assert engine.statistics().partials == 2 * 6 * 2
    with pytest.raises(LimitError):
        engine.push(rows("aa", "z", start=13))


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_what_is_dropped_does_not_depend_on_batches(policy: str) -> None:
    data = rows("aabaxababaaabbxaab" * 5)
    wanted = engine_of(max_partials=3, on_max_partials=policy)
    expected = pairs([*wanted.push(data), *wanted.flush()])
    for size in (1, 7):
        engine = engine_of(max_partials=3, on_max_partials=policy)
        found = [m for i in range(0, len(data), size) for m in engine.push(data[i : i + size])]
        assert pairs([*found, *engine.flush()]) == expected
        assert engine.statistics().dropped_partials == wanted.statistics().dropped_partials
        engine.check()


# --------------------------------------------------------------------------------- max_memory


def test_more_memory_than_allowed_is_an_error_with_what_was_found_before() -> None:
    engine = engine_of(max_memory=10_000)
    found = list(engine.push(rows("abx")))
    with pytest.raises(LimitError) as raised:
        engine.push(rows("ab" + "a" * 1000, start=3))
    assert pairs(found) == [(0, 1)]
    assert pairs(raised.value.results) in ([], [(0, 4), (3, 4)])
    said = r'\d+ bytes in use at position \d+, max_memory allows 10000; raise it, or choose on_max_memory="drop_oldest"'
    assert re.match(said, str(raised.value))
    with pytest.raises(fyke.FykeError, match="this engine has stopped: "):
        engine.flush()


@pytest.mark.parametrize(("policy", "kept"), [("drop_oldest", range(900, 1000)), ("drop_newest", range(100))])
def test_under_max_memory_partial_matches_are_dropped_and_counted(policy: str, kept: range) -> None:
    """Of a thousand open partial matches some tens fit; which ones are left says the policy."""
    engine = engine_of(LONG, max_memory=20_000, on_max_memory=policy)
    for row in rows("a" * 1000):
        engine.push(row)
    s = engine.statistics()
    assert 20 < s.partials < 100
    assert s.partials + s.dropped_partials + s.waiting == 1000
    assert s.payload_bytes < 60_000
    engine.check()
    found = [first for first, _ in pairs([*engine.push(rows("b", start=1000)), *engine.flush()])]
    assert set(found) - {999} <= set(kept)
    assert len(found) > 20


def test_under_max_memory_other_keys_give_way_to_the_oldest_deadline() -> None:
    engine = engine_of(LONG, max_memory=20_000, on_max_memory="drop_oldest")
    for i in range(500):
        engine.push(rows("a", key=f"key{i}", start=i))
    s = engine.statistics()
    assert 20 < s.keys < 100
    assert s.dropped_partials == 500 - s.partials - s.waiting
    found = [m for i in (0, 495) for m in engine.push(rows("b", key=f"key{i}", start=500))]
    assert [m.key for m in [*found, *engine.flush()]] == ["key495"]
    engine.check()


# --------------------------------------------------------------------------------- key_ttl

UNBOUNDED = begin("a", col.x == 1).followed_by("b", col.x == 2).by("key")


@pytest.mark.parametrize(("gap", "found"), [(8, 1), (9, 1), (10, 0), (11, 0)])
def test_a_key_is_forgotten_after_so_long_without_an_event(gap: int, found: int) -> None:
    engine = engine_of(UNBOUNDED, key_ttl="10s")
    engine.push([*rows("a"), *rows("b", start=gap)])
    results = engine.flush()
    assert len(results) == found
    assert len(results.timeouts) == 0, "a forgotten key is no timeout"
    s = engine.statistics()
    assert (s.keys, s.partials, s.expired_keys, s.dropped_partials) == (0, 0, 1 - found, 1 - found)


def test_time_that_passes_forgets_keys_without_events_of_their_own() -> None:
    engine = engine_of(UNBOUNDED, key_ttl="10s")
    engine.push([*rows("a", key="x"), *rows("a", key="y", start=5)])
    engine.push(rows("-", key="z", start=14))
    assert engine.statistics().keys == 1
    engine.advance(15_000_000_000)
    assert engine.statistics().keys == 0


def test_prev_is_null_again_for_a_key_that_was_forgotten() -> None:
    seen_before = begin("again", prev.x.is_not_null()).by("key")
    data = [*rows("a"), *rows("a", start=9), *rows("a", start=19), *rows("a", start=28)]
    engine = fyke.Engine(seen_before, time="t", unit="s", key_ttl="10s")
    assert [m["again"]["t"] for m in [*engine.push(data), *engine.flush()]] == [9, 28]
    one_by_one = fyke.Engine(seen_before, time="t", unit="s", key_ttl="10s")
    found = [m for row in data for m in one_by_one.push(row)]
    assert [m["again"]["t"] for m in [*found, *one_by_one.flush()]] == [9, 28]


def test_key_ttl_longer_than_time_lasts_forgets_nothing() -> None:
    engine = engine_of(UNBOUNDED, key_ttl="100000d")
    engine.push(rows("a", start=1_700_000_000))
    engine.push(rows("b", start=1_900_000_000))
    assert len(engine.flush()) == 1


# --------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        (EACH_A, {}),
        (UNBOUNDED, {"key_ttl": "1h"}),
        (UNBOUNDED, {"max_partials": 100}),
        (begin("a", col.x == 1), {}),
        (begin("a", col.x == 1).next("b", col.x == 2), {}),
        (begin("a", col.x == 1).one_or_more().consecutive(), {}),
    ],
)
def test_a_pattern_that_something_bounds_makes_no_warning(pattern: fyke.Pattern, options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine_of(pattern, **options)


@pytest.mark.parametrize(
    "pattern",
    [
        UNBOUNDED,
        begin("a", col.x == 1).followed_by_any("b", col.x == 2),
        begin("a", col.x == 1).one_or_more().next("b"),
        begin("a", col.x == 1).not_followed_by("n", col.x == 3).followed_by("b", col.x == 2),
        begin("a", col.x == 1).next(begin("b").followed_by("c")),
    ],
)
def test_a_pattern_that_nothing_bounds_warns_once_and_says_what_to_write(pattern: fyke.Pattern) -> None:
    said = r"add .within\(...\), or key_ttl= or max_partials= to the engine"
    with pytest.warns(UserWarning, match=said) as seen:
        engine_of(pattern.named("mine"))
    assert [str(w.message).split(":")[0] for w in seen] == ["pattern 'mine'"]
    assert seen[0].filename == __file__


# --------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_partials": 0}, "max_partials=0: expected a positive number"),
        ({"max_partials": 1.5}, "max_partials=1.5: expected a positive number"),
        ({"max_memory": -1}, "max_memory=-1: expected a positive number"),
        ({"max_partials": True}, "max_partials=True"),
        ({"max_partials": 2**70}, "max_partials="),
        ({"on_max_partials": "drop"}, "on_max_partials='drop': expected error, drop_oldest, drop_newest"),
        ({"on_max_memory": None}, "on_max_memory=None: expected error, drop_oldest, drop_newest"),
        ({"key_ttl": 5}, "the duration 5 has no unit"),
        ({"key_ttl": "0s"}, "key_ttl"),
        ({"out_of_order": 5}, "the duration 5 has no unit"),
        ({"out_of_order": "-5s"}, "'-5s' is not a duration"),
        ({"out_of_order": "300000d"}, "the duration '300000d' is too long"),
        ({"schema": 5}, "schema"),
        ({"schema": {"t": "int64"}}, "schema"),
        ({"keep": "abc"}, "keep"),
        ({"keep": [1]}, "keep"),
    ],
)
def test_a_wrong_option_is_said_when_the_engine_is_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(fyke.DefinitionError, match=re.escape(said)):
        engine_of(**options)


@pytest.mark.parametrize(
    ("time", "unit", "said"),
    [
        ("", "s", "time: expected the name of a column, got ''"),
        (3, "s", "time: expected the name of a column, got 3"),
        ("t", "m", 'unit=\'m\': expected "s", "ms", "us" or "ns"'),
        ("t", 5, "unit=5: expected"),
    ],
)
def test_a_wrong_time_or_unit_is_said_when_the_engine_is_made(time: Any, unit: Any, said: str) -> None:
    with pytest.raises(fyke.DefinitionError, match=re.escape(said)):
        fyke.Engine(EACH_A, time=time, unit=unit)
