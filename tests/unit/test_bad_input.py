"""Bad input: an error that says what, where and what is allowed, and takes nothing; or a documented outcome."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fyke
from fyke import DataError, SchemaError, begin, col

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
PAIR = begin("low", col.x < 1).followed_by("high", col.x > 10).within("10s").by("key")


def engine_of(**options: Any) -> fyke.Engine:
    return fyke.Engine(PAIR, **({"time": "t", "unit": "s"} | options))


def row(**values: Any) -> dict[str, Any]:
    return {"t": 1, "key": "k", "x": 0.5} | values


def table(**columns: Any) -> pa.Table:
    return pa.table({"t": [1, 2], "key": ["k", "k"], "x": [0.5, 11.0]} | columns)


def pairs(results: Any) -> list[tuple[Any, Any]]:
    return [(m["low"]["t"], m["high"]["t"]) for m in results]


def refused(engine: fyke.Engine, data: Any, said: str, error: type[Exception] = DataError) -> None:
    """The push fails, says so, and the engine is as it was."""
    before = replace(engine.statistics(), bytes=0)
    with pytest.raises(error, match=re.escape(said)) as raised:
        engine.push(data)
    assert isinstance(raised.value, fyke.FykeError)
    assert isinstance(raised.value, ValueError)
    assert replace(engine.statistics(), bytes=0) == before
    engine.check()


# --------------------------------------------------------------------------------- one value, in a row


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("x", "1", "field `x`: expected a number, got str '1' at position 2"),
        ("x", b"1", "field `x`: expected a number, got bytes b'1' at position 2"),
        ("x", True, "field `x`: expected a number, got bool True at position 2"),
        ("x", Decimal("0.5"), "field `x`: expected a number, got Decimal Decimal('0.5') at position 2"),
        ("x", [0.5], "field `x`: expected a number, got list [0.5] at position 2"),
        ("x", {"y": 1}, "field `x`: expected a number, got dict {'y': 1} at position 2"),
        (
            "x",
            dt.datetime(2024, 1, 1),
            "field `x`: expected a number, got datetime datetime.datetime(2024, 1, 1, 0, 0)",
        ),
        ("x", 2**53 + 1, "not exact as float64; give a schema that says int64"),
        ("x", "y" * 1000, "field `x`: expected a number, got str '" + "y" * 56 + "... at position 2"),
        (
            "key",
            [1],
            "field `key`: expected a key (int, str, bytes, bool, date, datetime, UUID or a tuple of them), got list",
        ),
        ("key", {}, "got dict {} at position 2"),
        ("key", (1, [2]), "got tuple (1, [2]) at position 2"),
        ("key", object, "got type <class 'object'> at position 2"),
        ("t", None, "field `t`: the event time is missing at position 2"),
        ("t", "2024-01-01", "field `t`: expected a number of s, got str '2024-01-01' at position 2"),
        ("t", True, "field `t`: expected a number of s, got bool True at position 2"),
        ("t", math.nan, "field `t`: expected a number of s, got float nan at position 2"),
        ("t", math.inf, "field `t`: expected a number of s, got float inf at position 2"),
        ("t", Decimal(1), "field `t`: expected a number of s, got Decimal Decimal('1') at position 2"),
        ("t", dt.datetime(2024, 1, 1), "field `t`: expected a number of s, got datetime"),
        (
            "t",
            2**62,
            "field `t`: 4611686018427387904 s at position 2 is outside the range of times (years 1677 to 2262)",
        ),
        ("t", 10**13, "is outside the range of times (years 1677 to 2262): is the unit right?"),
        ("t", -1e12, "is outside the range of times (years 1677 to 2262): is the unit right?"),
    ],
)
def test_a_wrong_value_in_a_row_is_named_with_its_field_and_position(field: str, value: Any, said: str) -> None:
    engine = engine_of()
    engine.push(row(t=0))
    refused(engine, [row(), row(**{field: value}), row(t=5, x=99.0)], said)
    results = [*engine.push(row(t=6, x=11.0)), *engine.flush()]
    assert pairs(results) == [(0, 6)], "nothing of the refused push was taken"
    assert [m["high"].position for m in results] == [1], "and its positions are given to what came after it"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1_700_000_000, 'field `t`: expected datetime, got int 1700000000 at position 0; say its unit with unit="s"'),
        (1.5, 'field `t`: expected datetime, got float 1.5 at position 0; say its unit with unit="s"'),
        ("2024-01-01", "field `t`: expected datetime, got str '2024-01-01' at position 0"),
        (dt.date(2024, 1, 1), "field `t`: expected datetime, got date datetime.date(2024, 1, 1) at position 0"),
        (np.datetime64("NaT"), "field `t`: "),
        (dt.datetime(1, 1, 1), "field `t`: "),
        (dt.datetime(9999, 1, 1), "outside the range of "),
    ],
)
def test_a_time_without_a_unit_must_be_a_datetime(value: Any, said: str) -> None:
    refused(engine_of(unit=None), row(t=value), said)


def test_datetimes_of_any_zone_are_one_time() -> None:
    engine = engine_of(unit=None)
    zone = dt.timezone(dt.timedelta(hours=2))
    engine.push(row(t=dt.datetime(2024, 1, 1, 12, 0, 1)))
    results = engine.push([row(t=dt.datetime(2024, 1, 1, 14, 0, 5, tzinfo=zone), x=11.0)])
    results = [*results, *engine.flush()]
    assert [m.end - m.start for m in results] == [4_000_000_000]


# --------------------------------------------------------------------------------- one column, in a table


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"x": ["1", "2"]},
            "field `x`: expected float64, got string in the batch at position 2: string is not a number",
        ),
        (
            {"x": [True, False]},
            "field `x`: expected float64, got bool in the batch at position 2: bool is not a number",
        ),
        (
            {"x": pa.array([Decimal(1)] * 2)},
            "field `x`: expected float64, got decimal128(1, 0) in the batch at position 2",
        ),
        ({"x": [[1.0], [2.0]]}, "field `x`: expected float64, got list<item: double> in the batch at position 2"),
        ({"x": [{"y": 1.0}] * 2}, "field `x`: expected float64, got struct<y: double> in the batch at position 2"),
        ({"x": [2**53 + 1, 1]}, "field `x`: expected float64, got int64 in the batch at position 2: Integer value"),
        ({"key": [1, 2]}, "field `key`: expected string, got int64 in the batch at position 2: int64 is not a string"),
        ({"key": [b"k", b"k"]}, "field `key`: expected string, got binary in the batch at position 2"),
        ({"t": [1, None]}, "field `t`: the event time is missing at position 3"),
        ({"t": ["1", "2"]}, "field `t`: expected timestamps or numbers with a unit, got string"),
        (
            {"t": pa.array([1, 2], pa.duration("s"))},
            "field `t`: expected timestamps or numbers with a unit, got duration[s]",
        ),
        (
            {"t": pa.array([1, 2], pa.date32())},
            "field `t`: expected timestamps or numbers with a unit, got date32[day]",
        ),
        ({"t": pa.array([1, 2], pa.timestamp("s"))}, 'field `t` holds timestamps: leave unit="s" out'),
        ({"t": [1, 2**62]}, "field `t`: 4611686018427387904 s at position 3 is outside the range of times"),
        ({"t": pa.array([1, 2**64 - 1], pa.uint64())}, "field `t`: 18446744073709551615 s at position 3 is outside"),
        ({"t": [1.0, math.nan]}, "field `t`: nan s at position 3 is outside the range of times"),
        ({"t": [-math.inf, 1.0]}, "field `t`: -inf s at position 2 is outside the range of times"),
    ],
)
def test_a_wrong_column_in_a_later_table_is_named(columns: dict[str, Any], said: str) -> None:
    engine = engine_of()
    engine.push(table(x=[0.5, 5.0]))
    refused(engine, table(**columns), said)
    assert pairs([*engine.push(table(t=[3, 4])), *engine.flush()]) == [(1, 4), (3, 4)]


def test_a_wrong_chunk_refuses_the_whole_table() -> None:
    engine = engine_of()
    engine.push(table(x=[0.5, 5.0]))
    good, bad = pa.record_batch(table(t=[3, 4]).to_batches()[0]), table(t=[5, None]).to_batches()[0]
    refused(engine, pa.Table.from_batches([good, bad]), "field `t`: the event time is missing at position 5")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (table().drop_columns(["x"]), 'stage "low": col.x < 1: no column "x"; the columns are "t", "key"'),
        (table().rename_columns(["t", "key", "xx"]), 'stage "low": col.x < 1: no column "x" (did you mean "xx"?)'),
        (table().rename_columns(["t", "kye", "x"]), 'key: col.key: no column "key" (did you mean "kye"?)'),
        (table(x=["1", "2"]), 'stage "low": col.x < 1: cannot compare string with int64'),
        (table(x=[True, False]), 'stage "low": col.x < 1: cannot compare bool with int64'),
        (table(x=[[1.0], [2.0]]), 'stage "low": col.x < 1: '),
        (pa.table([[1], ["k"], [0.5], [1]], names=["t", "key", "x", "x"]), 'column "x" occurs twice in the schema'),
    ],
)
def test_a_first_table_that_the_pattern_does_not_fit_is_a_schema_error(data: pa.Table, said: str) -> None:
    engine = engine_of()
    refused(engine, data, said, SchemaError)
    engine.push(table())
    assert pairs(engine.flush()) == [(1, 2)], "the refused table has left no schema behind"


def test_a_table_without_the_time_column_says_which_there_are() -> None:
    said = "field `t`: no such column for the event time; there are key, x"
    refused(engine_of(), table().drop_columns(["t"]), said)


def test_a_schema_that_the_pattern_does_not_fit_is_an_error_when_the_engine_is_made() -> None:
    with pytest.raises(SchemaError, match=re.escape('stage "low": col.x < 1: no column "x" (did you mean "xs"?)')):
        engine_of(schema=pa.schema([("t", pa.int64()), ("key", pa.string()), ("xs", pa.float64())]))


@pytest.mark.parametrize(
    "column",
    [pa.array([[1], [2]]), pa.array([{"a": 1}] * 2), pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int8()))],
)
def test_a_nested_key_is_a_schema_error(column: pa.Array) -> None:
    refused(engine_of(), table(key=column), "key: col.key: ", SchemaError)


def test_names_that_occur_twice_in_a_later_table_are_an_error() -> None:
    engine = engine_of()
    engine.push(table())
    twice = pa.table([[3], ["k"], [0.5], [0.7]], names=["t", "key", "x", "x"])
    refused(engine, twice, "field `x`: occurs twice in the batch at position 2")


# --------------------------------------------------------------------------------- other shapes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "cannot take rows from NoneType: give a dict"),
        ("abc", "cannot take rows from str: give a dict"),
        (b"abc", "cannot take rows from bytes: give a dict"),
        (5, "cannot take rows from int: give a dict"),
        ([row(), None], "row 1 of the batch is NoneType None: expected a dict or an object with fields"),
        ([row(), "x"], "row 1 of the batch is str 'x': expected a dict or an object with fields"),
        ([1.5], "row 0 of the batch is float 1.5: expected a dict or an object with fields"),
        ([{}], "field `t`: the event time is missing at position 0"),
        ([object()], "field `t`: the event time is missing at position 0"),
        (np.array([1.0]), "a NumPy array of float64: a structured array with named fields is needed"),
        (np.zeros(1, [("t", "i8"), ("key", "i4", (2,))]), "field `key`: a NumPy field of shape (2,) is not a scalar"),
    ],
)
def test_what_is_no_row_is_refused(data: Any, said: str) -> None:
    refused(engine_of(), data, said)


@pytest.mark.parametrize(
    "empty",
    [
        [], (), iter([]), table().slice(0, 0), table().to_batches()[0].slice(0, 0), table().schema.empty_table(),
        np.zeros(0, [("t", "i8"), ("key", "U1"), ("x", "f8")]), pd.DataFrame({"t": [], "key": [], "x": []}),
        pl.DataFrame({"t": [], "key": [], "x": []}), pa.table({"t": [], "key": [], "x": []}),
    ],
)  # fmt: skip
def test_no_rows_are_no_rows(empty: Any) -> None:
    engine = engine_of(timeouts=True)
    results = engine.push(empty)
    assert (len(results), len(results.timeouts), len(results.late), engine.watermark) == (0, 0, 0, None)
    results = [*engine.push(table()), *engine.push(empty if isinstance(empty, list | tuple) else []), *engine.flush()]
    assert pairs(results) == [(1, 2)]
    assert engine.statistics().rows == 2


def test_flush_and_advance_before_any_row_give_nothing() -> None:
    engine = engine_of(timeouts=True)
    assert len(engine.advance(5)) == 0
    assert engine.watermark == 5
    assert len(engine.flush().timeouts) == 0
    assert [r["t"] for r in engine.push(row()).late] == [1]


def test_columns_may_be_missing_and_appear_later() -> None:
    """A missing column is null: conditions on it do not hold, a row without a key concerns no one and is counted."""
    engine = engine_of()
    engine.push([{"t": 1, "x": 0.5}, {"t": 1, "key": "k"}])
    engine.push([row(t=2, note="n")])
    engine.push(pa.table({"t": [3, 4], "key": ["k", "k"], "other": [1, 2]}))
    (match,) = [*engine.push(row(t=5, x=11.0)), *engine.flush()]
    assert dict(match["low"]) == {"t": 2, "key": "k", "x": 0.5, "note": "n"}
    assert engine.statistics().null_keys == 1


def test_null_keys_are_counted_and_match_nothing() -> None:
    for data in ([row(key=None), row(key=None, x=11.0, t=2)], table(key=pa.array([None, None], pa.string()))):
        engine = engine_of()
        assert pairs([*engine.push(data), *engine.flush()]) == []
        assert engine.statistics().null_keys == 2
        assert engine.statistics().keys == 0


def test_a_tuple_of_keys_with_one_null_is_null() -> None:
    pattern = begin("a", col.x < 1).followed_by("b", col.x > 10).within("10s").by("key", "other")
    engine = fyke.Engine(pattern, time="t", unit="s")
    engine.push([row(other=None), row(other=None, x=11.0), row(other=1), row(t=2, other=1, x=11.0)])
    results = engine.flush()
    assert [m.key for m in results] == [("k", 1)]
    assert engine.statistics().null_keys == 2


def test_rows_behind_the_bound_come_out_late_and_are_counted() -> None:
    engine = engine_of(out_of_order="5s")
    results = engine.push([row(t=10), row(t=4), row(t=5), row(t=3, key=None)])
    assert [r["t"] for r in results.late] == [4, 3]
    assert results.late.positions == [1, 3]
    assert results.late.to_arrow().to_pylist() == [row(t=4), row(t=3, key=None)]
    assert engine.statistics().late == 2


# --------------------------------------------------------------------------------- extremes that are no errors


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("é", "é"), ("\U0001f41f\u200d", "\U0001f41f\u200d"), ("", ""), ("a\0b", "a\0b"), (b"\0\xff", b"\0\xff"),
        (b"", b""),
        (INT64_MIN, INT64_MIN), (INT64_MAX, INT64_MAX), (2**64, 2**64), (0.0, -0.0), (1, 1.0), (math.nan, -math.nan),
        (math.inf, math.inf), (True, True), (dt.date(1, 1, 1), dt.date(1, 1, 1)), (Decimal("1.0"), Decimal("1")),
        ((1, ("é", b"x")), (1, ("é", b"x"))), ("\ud800", "\ud800"), (np.int8(3), 3), (np.str_("x"), "x"),
        (dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    ],
)  # fmt: skip
def test_a_key_of_any_kind_finds_itself(one: Any, same: Any) -> None:
    engine = engine_of()
    results = [*engine.push([row(key=one), row(t=2, key=same, x=11.0)]), *engine.flush()]
    assert pairs(results) == [(1, 2)]
    assert repr(results[0].key) == repr(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", b"a"), ("1", 1), (True, 1), (0, False), ("", b""), ("é", "e\u0301"), (INT64_MAX, INT64_MIN), (1, 1.5),
        (2**64, -(2**64)), ((1, 2), "(1, 2)"), (("a", "b"), ("ab", "")), ((1,), 1),
        (dt.date(2024, 1, 1), dt.datetime(2024, 1, 1)), (0, dt.timedelta(0)), ("a", "a\0"),
    ],
)  # fmt: skip
def test_keys_of_different_kinds_are_different_keys(one: Any, other: Any) -> None:
    engine = engine_of()
    results = [*engine.push([row(key=one), row(t=2, key=other, x=11.0)]), *engine.flush()]
    assert pairs(results) == []
    assert engine.statistics().timeouts == 1


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([0.0, -0.0]), True),
        (pa.array([math.nan, -math.nan]), True),
        (pa.array([INT64_MIN, INT64_MIN]), True),
        (pa.array([2**64 - 1, 2**64 - 2], pa.uint64()), False),
        (pa.array(["é", "é"]).dictionary_encode(), True),
        (pa.array(["é", "é"], pa.large_string()), True),
        (pa.array(["é", "é"], pa.string_view()), True),
        (pa.array([b"\0\xff", b"\0\xff"], pa.binary(2)), True),
        (pa.array([True, False]), False),
        (pa.array([dt.date(2024, 1, 1)] * 2, pa.date64()), True),
        (pa.array([Decimal("1.10"), Decimal("1.10")]), True),
        (pa.array([1, 1], pa.timestamp("s", "Europe/Zurich")), True),
    ],
)
def test_a_column_of_any_kind_is_a_key(column: pa.Array, found: bool) -> None:
    data = table(key=column)
    if column.type == pa.uint64():
        refused(engine_of(), data, "field `key`: expected int64, got uint64 in the batch at position 0")
        return
    engine = engine_of()
    assert pairs([*engine.push(data), *engine.flush()]) == ([(1, 2)] if found else [])


def test_the_ends_of_int64_are_values_of_a_column_that_the_schema_says_is_int64() -> None:
    schema = pa.schema([("t", pa.int64()), ("x", pa.int64())])
    pattern = begin("least", col.x == INT64_MIN).next("most", col.x == INT64_MAX).within("10s")
    for data in (
        [{"t": 0, "x": INT64_MIN}, {"t": 1, "x": INT64_MAX}],
        pa.table({"t": [0, 1], "x": [INT64_MIN, INT64_MAX]}, schema=schema),
    ):
        engine = fyke.Engine(pattern, time="t", unit="s", schema=schema)
        (match,) = [*engine.push(data), *engine.flush()]
        assert (match["least"]["x"], match["most"]["x"]) == (INT64_MIN, INT64_MAX)
    engine = fyke.Engine(pattern, time="t", unit="s", schema=schema)
    refused(engine, {"t": 0, "x": 2**63}, "field `x`: expected int, got int 9223372036854775808 at position 0")
    refused(engine, {"t": 0, "x": 1.0}, "field `x`: expected int, got float 1.0 at position 0")


@pytest.mark.parametrize("bound", ["0s", "290d"])
def test_times_at_the_ends_of_the_range_are_times(bound: str) -> None:
    engine = engine_of(unit="ns", out_of_order=bound, timeouts=True)
    first, last = INT64_MIN + 1, INT64_MAX - 1
    results = engine.push([row(t=first), row(t=first + 1, x=11.0), row(t=last, x=11.0), row(t=last)])
    results = [*results, *engine.flush()]
    assert pairs(results) == [(first, first + 1)]
    assert engine.statistics().timeouts == 1
    assert results[0].start == first
    assert engine.statistics().partials == 0
    for t in (INT64_MIN, INT64_MAX):
        refused(engine_of(unit="ns"), row(t=t), "is outside the range of times (years 1677 to 2262)")
        refused(engine_of(unit="ns"), table(t=[t, 0]), "is outside the range of times (years 1677 to 2262)")


def test_nan_is_a_number_that_meets_no_comparison_but_not_equal() -> None:
    engine = fyke.Engine([begin("a", col.x != 1), begin("b", ~(col.x < 1)), begin("c", col.x <= 1)], time="t", unit="s")
    found = engine.push([row(x=math.nan)])
    found = [*found, *engine.flush()]
    assert [[stage for stage, _ in m.events] for m in found] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("unit", "seconds"), [("s", 1_700_000_000), ("ms", 1_700_000_000_250), ("us", 1_700_000_000_250_000)]
)
def test_numbers_are_times_in_their_unit(unit: str, seconds: int) -> None:
    for data in (row(t=seconds), table(t=[seconds, seconds])):
        engine = engine_of(unit=unit)
        engine.push(data)
        assert engine.watermark is not None
        assert engine.watermark // 10**9 in (1_699_999_999, 1_700_000_000)


def test_a_fraction_of_a_unit_is_kept_and_rounded_to_nanoseconds() -> None:
    for data in (row(t=1.5000000004), pa.table({"t": [1.5000000004], "key": ["k"], "x": [0.5]})):
        engine = engine_of()
        engine.push(data)
        assert engine.watermark == 1_499_999_999


def test_integers_are_numbers_where_the_pattern_says_nothing_else() -> None:
    engine = engine_of()
    assert pairs([*engine.push([row(x=0), row(t=2, x=np.int8(11))]), *engine.flush()]) == [(1, 2)]


def test_a_later_table_of_integers_is_promoted_to_float() -> None:
    engine = engine_of()
    engine.push(table(x=[0.5, 5.0]))
    assert pairs([*engine.push(table(t=[3, 4], x=pa.array([0, 11], pa.int16()))), *engine.flush()]) == [(1, 4), (3, 4)]


def test_a_later_table_of_whole_floats_is_taken_as_integers_and_others_refused() -> None:
    engine = engine_of()
    engine.push(table(x=[0, 5]))
    engine.push(table(t=[3, 4], x=[6.0, 7.0]))
    refused(engine, table(t=[5, 6], x=[0.5, 11.0]), "field `x`: expected int64, got double in the batch at position 4")


# --------------------------------------------------------------------------------- rows of other makes


@dataclass
class Payment:
    t: int
    key: str
    x: float


class Order(msgspec.Struct):
    t: int
    key: str
    x: float


@pytest.mark.parametrize("make", [Payment, Order, lambda t, key, x: {"t": t, "key": key, "x": x}])
def test_dataclasses_structs_and_dicts_are_rows_alone_and_in_iterables(make: Any) -> None:
    one, two = make(1, "k", 0.5), make(2, "k", 11.0)
    for pushes in ([one, two], [[one, two]], [iter([one]), (two,)]):
        engine = engine_of()
        results = [m for data in pushes for m in engine.push(data)]
        results += engine.flush()
        assert pairs(results) == [(1, 2)]
        assert dict(results[0]["low"]) == {"t": 1, "key": "k", "x": 0.5}


def test_pandas_polars_and_numpy_are_tables() -> None:
    columns = {"t": [1, 2], "key": ["k", "k"], "x": [0.5, 11.0]}
    structured = np.array([(1, "k", 0.5), (2, "k", 11.0)], [("t", "i4"), ("key", "U3"), ("x", "f4")])
    swapped = structured.astype([("t", ">i8"), ("key", ">U3"), ("x", ">f8")])
    as_objects = structured.astype([("t", "i8"), ("key", "O"), ("x", "f8")])
    categorical = pl.DataFrame(columns).with_columns(pl.col("key").cast(pl.Categorical))
    frames = [
        pd.DataFrame(columns),
        pl.DataFrame(columns),
        categorical,
        structured,
        swapped,
        as_objects,
        structured[None],
    ]
    for frame in frames:
        engine = engine_of()
        assert pairs([*engine.push(frame), *engine.flush()]) == [(1, 2)], frame


def test_nulls_of_numpy_and_pandas_times_are_missing_times() -> None:
    kinds = [("t", "M8[ms]"), ("key", "U1"), ("x", "f8")]
    said = "field `t`: the event time is missing at position 1"
    refused(engine_of(unit=None), np.array([(5, "k", 0.5), ("NaT", "k", 0.5)], kinds), said)
    frame = pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None]), "key": ["k", "k"], "x": [0.5, 0.5]})
    refused(engine_of(unit=None), frame, said)


def test_field_names_that_are_no_strings_ride_along() -> None:
    engine = engine_of()
    results = [*engine.push([row(**{"very odd": 1}) | {5: "five"}, row(t=2, x=11.0)]), *engine.flush()]
    assert results[0]["low"][5] == "five"
    assert results[0]["low"]["very odd"] == 1


def test_a_payload_whose_type_changes_is_shown_as_it_came() -> None:
    """Columns that no pattern reads have no type to conflict with; only an Arrow table of them all must name it."""
    engine = engine_of()
    engine.push([row(note=1), row(t=2, x=11.0, note="two")])
    results = engine.flush()
    assert (results[0]["low"]["note"], results[0]["high"]["note"]) == (1, "two")
    with pytest.raises(DataError, match="`note`"):
        results.to_arrow()


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        ([0], "positions: 1 given"),
        ([-1, 0], "positions: "),
        ([5, 4], "positions: "),
        ([1.5, 2], "positions: "),
        (["a", "b"], "positions: "),
        ([0, 1, 2], "positions: 3 given"),
    ],
)
def test_positions_must_be_one_for_each_row_and_ascend(positions: Any, said: str) -> None:
    for data in ([row(), row(t=2)], table()):
        engine = engine_of()
        with pytest.raises(DataError, match=said):
            engine.push(data, positions=positions)
        assert engine.statistics().rows == 0


@pytest.mark.parametrize("watermark", [1.5, "5", None, True, 2**64, -(2**64), dt.date(2024, 1, 1), dt.datetime.max])
def test_a_watermark_must_be_nanoseconds_or_a_datetime_in_range(watermark: Any) -> None:
    engine = engine_of()
    engine.push(row())
    with pytest.raises((DataError, fyke.DefinitionError), match="watermark"):
        engine.advance(watermark)
    assert pairs([*engine.push(row(t=2, x=11.0)), *engine.flush()]) == [(1, 2)]


def test_a_dict_that_is_changed_after_its_push_is_the_callers_affair_but_not_what_conditions_saw() -> None:
    """Rows are kept as they are, without a copy; what the conditions read was copied into columns."""
    engine = engine_of()
    reused = row()
    engine.push(reused)
    reused["x"] = 100.0
    (match,) = [*engine.push(row(t=2, x=11.0)), *engine.flush()]
    assert match["low"]["x"] == 100.0
