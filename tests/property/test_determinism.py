"""Results depend on the events and their order alone: not on batches, input formats, keys or other patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fyke
from fyke import begin, col, prev, ref
from tests.property.strategies import patterns, streams
from tests.unit.corpus_patterns import to_pattern

Json = dict[str, Any]
Row = dict[str, Any]

EXAMPLES = settings.default.max_examples
searching = settings(max_examples=EXAMPLES, deadline=None)
SCHEMA = pa.schema([("t", pa.int64()), ("type", pa.string()), ("v", pa.float64()), ("id", pa.int64())])


def accepted(pattern: Json) -> fyke.Pattern:
    """Build a pattern that is not refused and cannot fail at run time."""
    assume(not pattern["skip"].get("throw"))
    try:
        return to_pattern(pattern)
    except fyke.DefinitionError:
        assume(False)
        raise


def rows_of(events: Iterable[Json], **more: Any) -> list[Row]:
    return [{"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"], **more} for e in events]


def engine_of(patterns: Any, bound: int = 0, **options: Any) -> fyke.Engine:
    """One tick of the streams is a nanosecond."""
    given = {"time": "t", "unit": "ns", "timeouts": True, "max_partials": 100_000, "out_of_order": f"{bound}ns"}
    return fyke.Engine(patterns, **(given | options))


def batches(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def told(match: fyke.Match) -> tuple[Any, ...]:
    """All that a match says."""
    events = [(stage, tuple(event.items()), event.time, event.position) for stage, event in match.events]
    return (match.pattern, match.kind, match.id, match.key, match.start, match.end, match.released, match.cause, events)


def everything(results: Iterable[fyke.Results]) -> dict[str, list[Any]]:
    """All that came out, in its order."""
    found: dict[str, list[Any]] = {"matches": [], "timeouts": [], "held": [], "late": []}
    for result in results:
        found["matches"] += map(told, result.matches)
        found["timeouts"] += map(told, result.timeouts)
        found["held"] += map(told, result.held)
        found["late"] += zip(result.late.positions, [tuple(row.items()) for row in result.late], strict=True)
    return found


def content(match: fyke.Match) -> tuple[Any, ...]:
    """A match by what is in it, wherever its events stood in the order of arrival."""
    return (match.pattern, match.kind, match.key, match.released, [(s, e["id"]) for s, e in match.events])


def run(engine: fyke.Engine, data: Iterable[Any]) -> list[fyke.Results]:
    return [*[engine.push(batch) for batch in data], engine.flush()]


# -------------------------------------------------------------------------------- one order of arrival


@st.composite
def arrivals(draw: st.DrawFn, late: bool) -> tuple[list[Row], int]:
    """Rows in an order of arrival, and a bound of disorder; with `late`, one that some rows exceed."""
    rows = rows_of(draw(streams()))
    delays = draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)))
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["t"] + delays[i], i))
    bound = draw(st.integers(0, 2)) if late else max(delays)
    return [rows[i] for i in order], bound


@searching
@given(pattern=patterns(), arrival=arrivals(late=True), noops=st.lists(st.booleans(), min_size=3, max_size=3))
def test_batches_and_advances_that_say_nothing_new_change_nothing(
    pattern: Json, arrival: tuple[list[Row], int], noops: list[bool]
) -> None:
    rows, bound = arrival
    built = accepted(pattern)
    wanted = everything(run(engine_of(built, bound), [rows]))
    for size, noop in zip((1, 7, 2), noops, strict=True):
        engine = engine_of(built, bound)
        results = []
        for batch in batches(rows, size):
            results.append(engine.push(batch))
            if noop and engine.watermark is not None:
                results += [engine.advance(engine.watermark), engine.advance(engine.watermark - 3), engine.push([])]
        assert everything([*results, engine.flush()]) == wanted, f"batches of {size}"


def as_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def as_chunks(rows: Sequence[Row]) -> pa.Table:
    """A table of several chunks, each a slice of something bigger."""
    whole = pa.concat_tables([as_table(rows[:1])] * 3 + [as_table(rows)])
    return pa.concat_tables([whole.slice(3, 2), whole.slice(5)])


def as_numpy(rows: Sequence[Row]) -> np.ndarray[Any, Any]:
    kinds = [("t", "i8"), ("type", "U1"), ("v", "f8"), ("id", "i8")]
    return np.array([tuple(row.values()) for row in rows], kinds)


class Thing:
    def __init__(self, row: Row) -> None:
        self.__dict__.update(row)


@searching
@given(pattern=patterns(), arrival=arrivals(late=True), cut=st.integers(1, 20))
def test_rows_objects_tables_and_arrays_are_the_same_input(
    pattern: Json, arrival: tuple[list[Row], int], cut: int
) -> None:
    rows, bound = arrival
    built = accepted(pattern)
    wanted = everything(run(engine_of(built, bound), batches(rows, cut)))
    forms: list[Callable[[Sequence[Row]], Any]] = [
        as_table,
        as_chunks,
        as_numpy,
        lambda rows: as_table(rows).to_batches()[0],
        lambda rows: [Thing(row) for row in rows],
        iter,
    ]
    for form in forms:
        found = everything(run(engine_of(built, bound), [form(batch) for batch in batches(rows, cut)]))
        assert found == wanted, form
    mixed = [forms[i % len(forms)](batch) for i, batch in enumerate(batches(rows, cut))]
    assert everything(run(engine_of(built, bound), mixed)) == wanted, "each batch in another form"


@searching
@given(arrival=arrivals(late=True), step=st.integers(1, 9))
def test_late_is_what_the_highest_time_before_it_leaves_behind(arrival: tuple[list[Row], int], step: int) -> None:
    rows, bound = arrival
    wanted = []
    for i, row in enumerate(rows):
        before = [earlier["t"] for earlier in rows[:i]]
        if before and row["t"] <= max(before) - bound - 1:
            wanted.append(row)
    engine = engine_of(begin("a", col.type == "a").followed_by("b", col.type == "b").within("9ns"), bound)
    late = [row for result in run(engine, batches(rows, step)) for row in result.late]
    assert late == wanted
    assert engine.statistics().late == len(wanted)
    assert engine.statistics().rows == len(rows)


# -------------------------------------------------------------------------------- other orders of arrival


@searching
@given(pattern=patterns(), stream=streams(), data=st.data())
def test_orders_of_arrival_within_the_bound_give_the_same_matches(
    pattern: Json, stream: list[Json], data: st.DataObject
) -> None:
    built = accepted(pattern)
    rows = rows_of(stream)
    # One delay for each time, so that rows of equal time keep their order: that is what the promise asks for.
    delay_of = {t: data.draw(st.integers(0, 5)) for t in sorted({row["t"] for row in rows})}
    bound = max(delay_of.values())
    arrived = sorted(rows, key=lambda row: row["t"] + delay_of[row["t"]])
    by_time: dict[str, list[Any]] = {}
    for name, order in (("in order", rows), ("as they arrived", arrived)):
        results = run(engine_of(built, bound), batches(order, data.draw(st.sampled_from([1, 3, 99]))))
        by_time[name] = [[content(m) for r in results for m in kind(r)] for kind in (iter, timeouts_of, held_of)]
        assert sum(len(r.late) for r in results) == 0
    assert by_time["in order"] == by_time["as they arrived"]


def timeouts_of(result: fyke.Results) -> Any:
    return result.timeouts


def held_of(result: fyke.Results) -> Any:
    return result.held


# -------------------------------------------------------------------------------- keys and patterns


@searching
@given(pattern=patterns(), keyed=st.lists(streams(longest=8), min_size=2, max_size=4), size=st.sampled_from([1, 3, 99]))
def test_a_keyed_run_is_the_union_of_the_runs_of_its_keys(pattern: Json, keyed: list[list[Json]], size: int) -> None:
    built = accepted(pattern)
    by_key = {f"key{k}": rows_of(stream, key=f"key{k}") for k, stream in enumerate(keyed)}
    wanted = []
    for key, rows in by_key.items():
        for result in run(engine_of(built), [rows]):
            for match in [*result, *result.timeouts, *result.held]:
                _, kind, _, released, events = content(match)
                wanted.append((kind, key, released, events))
    mixed = sorted([row for rows in by_key.values() for row in rows], key=lambda row: row["t"])
    results = run(engine_of(built.by("key")), batches(mixed, size))
    found = [content(m)[1:] for r in results for m in [*r, *r.timeouts, *r.held]]
    assert sorted(found) == sorted(wanted)


@searching
@given(
    several=st.lists(patterns(), min_size=2, max_size=4), arrival=arrivals(late=True), size=st.sampled_from([1, 5, 99])
)
def test_several_patterns_in_one_engine_give_what_each_gives_alone(
    several: list[Json], arrival: tuple[list[Row], int], size: int
) -> None:
    rows, bound = arrival
    built = {f"p{i}": accepted(p) for i, p in enumerate(several)}
    # Every second one looks at the events of one type only, so that there are two sets of keys.
    built = {name: p.by("type") if i % 2 else p for i, (name, p) in enumerate(built.items())}
    together = everything(run(engine_of(built, bound), batches(rows, size)))
    for name, pattern in built.items():
        alone = everything(run(engine_of({name: pattern}, bound), [rows]))
        for kind in ("matches", "timeouts", "held"):
            assert sorted(map(repr, alone[kind])) == sorted(repr(m) for m in together[kind] if m[0] == name), kind
        assert together["late"] == alone["late"]


def test_prev_and_aggregates_do_not_see_other_keys_rows_or_batches() -> None:
    """A long random log with prev, aggregates, strings and nulls: five ways to cut it, one result."""
    random = Random(20)
    rows: list[Row] = []
    for n in range(600):
        price = None if random.random() < 0.1 else random.randrange(8)
        rows.append({"t": n + random.randrange(6), "key": random.choice("uvwxyz"), "price": price, "id": n})
    rising = (
        begin("low", col.price < 3)
        .followed_by("up", col.price > prev.price, col.price >= ref("up").price.max(empty=0))
        .one_or_more()
        .followed_by("down", col.price < ref("up").price.avg(), prev.price.is_not_null())
        .within("60ns")
        .by("key")
    )
    schema = pa.schema([("t", pa.int64()), ("key", pa.string()), ("price", pa.int64()), ("id", pa.int64())])
    wanted = everything(run(engine_of(rising, 6, schema=schema), [rows]))
    assert len(wanted["matches"]) > 300
    for size in (1, 2, 50, 256):
        cut = batches(rows, size)
        assert everything(run(engine_of(rising, 6, schema=schema), cut)) == wanted, f"dicts by {size}"
        tables = [pa.Table.from_pylist(list(batch), schema=schema) for batch in cut]
        assert everything(run(engine_of(rising, 6, schema=schema), tables)) == wanted, f"tables by {size}"


# -------------------------------------------------------------------------------- at the edge of the watermark

AB = begin("a", col.type == "a").followed_by("b", col.type == "b")


def event(t: int, kind: str) -> Row:
    return {"t": t, "type": kind}


@pytest.mark.parametrize(("t", "late"), [(93, True), (94, True), (95, False), (96, False)])
def test_a_row_is_late_up_to_the_watermark(t: int, late: bool) -> None:
    engine = engine_of(AB.within("9ns"), 5)
    engine.push(event(100, "x"))
    assert engine.watermark == 94
    assert len(engine.push(event(t, "a")).late) == int(late)


@pytest.mark.parametrize(("highest", "out"), [(104, False), (105, False), (106, True), (107, True)])
def test_a_match_comes_out_when_the_watermark_reaches_its_last_event(highest: int, out: bool) -> None:
    engine = engine_of(AB.within("9ns"), 5)
    engine.push([event(99, "a"), event(100, "b")])
    assert len(engine.push(event(highest, "x"))) == int(out)
    assert engine.watermark == highest - 6


@pytest.mark.parametrize(("watermark", "out"), [(99, 0), (100, 1), (101, 1)])
def test_advance_releases_up_to_and_including_its_time(watermark: int, out: int) -> None:
    engine = engine_of(AB.within("9ns"), 50)
    engine.push([event(99, "a"), event(100, "b")])
    assert len(engine.advance(watermark)) == out


@pytest.mark.parametrize(("watermark", "out"), [(108, 0), (109, 1), (110, 1)])
def test_a_window_times_out_when_the_watermark_reaches_its_end(watermark: int, out: int) -> None:
    engine = engine_of(AB.within("9ns"), 50)
    engine.push([event(100, "a")])
    found = engine.advance(watermark).timeouts
    assert [(m.released, m.cause) for m in found] == [(109, ("time", 109))] * out


@pytest.mark.parametrize(("t", "matches", "timeouts"), [(107, 1, 0), (108, 1, 0), (109, 0, 1), (110, 0, 1)])
def test_the_end_of_a_window_is_exclusive(t: int, matches: int, timeouts: int) -> None:
    engine = engine_of(AB.within("9ns"))
    results = run(engine, [[event(100, "a"), event(t, "b")]])
    assert (sum(map(len, results)), sum(len(r.timeouts) for r in results)) == (matches, timeouts)


@pytest.mark.parametrize(("t", "absent"), [(108, False), (109, True), (110, True)])
def test_an_absence_holds_from_the_end_of_its_window(t: int, absent: bool) -> None:
    quiet = begin("a", col.type == "a").not_followed_by("b", col.type == "b").within("9ns")
    results = run(engine_of(quiet), [[event(100, "a"), event(t, "b")]])
    assert [m.released for r in results for m in r] == [109] * absent


def test_a_row_is_judged_against_the_rows_before_it_not_against_its_batch() -> None:
    rows = [event(10, "a"), event(30, "x"), event(11, "b"), event(29, "b")]
    for cut in ([rows], [[row] for row in rows], [rows[:2], rows[2:]]):
        engine = engine_of(AB.within("90ns"), 5)
        results = run(engine, cut)
        assert [row["t"] for r in results for row in r.late] == [11]
        assert [(m["a"]["t"], m["b"]["t"]) for r in results for m in r] == [(10, 29)]


def test_advance_makes_rows_late_as_the_rows_before_them_do() -> None:
    engine = engine_of(AB.within("90ns"), 5)
    engine.advance(50)
    assert [row["t"] for row in engine.push([event(50, "a"), event(51, "a"), event(60, "b")]).late] == [50]
    assert engine.watermark == 54
    assert [(m["a"]["t"], m["b"]["t"]) for m in engine.flush()] == [(51, 60)]


def test_after_flush_every_row_is_late() -> None:
    engine = engine_of(AB.within("90ns"))
    engine.push(event(1, "a"))
    engine.flush()
    assert len(engine.push([event(2, "b"), event(10**18, "b")]).late) == 2
    assert list(engine.flush()) == []


def test_rows_of_equal_time_keep_the_order_in_which_they_arrived() -> None:
    for rows, found in (([event(5, "a"), event(5, "b")], 1), ([event(5, "b"), event(5, "a")], 0)):
        for bound in (0, 3):
            assert sum(map(len, run(engine_of(AB.within("9ns"), bound), [rows]))) == found
