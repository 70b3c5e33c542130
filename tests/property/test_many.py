"""Many patterns in one engine give what each gives alone, in the order of the patterns."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fyke
from fyke import Pattern, begin, col, prev, ref

SCHEMA = fyke.Schema.of(t="int64", key="int64", x="int64", kind="string")


def random_pattern(random: Random) -> Pattern:
    """Of each sort that rows are sent to in another way: for a bit, for any of several, for none, for every row."""
    n = random.randrange(20)
    pattern = begin(
        "a",
        random.choice(
            [col.x == n, col.x < n, col.kind == "abc"[n % 3], (col.x > n) | (col.kind == "a"), col.x != prev.x]
        ),
    )
    for i in range(random.choice([0, 1, 1, 2])):
        how = random.choice(["next", "followed_by", "followed_by_any"])
        condition = random.choice([col.x >= n, col.x > ref("a").x, ~(col.x == n), col.kind == "abc"[(n + i) % 3]])
        pattern = getattr(pattern, how)(f"s{i}", condition)
    if random.random() < 0.2:
        pattern = pattern.not_next("not", col.x < n).followed_by("end", col.x > n)
    pattern = pattern.within(f"{random.randrange(3, 9)}s")
    return pattern.by("key") if random.random() < 0.7 else pattern


def told(results: fyke.Results, pattern: int) -> list[Any]:
    """What a pattern gave, but for its name."""
    mine = [m for m in [*results, *results.timeouts] if m.pattern == f"p{pattern}"]
    return [(m.id.split("/", 1)[1], m.kind, m.key, m.released, m.cause) for m in mine]


@pytest.mark.parametrize("size", [1, 100])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_an_engine_of_many_patterns_is_as_many_engines(size: int, seed: int) -> None:
    random = Random(seed)
    built = {f"p{i}": random_pattern(random) for i in range(random.choice([2, 7, 70, 130]))}
    kinds, values = "abcd", [None, *range(20)]
    rows = [
        {"t": t, "key": random.choice([1, 2, None]), "x": random.choice(values), "kind": random.choice(kinds)}
        for t in range(40)
    ]
    options: dict[str, Any] = {"time": "t", "unit": "s", "timeouts": True, "schema": SCHEMA}
    engine = fyke.Engine(built, **options)
    together = [engine.push(rows[i : i + size]) for i in range(0, len(rows), size)] + [engine.flush()]
    engine.check()
    for result in together:
        by_event = [(m.cause, int((m.pattern or "")[1:])) for m in result if m.cause[0] == "event"]
        assert by_event == sorted(by_event), "per event, in the order of the patterns"
    for i in random.sample(range(len(built)), min(len(built), 10)):
        alone = fyke.Engine({f"p{i}": built[f"p{i}"]}, **options)
        wanted = [alone.push(rows[k : k + size]) for k in range(0, len(rows), size)] + [alone.flush()]
        assert [told(result, i) for result in together] == [told(result, i) for result in wanted]
