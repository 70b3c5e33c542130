"""Data of any accepted shape as columns: Arrow's types, slices, and where the same values come from other libraries."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fyke import DataError, Engine, Match, Schema, begin, col, func
from fyke.batches import Encoder, RowView, arrow_batches, as_arrow, gather, is_row, rows_of
from fyke.compiler import compile_plan

NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
DAY = 86_400 * 10**9


def encoder(type_: str, unit: str | None = "s", keep: list[str] | None = None) -> Encoder:
    """An encoder of one column x of this type."""
    return Encoder(compile_plan([begin("a", col.x.is_null())], Schema.of(x=type_)), "t", unit, keep)


def positions(n: int) -> Any:
    return np.arange(n, dtype=np.uint64)


def decoded(type_: str, array: pa.Array) -> list[Any]:
    """What the core sees of a column of this type, given this array."""
    batch = pa.record_batch({"t": pa.array(range(len(array)), pa.int64()), "x": array})
    segment = encoder(type_).from_arrow(batch, positions(len(batch)))
    return as_arrow(segment.columns[0], len(segment)).to_pylist()


INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
BINARIES = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1)]

# --- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrow", INTEGERS, ids=str)
def test_every_integer_is_an_int64_or_a_float64(arrow: pa.DataType) -> None:
    """As the schema says."""
    assert decoded("int64", pa.array([1, None, 2], arrow)) == [1, None, 2]
    assert decoded("float64", pa.array([1, None, 2], arrow)) == [1.0, None, 2.0]


@pytest.mark.parametrize("arrow", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_every_float_is_a_float64(arrow: pa.DataType) -> None:
    """Whole ones fit an int64 column, too."""
    array = pa.array([0.5, None, 2.0], pa.float64()).cast(arrow)
    assert decoded("float64", array) == [0.5, None, 2.0]
    assert decoded("int64", array[1:]) == [None, 2]


@pytest.mark.parametrize("arrow", TEXTS, ids=str)
def test_every_string_is_a_string_or_bytes(arrow: pa.DataType) -> None:
    """Of either width, views and dictionaries."""
    array = pa.array(["a", None, "ü", ""], pa.string()).cast(arrow)
    assert decoded("string", array) == [b"a", None, "ü".encode(), b""]
    assert decoded("bytes", array) == [b"a", None, "ü".encode(), b""]


@pytest.mark.parametrize("arrow", BINARIES, ids=str)
def test_every_binary_is_bytes_and_no_string(arrow: pa.DataType) -> None:
    """What is text must say so."""
    array = pa.array([b"a", None, b"\xff"], arrow)
    assert decoded("bytes", array) == [b"a", None, b"\xff"]
    with pytest.raises(DataError, match="field `x`: expected string, got .*binary.* at position 0"):
        decoded("string", array)


@pytest.mark.parametrize("unit", NS)
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
def test_a_timestamp_is_nanoseconds_whatever_its_unit_and_zone(unit: str, zone: str | None) -> None:
    """The zone is how it is shown; naive ones are UTC."""
    array = pa.array([-1, None, 7], pa.timestamp(unit, zone))
    assert decoded("timestamp", array) == [-NS[unit], None, 7 * NS[unit]]


@pytest.mark.parametrize("unit", NS)
def test_a_duration_is_nanoseconds_whatever_its_unit(unit: str) -> None:
    """As a timestamp."""
    assert decoded("duration", pa.array([-1, None, 7], pa.duration(unit))) == [-NS[unit], None, 7 * NS[unit]]


@pytest.mark.parametrize("arrow", [pa.date32(), pa.date64()], ids=str)
def test_a_date_is_days_whatever_its_width(arrow: pa.DataType) -> None:
    """Before 1970 they are negative."""
    array = pa.array([dt.date(1970, 1, 3), None, dt.date(1969, 12, 31)], arrow)
    assert decoded("date", array) == [2, None, -1]


def test_a_bool_is_a_byte() -> None:
    """Arrow's bits are spread."""
    assert decoded("bool", pa.array([True, None, False] * 5)) == [1, None, 0] * 5


@pytest.mark.parametrize(
    "type_", ["int64", "float64", "bool", "string", "bytes", "timestamp", "duration", "date", "any"]
)
def test_a_column_of_the_null_type_or_none_at_all_is_null(type_: str) -> None:
    """As pandas and JSON readers give a column without values."""
    assert decoded(type_, pa.nulls(3)) == [None] * 3
    segment = encoder(type_).from_arrow(pa.record_batch({"t": [1, 2]}), positions(2))
    assert as_arrow(segment.columns[0], 2).to_pylist() == [None] * 2


def test_a_key_of_any_type_tells_types_apart() -> None:
    """The same value is the same key from Arrow and from rows; 1 and "1" and True are three."""
    values = [1, "1", True, b"1", 1.5, dt.date(1970, 1, 2), dt.datetime(1970, 1, 2), dt.timedelta(1)]
    from_rows = encoder("any").from_rows([{"t": i, "x": v} for i, v in enumerate(values)], positions(len(values)))
    keys = as_arrow(from_rows.columns[0], len(values)).to_pylist()
    assert len(set(keys)) == len(values)
    assert [decoded("any", pa.array([v]))[0] for v in values] == keys


@pytest.mark.parametrize(
    ("type_", "array", "text"),
    [
        ("int64", pa.array([2**63], pa.uint64()), "expected int64, got uint64"),
        ("int64", pa.array([1.5]), "expected int64, got double"),
        ("int64", pa.array([float("nan")]), "expected int64, got double"),
        ("float64", pa.array([2**53 + 1]), "expected float64, got int64"),
        ("int64", pa.array([True]), "expected int64, got bool"),
        ("bool", pa.array([1]), "expected bool, got int64"),
        ("string", pa.array([1]), "expected string, got int64"),
        ("timestamp", pa.array([1]), "expected timestamp, got int64"),
        ("timestamp", pa.array([2**62], pa.timestamp("s")), "expected timestamp, got timestamp"),
        ("timestamp", pa.array([dt.date(2024, 1, 1)]), "expected timestamp, got date32"),
        ("date", pa.array([0], pa.timestamp("s")), "expected date, got timestamp"),
        ("duration", pa.array([1]), "expected duration, got int64"),
        ("int64", pa.array([Decimal("1.5")]), "expected int64, got decimal"),
        ("int64", pa.array([[1]]), "expected int64, got list"),
    ],
    ids=str,
)
def test_a_value_that_would_change_is_an_error(type_: str, array: pa.Array, text: str) -> None:
    """Never a rounding nobody asked for."""
    with pytest.raises(DataError, match=f"field `x`: {text}.* at position 0"):
        decoded(type_, array)


# --- slices ---------------------------------------------------------------------------------------------------------

LONG = [None if i % 7 == 3 else i for i in range(40)]


@pytest.mark.parametrize(
    ("type_", "array"),
    [
        ("int64", pa.array(LONG, pa.int64())),
        ("int64", pa.array(LONG, pa.int32())),
        ("float64", pa.array(LONG, pa.float64())),
        ("bool", pa.array([None if v is None else v % 2 == 0 for v in LONG])),
        ("string", pa.array([None if v is None else "x" * (v % 5) + str(v) for v in LONG])),
        ("string", pa.array([None if v is None else str(v) for v in LONG], pa.large_string())),
        ("string", pa.array([None if v is None else str(v) for v in LONG]).dictionary_encode()),
        ("bytes", pa.array([None if v is None else bytes([v]) for v in LONG], pa.binary(1))),
        ("timestamp", pa.array(LONG, pa.timestamp("ns"))),
        ("date", pa.array(LONG, pa.date32())),
        ("any", pa.array(LONG, pa.int64())),
    ],
    ids=str,
)
def test_a_slice_is_its_rows(type_: str, array: pa.Array) -> None:
    """Wherever it starts: buffers, offsets and null bits have offsets of their own."""
    whole = decoded(type_, array)
    for start, n in ((0, 40), (1, 7), (3, 0), (9, 20), (33, 7), (40, 0)):
        assert decoded(type_, array.slice(start, n)) == whole[start : start + n]
    assert decoded(type_, array.slice(2).slice(5, 9)) == whole[7:16]


def test_the_core_reads_a_slice_at_its_place() -> None:
    """From the batch to the match."""
    table = pa.table({"t": range(100), "x": range(100), "k": [f"k{i % 3}" for i in range(100)]})
    engine = Engine(begin("a", (col.x == 41) & (col.k == "k2")), time="t", unit="s")
    matches = [*engine.push(table.slice(37, 20).to_batches()[0]), *engine.flush()]
    assert [dict(m["a"]) for m in matches] == [{"t": 41, "x": 41, "k": "k2"}]


def test_a_table_of_chunks_is_one_batch() -> None:
    """However it was put together."""
    table = pa.concat_tables([pa.table({"t": [i], "x": [i]}) for i in range(5)])
    batches = arrow_batches(table)
    assert batches is not None
    assert [len(b) for b in batches] == [5]
    assert [len(b) for b in arrow_batches(table.slice(0, 0)) or []] == [0]


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", NS)
@pytest.mark.parametrize("arrow", [pa.int32(), pa.int64(), pa.uint64(), pa.float64(), pa.int8()], ids=str)
def test_numeric_times_have_a_unit(unit: str, arrow: pa.DataType) -> None:
    """Integers and floats, rounded to a nanosecond."""
    times = encoder("int64", unit).arrow_times(pa.record_batch({"t": pa.array([1, 5], arrow)}), 0)
    assert times.tolist() == [NS[unit], 5 * NS[unit]]
    assert times.dtype == np.int64


def test_a_float_time_keeps_its_fraction() -> None:
    """Seconds since 1970 as a float are good to a microsecond, today."""
    times = encoder("int64", "s").arrow_times(pa.record_batch({"t": [1.5, -0.25]}), 0)
    assert times.tolist() == [1_500_000_000, -250_000_000]


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_timestamps_need_no_unit(zone: str | None) -> None:
    """And refuse one."""
    batch = pa.record_batch({"t": pa.array([3], pa.timestamp("ms", zone))})
    assert encoder("int64", None).arrow_times(batch, 0).tolist() == [3_000_000]
    with pytest.raises(DataError, match="leave unit="):
        encoder("int64", "ms").arrow_times(batch, 0)


@pytest.mark.parametrize(
    ("times", "unit", "text"),
    [
        (pa.array([1, None]), "s", "the event time is missing at position 11"),
        (pa.array([1, 2]), None, "say its unit"),
        (pa.array(["2024"]), None, "expected timestamps or numbers"),
        (pa.array([0, 10**10]), "s", "10000000000 s at position 11 is outside the range"),
        (pa.array([0, -(10**10)]), "s", "-10000000000 s at position 11 is outside"),
        (pa.array([0, 2**64 - 1], pa.uint64()), "ns", "18446744073709551615 ns at position 11 is outside"),
        (pa.array([0.0, 1e11]), "s", "at position 11 is outside"),
        (pa.array([0.0, float("nan")]), "s", "nan s at position 11 is outside"),
        (pa.array([0.0, float("inf")]), "s", "inf s at position 11 is outside"),
        (pa.array([-(2**63)], pa.int64()), "ns", "outside"),
        (pa.array([2**63 - 1], pa.int64()), "ns", "outside"),
        (pa.array([2**62], pa.timestamp("s")), None, "outside the years 1677 to 2262"),
    ],
    ids=str,
)
def test_a_time_that_is_none_is_an_error_with_its_place(times: pa.Array, unit: str | None, text: str) -> None:
    """Position counts all rows pushed, here 10 before."""
    with pytest.raises(DataError, match=text):
        encoder("int64", unit).arrow_times(pa.record_batch({"t": times}), 10)


def test_a_missing_time_column_is_named() -> None:
    """With what there is."""
    with pytest.raises(DataError, match="field `t`: no such column for the event time; there are ts, x"):
        encoder("int64").arrow_times(pa.record_batch({"ts": [1], "x": [1]}), 0)


# --- the same events from everywhere --------------------------------------------------------------------------------

ROWS = [
    {"ts": 10 * i, "card": "x" if i % 2 else "y", "amount": a}
    for i, a in enumerate([0.5, 0.25, 900.0, 0.5, 700.0, 800.0])
]
PROBE = begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("1m").by("card")


@dataclasses.dataclass
class Payment:
    ts: int
    card: str
    amount: float


class PaymentStruct(msgspec.Struct):
    ts: int
    card: str
    amount: float


class Columns:
    """Anything with Arrow's array interface."""

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return pa.RecordBatch.from_pylist(ROWS).__arrow_c_array__(requested_schema)


SHAPES = {
    "dicts": ROWS,
    "a generator": (row for row in ROWS),
    "dataclasses": [Payment(**row) for row in ROWS],
    "msgspec": [PaymentStruct(**row) for row in ROWS],
    "mappings": [RowView(ROWS, i) for i in range(len(ROWS))],
    "numpy": np.array([tuple(r.values()) for r in ROWS], [("ts", "i4"), ("card", "U3"), ("amount", "f4")]),
    "table": pa.Table.from_pylist(ROWS),
    "batch": pa.RecordBatch.from_pylist(ROWS),
    "polars": pl.DataFrame(ROWS),
    "pandas": pd.DataFrame(ROWS),
    "arrow array": Columns(),
    "reader": pa.Table.from_pylist(ROWS).to_reader(2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_events_give_the_same_matches_in_every_shape(shape: str) -> None:
    """Keys, values and times come out as they went in."""
    engine = Engine(PROBE, time="ts", unit="s")
    matches: list[Match] = [*engine.push(SHAPES[shape]), *engine.flush()]
    found = [(m.key, m["probe"].position, m["spree"].position, m["spree"]["amount"]) for m in matches]
    assert found == [("y", 0, 2, 900.0), ("x", 1, 5, 800.0), ("x", 3, 5, 800.0)]
    engine.check()


@pytest.mark.parametrize("row", [ROWS[0], Payment(**ROWS[0]), PaymentStruct(**ROWS[0]), RowView(ROWS, 0)])
def test_one_row_alone_is_a_row(row: Any) -> None:
    """And no iterable of its fields."""
    assert is_row(row)
    assert rows_of(row) == [row]


@pytest.mark.parametrize(
    "data", [ROWS, (), np.zeros(1, [("a", "i8")]), pa.table({"a": [1]}), pl.DataFrame({"a": [1]}), Payment]
)
def test_many_rows_are_not_one(data: Any) -> None:
    """Nor is a class."""
    assert not is_row(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("text", "cannot take rows from str"),
        (b"bytes", "cannot take rows from bytes"),
        (5, "cannot take rows from int"),
        (None, "cannot take rows from NoneType"),
        ([1], "row 0 of the batch is int 1"),
        ([{"a": 1}, None], "row 1 of the batch is NoneType"),
        (["a"], "row 0 of the batch is str 'a'"),
    ],
)
def test_what_is_no_row_is_refused(data: Any, text: str) -> None:
    """With what would do."""
    with pytest.raises(DataError, match=text):
        rows_of(data)


@pytest.mark.parametrize(
    ("array", "text"),
    [(np.zeros(3), "structured array"), (np.zeros(2, [("x", "f8", (2,))]), "field `x`")],
)
def test_a_numpy_array_has_named_scalar_fields(array: Any, text: str) -> None:
    """Its fields are the columns."""
    with pytest.raises(DataError, match=text):
        arrow_batches(array)


# --- payload --------------------------------------------------------------------------------------------------------


def test_keep_drops_what_neither_matches_nor_conditions_need() -> None:
    """The rest of a wide batch is not held; the time always is."""
    batch = pa.record_batch({"t": [1], "x": [2], "more": [3], "less": [4]})
    segment = encoder("int64", keep=["more"]).from_arrow(batch, positions(1))
    assert segment.source.schema.names == ["t", "x", "more"]


def test_rows_put_together_keep_values_times_and_positions() -> None:
    """As compaction does: some rows of some segments, of narrow and wide strings."""
    enc = encoder("string")
    narrow = enc.from_arrow(pa.record_batch({"t": [1, 2, 3], "x": ["a", None, "c"]}), positions(3))
    wide = enc.from_arrow(pa.record_batch({"t": [4, 5], "x": ["d", "e"]}), positions(2) + np.uint64(3))
    one = gather([narrow, wide], [np.array([0, 1]), np.array([1])])
    assert one.times.tolist() == [10**9, 2 * 10**9, 5 * 10**9]
    assert one.positions.tolist() == [0, 1, 4]
    assert as_arrow(one.columns[0], 3).to_pylist() == [b"a", None, b"e"]
    assert one.source.column("x").to_pylist() == ["a", None, "e"]


def test_a_key_expression_has_room_for_its_values() -> None:
    """The core stores them before anything reads the row."""
    plan = compile_plan([begin("a").by(func.least(col.x, 2))], Schema.of(x="int64"))
    segment = Encoder(plan, "t", "s", None).from_arrow(pa.record_batch({"t": [1, 2], "x": [1, 3]}), positions(2))
    (computed,) = [i for i, c in enumerate(plan.columns) if c.kind == "computed"]
    assert as_arrow(segment.columns[computed], 2).to_pylist() == [0, 0]


def test_a_row_view_is_a_mapping_with_attributes() -> None:
    """Of a batch or of an object; what it does not have is missing in both ways."""
    at = uuid.UUID(int=1)
    for view in (
        RowView(pa.record_batch({"a": [1, 2], "b": ["x", "y"]}), 1),
        RowView([{"a": 2, "b": "y", "c": at}], 0),
    ):
        assert (view["a"], view.b) == (2, "y")
        with pytest.raises(KeyError):
            view["missing"]
        with pytest.raises(AttributeError):
            _ = view.missing
    assert dict(RowView([Payment(1, "x", 2.0)], 0)) == {"ts": 1, "card": "x", "amount": 2.0}
