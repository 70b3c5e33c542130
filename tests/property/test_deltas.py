"""A base and its deltas are the snapshot of now, and a frozen state is that of its moment: the same bytes."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fyke
from fyke import begin, col
from fyke.deltas import digest_of
from fyke.snapshot import read_snapshot
from tests.property.test_resume import NUMBERED, container, random_log, random_pattern, same_state, sections_of

EXAMPLES = settings.default.max_examples
PAIR = begin("a", col.x == 1).followed_by("b", col.x == 2).within("1h").by("key")


def random_options(random: Random) -> dict[str, Any]:
    return {
        "time": "t", "unit": "s", "timeouts": True, "schema": NUMBERED, "out_of_order": random.choice(["0s", "2s"]),
        "key_ttl": random.choice([None, "3s", "6s"]), "max_partials": random.choice([8, 3]),
        "on_max_partials": random.choice(["drop_oldest", "drop_newest"]),
        "strategy": random.choice(["auto", "general"]),
    }  # fmt: skip


def strict_pattern(random: Random) -> fyke.Pattern:
    pattern = begin("s0", col.x == random.randrange(3)).next("s1", col.x >= random.randrange(3)).next("s2", col.x == 1)
    pattern = pattern.within("6s") if random.random() < 0.5 else pattern
    return pattern.by("key") if random.random() < 0.7 else pattern


def compact_pattern(random: Random) -> fyke.Pattern:
    pattern = begin("s0", col.x == random.randrange(3)).followed_by_any("s1", col.x >= random.randrange(3))
    pattern = pattern.followed_by_any("s2", col.x == 1) if random.random() < 0.5 else pattern
    pattern = pattern.within(f"{random.randrange(2, 9)}s")
    return pattern.by("key") if random.random() < 0.7 else pattern


def batches_of(random: Random, rows: list[dict[str, Any]]) -> list[Any]:
    size = random.choice([2, 7, 30])
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    return [pa.Table.from_pylist(part, schema=NUMBERED) if random.random() < 0.5 else part for part in parts]


def made(random: Random) -> tuple[dict[str, fyke.Pattern], dict[str, Any], list[Any]]:
    """Patterns, options, rows; at times such that no partial matches are kept, but compact sets."""
    options, kinds = random_options(random), [random_pattern, strict_pattern]
    if random.random() < 0.3:
        kinds = [compact_pattern, strict_pattern]
        options |= {"timeouts": False, "key_ttl": None, "max_partials": None}
    built = {f"p{i}": random.choice(kinds)(random) for i in range(random.randrange(1, 4))}
    return built, options, batches_of(random, random_log(random)[:120])


def step(engine: fyke.Engine, random: Random, batch: Any) -> None:
    engine.push(batch)
    if random.random() < 0.1:
        engine.compact()
    engine.check()


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_base_and_its_deltas_are_the_snapshot_of_now(seed: int) -> None:
    random = Random(seed)
    built, options, batches = made(random)
    engine = fyke.Engine(built, **options)
    engine.push(batches[0])
    base, deltas = b"", []
    for batch in batches[1:]:
        if not base or random.random() < 0.05:
            base, deltas = engine.snapshot(base=True), []
            same_state(fyke.merged(base, []), engine.snapshot())
        step(engine, random, batch)
        if random.random() < 0.2:
            deltas.append(engine.delta())
            same_state(fyke.merged(base, deltas), engine.snapshot())
    if base:
        engine.flush()
        deltas.append(engine.delta())
        whole = fyke.merged(base, deltas)
        same_state(whole, engine.snapshot())
        fyke.Engine.restore(whole, built, **options).check()


@settings(max_examples=EXAMPLES, deadline=None)
@example(seed=16366)  # a segment that was dead before the rows of another kind were put together
@given(seed=st.integers(0, 2**32))
def test_a_frozen_state_is_that_of_its_moment_whatever_happens_before_it_is_written(seed: int) -> None:
    random = Random(seed)
    built, options, batches = made(random)
    engine, undisturbed = fyke.Engine(built, **options), fyke.Engine(built, **options)
    frozen, expected, base, deltas = None, b"", b"", []
    for batch in batches:
        found = engine.push(batch)
        assert [m.id for m in found] == [m.id for m in undisturbed.push(batch)]
        if frozen is None and random.random() < 0.3:
            frozen, expected = engine.freeze(base=True), engine.snapshot()
        elif frozen is not None:
            frozen.collect(random.choice([1, 2, 100]))
            if random.random() < 0.2:
                engine.compact()
            if random.random() < 0.3:
                base, deltas = frozen.snapshot(), []
                same_state(fyke.merged(base, []), expected)
                deltas.append(engine.delta())
                same_state(fyke.merged(base, deltas), engine.snapshot())
                frozen = None
        engine.check()
    same_state(engine.snapshot(), undisturbed.snapshot())
    assert len(engine.flush()) == len(undisturbed.flush())


def test_a_delta_costs_what_changed() -> None:
    n = 20_000
    engine = fyke.Engine(PAIR, time="t", unit="s")
    engine.push(pa.table({"t": [0] * n, "key": range(n), "x": [1] * n}))
    engine.advance(500_000_000)
    base = engine.snapshot(base=True)
    engine.push(pa.table({"t": [1] * 200, "key": range(0, n, n // 200), "x": [1] * 200}))
    engine.advance(1_500_000_000)
    delta = engine.delta()
    assert len(delta) < len(base) / 30
    second = engine.delta()
    assert len(second) < 8_000 < len(delta)
    with pytest.raises(fyke.StateError, match="does not follow"):
        fyke.merged(base, [engine.delta()])


def test_a_freeze_shows_its_moment_after_many_pushes_and_ends_by_itself() -> None:
    n = 30_000
    engine = fyke.Engine(PAIR, time="t", unit="s")
    engine.push(pa.table({"t": [0] * n, "key": range(n), "x": [1] * n}))
    engine.advance(500_000_000)
    expected = engine.snapshot()
    frozen = engine.freeze()
    assert not frozen.ready
    for i in range(10):
        engine.push(pa.table({"t": [i] * 500, "key": range(i * 500, i * 500 + 500), "x": [2] * 500}))
    assert frozen.ready
    engine.flush()
    assert frozen.snapshot() == expected


def test_what_is_no_base_or_no_delta_of_it_is_refused() -> None:
    engine = fyke.Engine(PAIR, time="t", unit="s")
    with pytest.raises(fyke.StateError, match="base=True"):
        engine.delta()
    with pytest.raises(fyke.StateError, match="no row has come"):
        engine.snapshot(base=True)
    engine.push([{"t": 0, "x": 1, "key": "k"}])
    plain, base = engine.snapshot(), engine.snapshot(base=True)
    engine.push([{"t": 1, "x": 1, "key": "l"}])
    first = engine.delta()
    engine.push([{"t": 2, "x": 1, "key": "m"}])
    second = engine.delta()
    for state, deltas in ((plain, [first]), (base, [second]), (base, [second, first]), (base, [base]), (first, [])):
        with pytest.raises(fyke.StateError):
            fyke.merged(state, deltas)
    assert fyke.merged(base, [first, second]) == engine.snapshot()


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_bytes_changed_behind_a_right_checksum_are_an_error_or_a_state(seed: int) -> None:
    random = Random(seed)
    engine = fyke.Engine({"p": PAIR, "q": random_pattern(Random(5))}, time="t", unit="s", schema=NUMBERED)
    rows = random_log(Random(3))
    engine.push(rows[:20])
    base = engine.snapshot(base=True)
    engine.push(rows[20:40])
    delta = engine.delta()
    parts = {"base": sections_of(base), "delta": sections_of(delta)}
    which = parts[random.choice(["base", "delta"])]
    at = random.randrange(len(which))
    data = bytearray(which[at][1])
    for _ in range(random.choice([1, 1, 2, 8])):
        if data:
            place = random.randrange(len(data))
            data[place] = random.choice([0, 1, 255, 127, data[place] ^ 1, random.randrange(256)])
    which[at] = (which[at][0], bytes(data))
    state = container(parts["base"])
    before, after = digest_of(base).encode(), digest_of(state).encode()
    changed = container([(name, data.replace(before, after)) for name, data in parts["delta"]])
    try:
        whole = fyke.merged(state, [changed])
        fyke.Engine.restore(whole, {"p": PAIR, "q": random_pattern(Random(5))}, time="t", unit="s").check()
    except fyke.StateError:
        pass


def test_memory_that_runs_out_while_changes_are_tracked_is_an_error_and_nothing_worse() -> None:
    """Let the n-th allocation fail, for every n that a freeze, the pushes after it and a delta need."""
    rows = [{"t": i, "x": 1 + i % 2, "key": f"k{i * 7 % 31}"} for i in range(120)]
    failed = 0
    for n in range(1, 400):
        engine = fyke.Engine(PAIR, time="t", unit="s")
        engine.push(rows[:60])
        engine._core.fail_allocation_after(n)
        try:
            frozen = engine.freeze(base=True)
            for i in range(60, 120, 20):
                engine.push(rows[i : i + 20])
            base = frozen.snapshot()
            delta = engine.delta()
        except MemoryError:
            failed += 1
            engine._core.fail_allocation_after(0)
            with contextlib.suppress(fyke.FykeError):
                engine.push(rows[60:])
                engine.check()
        else:
            engine._core.fail_allocation_after(0)
            assert fyke.merged(base, [delta]) == engine.snapshot()
            break
    assert 2 < failed < 399


def test_memory_that_runs_out_during_a_restore_is_an_error_and_nothing_worse() -> None:
    engine = fyke.Engine({"p": PAIR, "q": random_pattern(Random(5))}, time="t", unit="s", schema=NUMBERED)
    engine.push(random_log(Random(3))[:40])
    snapshot = read_snapshot(engine.snapshot())
    failed = 0
    for n in range(1, 400):
        plan, _, core = engine._compiled(snapshot.schema)
        core.fail_allocation_after(n)
        try:
            snapshot.fill(plan, core)
        except MemoryError:
            failed += 1
        else:
            break
    assert 2 < failed < 399
