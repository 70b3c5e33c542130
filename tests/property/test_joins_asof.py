"""The as-of join gives what the oracle gives, in its order, whatever the batches and the arrival order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.batching import cuts
from tests.conformance.join_adapter import feed_of, ids_of, operator_for, rows_of
from tests.oracle.joins import run_asof
from tests.property.join_strategies import asofs, inputs
from tests.unit.two_inputs import run

Json = dict[str, Any]

thorough = settings(max_examples=settings.default.max_examples, deadline=None)


@thorough
@given(join=asofs(), items=inputs(), batch=st.sampled_from(["1", "7", "all"]))
def test_the_engine_agrees_with_the_oracle(join: Json, items: list[Json], batch: str) -> None:
    case = {"join": join, "input": items}
    wanted = run_asof(case)
    found = run(operator_for(case), feed_of(case), cuts(len(items), batch))
    assert [tuple(row.values()) for row in rows_of(found)] == [(r.l, r.r, r.ts, r.at) for r in wanted.results]
    assert ids_of(found, "late") == wanted.late


@thorough
@given(join=asofs(), items=inputs(), stop=st.integers(0, 40))
def test_a_join_restored_after_any_item_goes_on_as_the_oracle(join: Json, items: list[Json], stop: int) -> None:
    case = {"join": join, "input": items}
    wanted = run_asof(case)
    stop = min(stop, len(items))
    feed, first, second = feed_of(case), operator_for(case), operator_for(case)
    first.step(feed.batches(0, stop))
    second.restore(first.export())
    rest = run(second, feed, start=stop, check=False)
    assert rows_of(rest) == [{"l": r.l, "r": r.r, "ts": r.ts, "at": r.at} for r in wanted.results if r.at >= stop]
    assert ids_of(rest, "late") == [i for i in wanted.late if i >= stop]


@thorough
@given(join=asofs(), items=inputs(), data=st.data())
def test_arrival_order_does_not_count_if_nothing_is_late(join: Json, items: list[Json], data: st.DataObject) -> None:
    """Elements of equal time keep their order; the watermarks come last."""
    elements = [item | {"key": item["key"]} for item in items if "t" in item]
    order = data.draw(st.permutations(range(len(elements))))
    end = [{"side": side, "watermark": "inf"} for side in "lr"]
    in_time = sorted(range(len(elements)), key=lambda i: (elements[i]["t"], i))
    ranks = {i: rank for rank, i in enumerate(in_time)}
    shuffled = [elements[i] for i in order]
    # Among equal times of one side the order of arrival counts: give equal ones their places back.
    for side in "lr":
        for t in {e["t"] for e in elements if e["side"] == side}:
            same = [i for i in in_time if elements[i]["t"] == t and elements[i]["side"] == side]
            places = sorted(order.index(i) for i in same)
            for place, i in zip(places, same, strict=True):
                shuffled[place] = elements[i]
    named = {id(e): ranks[i] for i, e in enumerate(elements)}

    def pairs(arrived: list[Json]) -> list[tuple[int, int | None]]:
        case = {"join": join, "input": [*arrived, *end]}
        joined = rows_of(run(operator_for(case), feed_of(case)))
        name = [named[id(e)] for e in arrived]
        return sorted((name[row["l"]], None if row["r"] is None else name[row["r"]]) for row in joined)

    assert pairs(shuffled) == pairs(elements)
