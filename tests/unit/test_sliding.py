"""Sliding windows one claim at a time; SQL's own window functions over the same rows; failures and damaged states."""

import decimal
import math
import random

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import fyke
from fyke import DefinitionError, SchemaError, StateError, agg, col
from fyke.operator import END, Batch, Marks
from fyke.operators.sliding import SlidingWindows
from tests.unit.one_input import batch_of, run

SCHEMA = pa.schema([("k", pa.string()), ("v", pa.int64())])


def row(time, v, k="a"):
    return time, {"k": k, "v": v}


def sums(items, before=10, cuts=(), **aggregates):
    made = SlidingWindows(fyke.sliding(f"{before}ns"), aggregates or {"total": agg.sum("v")}, SCHEMA, [col.k])
    return run(made, items, SCHEMA, cuts)


def totals(items, before=10):
    return [each["total"] for each in sums(items, before).rows]


# ------------------------------------------------------------------------------------------------ which rows


def test_a_row_exactly_before_earlier_is_in_and_one_nanosecond_earlier_is_not():
    assert totals([row(0, 1), row(10, 2), END]) == [1, 3]
    assert totals([row(0, 1), row(11, 2), END]) == [1, 2]


def test_rows_of_equal_time_are_in_each_others_windows():
    assert totals([row(5, 1), row(5, 2), row(5, 4), END], before=0) == [7, 7, 7]


def test_rows_of_other_keys_are_not_in_it():
    assert totals([row(5, 1), row(5, 2, "b"), row(6, 4), END]) == [1, 2, 5]


def test_without_a_key_all_rows_are_of_one():
    made = SlidingWindows(fyke.sliding("10ns"), {"rows": agg.count()}, SCHEMA)
    found = run(made, [row(1, 1), row(2, None, "b"), END], SCHEMA)
    assert [each["rows"] for each in found.rows] == [1, 2]
    assert made.schema.names == ["window_start", "window_end", "revision", "final", "rows"]


def test_results_come_by_time_and_then_by_arrival_when_the_watermark_has_passed_the_row():
    found = sums([row(7, 1), row(3, 2), row(3, 4), row(12, 8), 3, row(5, 16), 12])
    assert [each["total"] for each in found.rows] == [6, 6, 22, 23, 31]
    assert (found.times, found.origins) == ([3, 3, 5, 7, 12], [4, 4, 6, 6, 6])
    assert found.marks == [(4, 3), (6, 12)]


def test_a_row_is_late_at_the_watermark_and_not_above_it():
    found = sums([row(9, 1), 5, row(4, 2), row(5, 4), row(6, 8), END])
    assert [each["v"] for each in found.side["late"]] == [2, 4]
    assert [each["total"] for each in found.rows] == [8, 9]


def test_a_row_without_a_key_goes_to_the_errors_even_if_it_is_late():
    found = sums([5, row(1, 1, None), row(9, 2, None), END])
    assert found.side == {"errors": [{"k": None, "v": v, "error": "a part of the key is null"} for v in (1, 2)]}


def test_the_bounds_are_those_of_the_rows_and_the_earliest_time_there_is():
    first = -(2**63) + 3
    found = sums([row(first, 1), row(20, 1), END])
    assert [(each["window_start"], each["window_end"]) for each in found.rows] == [(-(2**63), first), (10, 20)]


def test_nothing_is_in_a_result_but_its_columns():
    assert sums([row(1_000, 3), END], before=400).rows == [
        {"k": "a", "window_start": 600, "window_end": 1000, "revision": 0, "final": True, "total": 3}
    ]


# ------------------------------------------------------------------------------------------------ keys and types


def test_keys_keep_their_types_and_computed_ones_have_names():
    schema = pa.schema(
        [("card", pa.dictionary(pa.int8(), pa.string())), ("price", pa.decimal128(9, 2)), ("n", pa.int32())]
    )
    keys = {"card": col.card, "price": col.price, "odd": col.n % 2}
    made = SlidingWindows(fyke.sliding("1s"), {"rows": agg.count()}, schema, keys)
    price = decimal.Decimal("1.50")
    items = [(1, {"card": "x", "price": price, "n": 3}), (2, {"card": "x", "price": price, "n": 5}), END]
    found = run(made, items, schema, [1]).rows
    assert [(each["card"], each["price"], each["odd"], each["rows"]) for each in found] == [
        ("x", price, 1, 1),
        ("x", price, 1, 2),
    ]
    assert made.schema.types[:3] == [schema.types[0], schema.types[1], pa.int64()]


def test_a_computed_key_needs_a_name():
    with pytest.raises(DefinitionError, match="needs a name"):
        SlidingWindows(fyke.sliding("1s"), {"rows": agg.count()}, SCHEMA, [col.v % 2])


def test_aggregates_must_fit_the_schema():
    with pytest.raises(SchemaError, match="col.k is string; sum takes"):
        SlidingWindows(fyke.sliding("1s"), {"x": agg.sum("k")}, SCHEMA)


# ------------------------------------------------------------------------------------------------ against SQL


QUERY = """
select k, count(*) over w as n, count(x) over w as xs, sum(i) over w as i, sum(q) over w as q,
    min(x) over w as low, max(x) over w as high, max(s) over w as text, avg(q) over w as mean,
    var_samp(q) over w as var, median(i) over w as middle
from data window w as (partition by k order by t range between {before} preceding and current row)
order by t, position
"""
AGGREGATES_OF_QUERY = {
    "n": agg.count(), "xs": agg.count("x"), "i": agg.sum("i"), "q": agg.sum("q"),
    "low": agg.min("x"), "high": agg.max("x"), "text": agg.max("s"), "mean": agg.mean("q"),
    "var": agg.var("q"), "middle": agg.median("i"),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("before", [0, 5, 60])
def test_sql_gives_the_same_over_rows_in_order(seed, before):
    rng = np.random.default_rng(seed)
    n = 1500

    def some(values):
        return [value if rng.random() > 0.1 else None for value in values.tolist()]

    data = pa.table(
        {
            "position": np.arange(n),
            "t": np.sort(rng.integers(0, 600, n)),
            "k": pa.array(rng.integers(0, 4, n).tolist()),
            "x": pa.array(some(rng.normal(size=n))),
            "q": pa.array(some(rng.integers(-400, 400, n) / 4)),
            "i": pa.array(some(rng.integers(-50, 50, n))),
            "s": pa.array(some(rng.choice(["a", "b", "c", "aa", ""], n))),
        }
    )
    wanted = duckdb.sql(QUERY.format(before=before)).arrow()
    wanted = (wanted.read_all() if hasattr(wanted, "read_all") else wanted).to_pylist()
    rows = data.drop_columns(["position", "t"]).combine_chunks().to_batches()[0]
    made = SlidingWindows(fyke.sliding(f"{before}ns"), AGGREGATES_OF_QUERY, rows.schema, [col.k])
    times, origins = data["t"].to_numpy(), np.arange(n, dtype=np.uint64)
    found = made.step([Batch(rows, times, origins, Marks.one(n, END))]).results.rows.to_pylist()
    assert len(found) == n
    for mine, theirs in zip(found, wanted, strict=True):
        for name, value in theirs.items():
            if name == "var" and value is not None:  # SQL rounds it on the way; all else is exact in both
                value = pytest.approx(value, rel=1e-12, abs=1e-12)
            assert mine[name] == value, name


def test_sums_stay_exact_where_rows_come_and_go_for_long():
    rng = random.Random(5)
    items = [row(at, 0) for at in range(3000)]
    schema = pa.schema([("k", pa.string()), ("x", pa.float64())])
    values = [rng.choice([1e300, -1e300, 1.0, 1e-300, 0.1]) for _ in items]
    items = [(time, {"k": "a", "x": x}) for (time, _), x in zip(items, values, strict=True)]
    made = SlidingWindows(fyke.sliding("9ns"), {"total": agg.sum("x")}, schema, [col.k])
    found = [each["total"] for each in run(made, [*items, END], schema).rows]
    assert found == [math.fsum(sorted(values[max(0, at - 9) : at + 1], key=abs)) for at in range(3000)]


# ------------------------------------------------------------------------------------------------ failures


class Failing:
    def add(self, v):
        if v == 3:
            raise ValueError("three")

    def merge(self, other):
        pass

    def result(self):
        return 1.0


def test_an_aggregate_that_raises_stops_the_window():
    made = SlidingWindows(fyke.sliding("1s"), {"x": agg.udf(Failing, "v")}, SCHEMA, [col.k])
    with pytest.raises(ValueError, match="three"):
        run(made, [row(1, 3), END], SCHEMA)
    with pytest.raises(fyke.FykeError, match="has stopped: an aggregate raised ValueError"):
        run(made, [row(2, 1)], SCHEMA)


AGGREGATES = {"total": agg.sum("v"), "text": agg.max("k"), "first": agg.first("v"), "all": agg.collect("v")}


def test_without_memory_the_window_stops_and_nothing_is_broken():
    items = [row(at, at, "ab"[at % 2]) for at in range(30)] + [END]
    for fail in range(1, 60):
        made = SlidingWindows(fyke.sliding("4ns"), AGGREGATES, SCHEMA, [col.k])
        made.core.fail_allocation_after(fail)
        try:
            made.step([batch_of(items, 0, SCHEMA)])
        except MemoryError:
            with pytest.raises(fyke.FykeError, match="has stopped: out of memory"):
                made.step([batch_of(items, 0, SCHEMA)])
        else:
            made.check()


class Joined:
    """Depends on the order in which rows come in and summaries are merged."""

    def __init__(self):
        self.text = ""

    def add(self, v):
        self.text += f"{v},"

    def merge(self, other):
        self.text += f"({other.text})"

    def result(self):
        return self.text


ORDERLY = {"text": agg.max("k"), "joined": agg.udf(Joined, "v", result="string")}


def orderly():
    return SlidingWindows(fyke.sliding("4ns"), ORDERLY, SCHEMA)


def test_after_a_restore_summaries_are_put_together_in_the_same_way():
    items = [row(at, at, "ab"[at % 2]) for at in range(30)]
    items = [each for at, item in enumerate(items) for each in ((item, at) if at % 3 == 0 else (item,))]
    for stop in range(0, len(items), 4):
        first, second = orderly(), orderly()
        run(first, items[:stop], SCHEMA)
        second.restore(first.export())
        assert second.export() == first.export()
        assert run(second, items, SCHEMA, start=stop).rows == run(first, items, SCHEMA, start=stop).rows


def test_rows_that_a_result_may_show_survive_compaction():
    made = orderly()
    plain = run(orderly(), [row(at, at, "zyx"[at % 3]) for at in range(20)] + [END], SCHEMA).rows
    out = run(made, [], SCHEMA)
    items = [row(at, at, "zyx"[at % 3]) for at in range(20)]
    for at in range(20):
        run(made, items[: at + 1], SCHEMA, start=at, into=out)
        made.core.compact()
        run(made, [*items[: at + 1], at], SCHEMA, start=at + 1, into=out)
        made.core.compact()
        made.check()
        assert made.store.counters()["segments"] == 1
    assert out.rows == plain


def state_of(items):
    made = SlidingWindows(fyke.sliding("4ns"), AGGREGATES, SCHEMA, [col.k])
    run(made, items, SCHEMA)
    return made.export()


def changed(state, section, **fields):
    part = state[section]
    if isinstance(part, dict):
        return {**state, section: {**part, **fields}}
    columns = {**part.to_pydict(), **fields}
    return {**state, section: pa.RecordBatch.from_pydict(columns, schema=part.schema)}


GOOD = state_of([row(1, 1), row(3, 2), row(2, 4, "b"), 3, row(7, 8), row(9, 9, "b")])


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({}, "KeyError\\('sliding'\\) is missing"),
        ({**GOOD, "sliding.rows": GOOD["sliding.places"]}, "not the columns that the windows read"),
        ({**GOOD, "sliding.places": GOOD["sliding.rows"]}, "other columns than expected"),
        (changed(GOOD, "sliding", watermark="x"), "watermark is 'x'"),
        (changed(GOOD, "sliding", late=-1), "late is -1"),
        (changed(GOOD, "sliding", arrived=3), "too high"),
        (changed(GOOD, "sliding", watermark=8), "on the wrong side of the watermark"),
        (changed(GOOD, "sliding", watermark=2), "on the wrong side of the watermark"),
        (changed(GOOD, "sliding.places", place=[0, 0, 0, 2, 9]), "out of order"),
        (changed(GOOD, "sliding.places", place=[0, 0, 1, 2, 2]), "out of order"),
        (changed(GOOD, "sliding.places", number=[0, 0, 1, 2, 3]), "there twice"),
        (changed(GOOD, "sliding.places", time=[-50, 2, 3, 7, 9]), "do not fit together"),
        (changed(GOOD, "sliding.places", time=[4, 2, 3, 7, 9]), "wrong side|out of order"),
        (changed(GOOD, "sliding.rows", k=[None, "a", "b", "a", "b"]), "has no key"),
    ],
)
def test_damaged_states_are_refused(state, reason):
    made = SlidingWindows(fyke.sliding("4ns"), AGGREGATES, SCHEMA, [col.k])
    with pytest.raises(StateError, match=reason):
        made.restore(state)


def test_statistics_count_what_came_and_what_is_held():
    made = SlidingWindows(fyke.sliding("4ns"), {"total": agg.sum("v")}, SCHEMA, [col.k])
    run(made, [row(1, 2**62), row(2, 2**62), 2, row(2, 1), row(9, 1, None), row(9, 1)], SCHEMA)
    found = made.statistics()
    assert {name: found[name] for name in ("rows", "late", "null_keys", "overflows", "waiting", "held", "keys")} == {
        "rows": 2, "late": 1, "null_keys": 1, "overflows": 1, "waiting": 1, "held": 2, "keys": 1,
    }  # fmt: skip
