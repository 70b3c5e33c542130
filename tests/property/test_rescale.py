"""A state split by key and put together again: the engines find together what one engine finds."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import Engine, StateError, begin, col
from fyke.rescale import merge, part_of, split
from tests.property.strategies import patterns, streams
from tests.property.test_resume import SCHEMA, accepted

Json = dict[str, Any]
EXAMPLES = max(1, settings.default.max_examples // 2)
OPTIONS: Json = {"time": "t", "unit": "ns", "max_partials": 100_000, "out_of_order": "3ns"}


def ids(results: fyke.Results) -> list[str]:
    return sorted(match.id for match in results)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    pattern=patterns(), stream=streams(longest=24), arrow=st.booleans(), n=st.integers(1, 3), data=st.data()
)
def test_parts_of_a_state_find_together_what_the_whole_finds(
    pattern: Json, stream: list[Json], arrow: bool, n: int, data: st.DataObject
) -> None:
    built = accepted(pattern).by("k")
    rows = [
        {"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"], "k": "wxyz"[e["id"] % 4]} for e in stream
    ]
    stop = data.draw(st.integers(1, len(rows)))
    again = data.draw(st.integers(stop, len(rows)))
    whole = Engine(built, **OPTIONS)

    def shaped(some: list[Json]) -> Any:
        return pa.Table.from_pylist(some, schema=SCHEMA) if arrow else some

    whole.push(shaped(rows[:stop]))
    parts = [Engine.restore(state, built, **OPTIONS) for state in split(whole.snapshot(), n)]
    for part in parts:
        part.check()
    assert sum(part.statistics().partials for part in parts) == whole.statistics().partials
    assert sum(part.statistics().waiting for part in parts) == whole.statistics().waiting
    for at in range(stop, again):
        wanted, row = ids(whole.push(shaped([rows[at]]))), rows[at]
        found = ids_of_all(
            [parts[part_of(row["k"], n)].push(shaped([row]), [at])]
            + [part.advance(whole.watermark) for part in parts if whole.watermark is not None]
        )
        assert found == wanted
    together = Engine.restore(merge([part.snapshot() for part in parts]), built, **OPTIONS)
    together.check()
    assert together.statistics().partials == whole.statistics().partials
    for at in range(again, len(rows)):
        assert ids(together.push(shaped([rows[at]]), [at])) == ids(whole.push(shaped([rows[at]])))
    assert ids(together.flush()) == ids(whole.flush())


def ids_of_all(several: list[fyke.Results]) -> list[str]:
    return sorted(match.id for results in several for match in results)


SPREE = begin("low", col.x < 2).followed_by("high", col.x > 5).within("1h").by("k")


def engine_of(keys: str, pattern: Any = SPREE) -> Engine:
    engine = Engine(pattern, time="ts", unit="s")
    engine.push([{"ts": 0, "k": key, "n": 1, "x": 1} for key in keys])
    engine.advance(5 * 10**9)
    return engine


def test_the_part_of_a_key_can_be_said() -> None:
    states = split(engine_of("abc").snapshot(), 2, part=lambda key: int(key == "b"))
    found = [sorted(p.key for p in Engine.restore(s, SPREE, time="ts", unit="s").state.partials()) for s in states]
    assert found == [["a", "c"], ["b"]]
    with pytest.raises(StateError, match=r"part\('a'\) gave 2: expected 0 to 1"):
        split(engine_of("a").snapshot(), 2, part=lambda key: 2)


def test_a_part_without_keys_is_a_state_too() -> None:
    (_, empty) = split(engine_of("ab").snapshot(), 2, part=lambda key: 0)
    part = Engine.restore(empty, SPREE, time="ts", unit="s")
    assert part.watermark == 5 * 10**9
    assert part.statistics().rows == 0


def test_patterns_without_a_key_or_of_several_keys_are_refused() -> None:
    unkeyed = begin("a", col.x < 2).next("b").within("1h")
    for pattern in (unkeyed, [SPREE, unkeyed.by("n")]):
        with pytest.raises(StateError, match="all patterns must have the same"):
            split(engine_of("a", pattern).snapshot(), 2)


def test_states_of_other_watermarks_or_patterns_are_not_put_together() -> None:
    one, other = engine_of("a"), engine_of("b")
    other.advance(9 * 10**9)
    with pytest.raises(StateError, match="other watermarks"):
        merge([one.snapshot(), other.snapshot()])
    with pytest.raises(StateError, match="other patterns"):
        merge([one.snapshot(), engine_of("b", SPREE.named("other")).snapshot()])
    with pytest.raises(StateError, match="no states"):
        merge([])


def test_a_key_that_is_in_two_states_is_refused() -> None:
    state = merge([engine_of("ab").snapshot(), engine_of("bc").snapshot()])
    with pytest.raises(StateError, match="a key is there twice"):
        Engine.restore(state, SPREE, time="ts", unit="s")
