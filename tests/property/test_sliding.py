"""Sliding windows give what their definition says, with exact numbers; whatever the batches, and after a restore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import agg, col
from fyke.agg import Aggregate
from fyke.operators.sliding import SlidingWindows
from tests.oracle.aggregates import aggregate
from tests.oracle.window_definition import Element
from tests.unit.one_input import Item, ended, rising, run

SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("b", pa.bool_())])

thorough = settings(max_examples=settings.default.max_examples, deadline=None)

WHOLE = st.integers(-4, 4)
EXTREME = st.sampled_from([-(2**63), 2**63 - 1, 2**62, 0])
QUARTERS = st.integers(-400, 400).map(lambda n: n / 4)
ANY_FLOAT = st.floats(allow_subnormal=True) | st.sampled_from([1e308, -1e308, 5e-324, 1e-300, 0.1, math.nan, math.inf])


@st.composite
def rows(draw: st.DrawFn, wild: bool) -> dict[str, Any]:
    return {
        "k": draw(st.sampled_from(["a", "b", "a", None]) if draw(st.integers(0, 9)) == 0 else st.sampled_from("ab")),
        "n": draw(st.none() | WHOLE | (EXTREME if wild else WHOLE)),
        "x": draw(st.none() | QUARTERS | (ANY_FLOAT if wild else QUARTERS)),
        "s": draw(st.none() | st.sampled_from(["", "a", "ab", "b", "é"])),
        "b": draw(st.none() | st.booleans()),
    }


@st.composite
def inputs(draw: st.DrawFn) -> list[Item]:
    """Rows that come more or less in order, watermarks between; floats are quarters, or anything."""
    items: list[Item] = []
    wild = draw(st.booleans())
    now = draw(st.integers(-5, 5))
    for _ in range(draw(st.integers(0, 40))):
        now += draw(st.sampled_from([0, 0, 1, 2, 7]))
        if draw(st.integers(0, 4)) == 0:
            items.append(now - draw(st.integers(1, 8)))
        else:
            items.append((now - draw(st.sampled_from([0, 0, 0, 1, 3, 9])), draw(rows(wild))))
    items = rising(items)
    return ended(items) if draw(st.booleans()) else items


NATIVE: dict[str, Aggregate] = {
    **{f"{kind}_{name}": getattr(agg, kind)(name) for kind in ("sum", "mean", "var", "std") for name in "nx"},
    **{
        f"{kind}_{name}": getattr(agg, kind)(name)
        for kind in ("count", "min", "max", "first", "last")
        for name in "nxsb"
    },
    **{f"least_{x}_{by}": agg.arg_min(x, by) for x, by in ("xn", "nx", "sn", "ns", "bs", "nb", "ss")},
    **{f"greatest_{x}_{by}": agg.arg_max(x, by) for x, by in ("xn", "nx", "sn", "ns", "bs", "nb", "ss")},
    "rows": agg.count(),
    "spread": agg.var("x", ddof=0),
}
PYTHON: dict[str, Aggregate] = {
    "middle": agg.median("n"),
    "high": agg.quantile("n", 0.25),
    "different": agg.distinct("s"),
    "top": agg.top_k("s", 2),
    "all": agg.collect("s"),
}
INVERTIBLE = {name: each for name, each in NATIVE.items() if each.kind in ("sum", "mean", "var", "std", "count")}


@st.composite
def chosen(draw: st.DrawFn) -> dict[str, Aggregate]:
    """Some aggregates: those that are taken back, those that are not, those that Python keeps."""
    pool = draw(st.sampled_from([INVERTIBLE, NATIVE, NATIVE | PYTHON]))
    return {name: pool[name] for name in draw(st.lists(st.sampled_from(sorted(pool)), min_size=1, unique=True))}


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return found == wanted or (math.isnan(found) and math.isnan(wanted))
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)


def wanted(
    items: Sequence[Item], before: int, aggregates: dict[str, Aggregate]
) -> tuple[list[Any], list[int], list[int]]:
    """The results as (time, origin, key, values), and the places of late rows and of those without a key."""
    watermark = -(2**63)
    taken: list[Element] = []
    late, no_key, out = [], [], []
    for at, item in enumerate(items):
        if isinstance(item, int):
            for element in sorted((e for e in taken if watermark < e.t <= item), key=lambda e: (e.t, e.id)):
                inside = [e for e in taken if e.key == element.key and element.t - before <= e.t <= element.t]
                values = {
                    name: aggregate(each.kind, [arg.name for arg in each.args], each.parameter, inside)
                    for name, each in aggregates.items()
                }
                out.append((element.t, at, element.key, values))
            watermark = item
        elif item[1]["k"] is None:
            no_key.append(at)
        elif item[0] <= watermark:
            late.append(at)
        else:
            taken.append(Element(at, item[0], item[1]["k"], row=item[1]))
    return out, late, no_key


def said(state: Any) -> str:
    """A state as text: NaN is equal to itself there."""
    return repr({name: part.to_pydict() if isinstance(part, pa.RecordBatch) else part for name, part in state.items()})


def operator(before: int, aggregates: dict[str, Aggregate]) -> SlidingWindows:
    return SlidingWindows(fyke.sliding(f"{before}ns"), aggregates, SCHEMA, [col.k])


@thorough
@given(
    items=inputs(), before=st.sampled_from([0, 1, 3, 10, 10**6]), aggregates=chosen(), cuts=st.lists(st.integers(0, 45))
)
def test_each_row_has_the_aggregates_of_its_window(
    items: list[Item], before: int, aggregates: dict[str, Aggregate], cuts: list[int]
) -> None:
    results, late, no_key = wanted(items, before, aggregates)
    found = run(operator(before, aggregates), items, SCHEMA, cuts)
    assert found.times == [time for time, _, _, _ in results]
    assert found.origins == [origin for _, origin, _, _ in results]
    assert found.marks == [(at, item) for at, item in enumerate(items) if isinstance(item, int)]
    for row, (_, _, key, values) in zip(found.rows, results, strict=True):
        assert row["k"] == key
        assert (row["revision"], row["final"]) == (0, True)
        for name, value in values.items():
            assert same(row[name], value), name
    assert [row["n"] for row in found.side.get("late", [])] == [items[at][1]["n"] for at in late]
    assert [row["n"] for row in found.side.get("errors", [])] == [items[at][1]["n"] for at in no_key]


@thorough
@given(items=inputs(), before=st.sampled_from([0, 2, 10]), aggregates=chosen(), stop=st.integers(0, 40))
def test_a_restored_one_goes_on_as_one_that_never_stopped(
    items: list[Item], before: int, aggregates: dict[str, Aggregate], stop: int
) -> None:
    stop = min(stop, len(items))
    first, second = operator(before, aggregates), operator(before, aggregates)
    run(first, items[:stop], SCHEMA)
    state = first.export()
    second.restore(state)
    second.check()
    assert said(second.export()) == said(state)
    on, back = run(first, items, SCHEMA, start=stop), run(second, items, SCHEMA, start=stop)
    assert repr(on) == repr(back)  # NaN, too
    assert said(second.export()) == said(first.export())


@thorough
@given(items=inputs(), aggregates=chosen(), cuts=st.lists(st.integers(0, 45)))
def test_compaction_changes_nothing(items: list[Item], aggregates: dict[str, Aggregate], cuts: list[int]) -> None:
    aggregates = {**aggregates, "text": agg.max("s")}  # points at rows
    plain = run(operator(5, aggregates), items, SCHEMA, cuts)
    each = operator(5, aggregates)
    out = None
    for start, end in zip([0, *sorted(set(cuts))], [*sorted(set(cuts)), len(items)], strict=True):
        if start < min(end, len(items)):
            out = run(each, items[: min(end, len(items))], SCHEMA, start=start, into=out)
            each.core.compact()
            each.check()
    assert out is None or repr(out) == repr(plain)


@thorough
@given(items=inputs())
def test_quiet_keys_leave_nothing_behind(items: list[Item]) -> None:
    each = operator(3, NATIVE)
    run(each, ended(rising([item for item in items if item != 2**63 - 1])), SCHEMA)
    held = each.statistics()
    assert (held["waiting"], held["held"], held["keys"]) == (0, 0, 0)
    assert each.store.counters()["rows"] == 0
