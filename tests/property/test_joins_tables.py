"""Tables, their joins and streams enriched by them give what the oracle gives, whatever the batches and restarts."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke import col
from fyke.operators.changes import with_change
from fyke.operators.enrichment import Enrichment
from fyke.operators.table import CompactedTable, TableJoin
from tests.conformance.batching import cuts
from tests.oracle.tables import compacted, enriched, joined
from tests.oracle.window_definition import Element
from tests.unit.two_inputs import LEFT, RIGHT, Feed, Row, run

thorough = settings(max_examples=settings.default.max_examples, deadline=None)

LOG = pa.schema([("key", pa.string()), ("v", pa.int64()), ("id", pa.int64())])
CHANGES = with_change(LOG)
SIDES = {"l": LEFT, "r": RIGHT}
HOWS = st.sampled_from(["inner", "left", "right", "outer"])
BATCHES = st.sampled_from(["1", "7", "all"])


@st.composite
def elements(draw: st.DrawFn, sides: str, values: tuple[Any, ...]) -> list[Element]:
    """Elements of few keys in order of arrival; times mean nothing."""
    n = draw(st.integers(0, 40))
    one = st.tuples(st.sampled_from("ab"), st.sampled_from(sides), st.sampled_from(values), st.integers(-5, 5))
    drawn = draw(st.lists(one, min_size=n, max_size=n))
    return [Element(at, t, key, v, side) for at, (key, side, v, t) in enumerate(drawn)]


class OneInput:
    """An operator of one input, fed with the left side of a feed."""

    def __init__(self, operator: Any) -> None:
        self.operator = operator

    def step(self, inputs: list[Any]) -> Any:
        """Take the left batch."""
        return self.operator.step(inputs[:1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.operator, name)


def told(make: Any, feed: Feed, batch: str, stop: int) -> list[Any]:
    """Run an operator, restored into another one before the item at `stop`."""
    n = len(feed.items)
    first, second = make(), make()
    before = run(first, Feed(feed.schemas, feed.items[:stop]), cuts(stop, batch), check=False) if stop else None
    second.restore(first.export())
    second.check()
    after = run(second, feed, cuts(n, batch), start=stop, check=False)
    return [*(before.rows if before else []), *after.rows]


@thorough
@given(
    log=elements("l", (None, 1, 2)), delete=st.booleans(), retract=st.booleans(), batch=BATCHES, stop=st.integers(0, 40)
)
def test_a_compacted_log_agrees(log: list[Element], delete: bool, retract: bool, batch: str, stop: int) -> None:
    condition = col.v.is_null() if delete else None
    feed = Feed((LOG, LOG), [Row(LEFT, e.t, (e.key, e.v, e.id)) for e in log])
    make = lambda: OneInput(CompactedTable((LOG, [col.key]), condition, retract))  # noqa: E731
    found = told(make, feed, batch, min(stop, len(log)))
    wanted = compacted(log, delete, retract)
    assert [(at, time, kind, place) for at, time, (kind, _, _, place) in found] == [
        (change.at, log[change.at].t, change.kind, change.row[0]) for change in wanted
    ]


KINDS = ("+I", "+I", "-U", "+U", "-D")


@thorough
@given(both=elements("lr", KINDS), how=HOWS, batch=BATCHES, stop=st.integers(0, 40))
def test_a_join_of_tables_agrees(both: list[Element], how: str, batch: str, stop: int) -> None:
    feed = Feed((CHANGES, CHANGES), [Row(SIDES[e.side], e.t, (e.v, e.key, e.id, e.id)) for e in both])
    make = lambda: TableJoin((CHANGES, [col.key]), (CHANGES, [col.key]), how)  # noqa: E731
    found = told(make, feed, batch, min(stop, len(both)))
    wanted = joined(both, how)
    assert [(at, kind, left, right) for at, _, (kind, _, _, left, _, right) in found] == [
        (change.at, change.kind, *change.row) for change in wanted
    ]


@thorough
@given(both=elements("lr", KINDS), how=st.sampled_from(["inner", "left"]), batch=BATCHES, stop=st.integers(0, 40))
def test_an_enriched_stream_agrees(both: list[Element], how: str, batch: str, stop: int) -> None:
    rows = [
        Row(LEFT, e.t, (e.key, e.id, e.id)) if e.side == "l" else Row(RIGHT, e.t, (e.v, e.key, 0, e.id)) for e in both
    ]
    make = lambda: Enrichment((LOG, [col.key]), (CHANGES, [col.key]), how)  # noqa: E731
    found = told(make, Feed((LOG, CHANGES), rows), batch, min(stop, len(both)))
    assert [(left, right) for _, _, (_, _, left, _, right) in found] == enriched(both, how)
    assert [time for _, time, _ in found] == [both[left].t for left, _ in enriched(both, how)]
