"""Snapshots with damaged records under sound checksums: looked into, upgraded or split they are an error, no other."""

from __future__ import annotations

import contextlib
import json
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings

import fyke
from fyke import Engine, StateError, Upgrade, begin, col, prev, ref
from fyke.rescale import merge, split
from fyke.snapshot import TABLES, read_container, write_container
from fyke.stateview import StateView

N = settings.default.max_examples
OPTIONS: dict[str, Any] = {"time": "ts", "unit": "s", "out_of_order": "3s"}


def version(limit: int) -> fyke.Pattern:
    loop = begin("a", col.x > 0, col.x > prev.x).one_or_more().followed_by("b", col.x > ref("a").x.sum(), col.x > limit)
    return loop.within("1h").by("k").skip(fyke.skip.past_last_event())


@pytest.fixture(scope="module", params=["rows", "arrow"])
def sections(request: pytest.FixtureRequest) -> Any:
    rng = Random(1)
    rows = [{"ts": n, "k": "xyz"[n % 3], "x": rng.randrange(9)} for n in range(40)]
    engine = Engine(version(5), **OPTIONS)
    engine.push(rows if request.param == "rows" else pa.Table.from_pylist(rows))
    found = read_container(engine.snapshot())
    assert found["runs"].num_rows > 5
    return found


def damaged(sections: dict[str, Any], rng: Random) -> bytes:
    """The snapshot with a value, a row, an entry or a section changed."""
    changed = dict(sections)
    what = rng.randrange(5)
    if what == 0:
        meta = json.loads(json.dumps(changed["meta"]))
        name = rng.choice(list(meta))
        meta[name] = rng.choice([None, -1, 0, 2**62, "x", [], {}, [1], 1.5])
        changed["meta"] = meta
    elif what == 1:
        del changed[rng.choice(list(changed))]
    else:
        name = rng.choice([each for each in changed if not isinstance(changed[each], dict) and changed[each].num_rows])
        batch = changed[name]
        if what == 2:
            changed[name] = batch.slice(0, rng.randrange(batch.num_rows))
        else:
            numeric = [i for i, field in enumerate(batch.schema) if pa.types.is_integer(field.type)]
            if numeric:
                i = rng.choice(numeric)
                values = batch.column(i).to_pylist()
                kind = batch.schema.field(i).type
                low = 0 if pa.types.is_unsigned_integer(kind) else -5
                top = min(2**31, 2 ** (kind.bit_width - 1) - 1)
                values[rng.randrange(len(values))] = rng.choice([low, 0, 1, 2, 3, 7, 100, top])
                changed[name] = batch.set_column(i, batch.schema.field(i), pa.array(values, kind))
    return write_container(changed)


def test_damaged_records_are_an_error_and_nothing_worse(sections: dict[str, Any]) -> None:
    rng = Random(2)
    refused = 0
    for _ in range(N):
        state = damaged(sections, rng)
        for use in (
            lambda state: list(StateView(state).partials()),
            lambda state: Engine.restore(state, version(6), upgrade=Upgrade("map", rest="drop"), **OPTIONS).check(),
            lambda state: Engine.restore(state, version(6), upgrade=Upgrade("finish"), **OPTIONS).check(),
            lambda state: merge(split(state, 2)),
        ):
            try:
                use(state)
            except StateError:
                refused += 1
    assert refused > N / 2


def test_damaged_definitions_are_an_error(sections: dict[str, Any]) -> None:
    for told in (None, 5, "", "{", "[]", "{}", '{"patterns": 5}', '{"patterns": ["x"], "retired": -4}'):
        meta = sections["meta"] | {"definition": told}
        state = write_container(sections | {"meta": meta})
        with pytest.raises(StateError):
            list(StateView(state).partials())
        with pytest.raises(StateError):
            Engine.restore(state, version(6), upgrade=Upgrade("map"), **OPTIONS)
    assert TABLES
    with contextlib.suppress(StateError):
        StateView(write_container(sections))
