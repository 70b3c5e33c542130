"""Random patterns that change while partial matches are open: mapped ones go on as if nothing had, old ones finish."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import Upgrade, col
from fyke.pattern import Pattern
from fyke.stage import Stage
from tests.property.strategies import patterns, streams
from tests.property.test_resume import SCHEMA, accepted, everything

Json = dict[str, Any]

EXAMPLES = max(1, settings.default.max_examples // 2)
OPTIONS: Json = {"time": "t", "unit": "ns", "timeouts": True, "max_partials": 100_000}


def with_condition(pattern: Pattern, condition: fyke.Expr) -> Pattern:
    """The pattern with one more condition on each stage."""

    def changed(stage: Stage) -> Stage:
        if stage.group is not None:
            return dataclasses.replace(stage, group=tuple(map(changed, stage.group)))
        return dataclasses.replace(stage, where=condition if stage.where is None else stage.where & condition)

    return dataclasses.replace(pattern, stages=tuple(map(changed, pattern.stages)))


def rows_of(stream: list[Json], arrow: bool) -> list[Any]:
    rows = [
        {"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"], "k": "xy"[e["id"] % 2]} for e in stream
    ]
    return [pa.Table.from_pylist([row], schema=SCHEMA) if arrow else [row] for row in rows]


@settings(max_examples=EXAMPLES, deadline=None)
@given(pattern=patterns(), stream=streams(longest=20), keyed=st.booleans(), arrow=st.booleans(), data=st.data())
def test_what_is_mapped_goes_on_as_if_nothing_had_changed(
    pattern: Json, stream: list[Json], keyed: bool, arrow: bool, data: st.DataObject
) -> None:
    """The new version has a condition that always holds, so both find the same; the records of the state are remade."""
    old = accepted(pattern)
    old = old.by("k") if keyed else old
    new = with_condition(old, col.id >= 0)
    batches = rows_of(stream, arrow)
    stop = data.draw(st.integers(1, len(batches)))
    engine = fyke.Engine(old, **OPTIONS)
    for batch in batches[:stop]:
        engine.push(batch)
    moved = fyke.Engine.restore(engine.snapshot(), new, upgrade=Upgrade("map"), **OPTIONS)
    moved.check()
    assert moved.moved is not None
    assert moved.moved.mapped == engine.statistics().partials + engine.statistics().held
    for batch in batches[stop:]:
        assert everything(moved.push(batch)) == everything(engine.push(batch))
        moved.check()
    assert everything(moved.flush()) == everything(engine.flush())


def without_name(match: fyke.Match) -> str:
    """The id; that of a pattern without a name begins with its place, and the old version has another one now."""
    return match.id.partition("/")[2]


@settings(max_examples=EXAMPLES, deadline=None)
@given(pattern=patterns(), stream=streams(longest=20), keyed=st.booleans(), data=st.data())
def test_what_finishes_is_what_the_old_version_had_begun(
    pattern: Json, stream: list[Json], keyed: bool, data: st.DataObject
) -> None:
    """The new version finds nothing: what comes out are the old version's matches that had begun."""
    old = accepted(pattern | {"skip": {"kind": "no_skip"}})
    old = old.by("k") if keyed else old
    batches = rows_of(stream, False)
    stop = data.draw(st.integers(1, len(batches)))
    engine = fyke.Engine(old, **OPTIONS)
    for batch in batches[:stop]:
        engine.push(batch)
    new = with_condition(old, col.id < 0)
    moved = fyke.Engine.restore(engine.snapshot(), new, upgrade=Upgrade("finish"), **OPTIONS)
    moved.check()
    reached = engine.watermark
    assert reached is not None
    found, wanted = [], []
    for batch in [*batches[stop:], None]:
        one, other = (e.flush() if batch is None else e.push(batch) for e in (moved, engine))
        found += [without_name(match) for match in [*one, *one.timeouts]]
        # Rows that still waited for the watermark when it changed had begun nothing.
        begun = (match for match in [*other, *other.timeouts] if match.start <= reached)
        wanted += map(without_name, begun)
    assert found == wanted
