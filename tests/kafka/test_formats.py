"""Values to columns by the formats: types, what is refused and how it is said, and one contract for all of them."""

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from fyke.errors import DefinitionError
from fyke.kafka.formats import Call, Raw
from fyke.kafka.json_format import Json

PAIR = {"a": pa.int64(), "b": pa.string()}


def pair_of(value):
    a, b = value.decode().split(",")
    return {"a": int(a), "b": b, "c": 0}


# good and bad values of each format, in the same places, and the rows that the good ones are
FORMATS = {
    "json": (Json(PAIR), b'{"a":1,"b":"x"}', b'{"a":"x"}', {"a": 1, "b": "x"}),
    "call": (Call(pair_of, PAIR), b"1,x", b"x,1", {"a": 1, "b": "x"}),
    "raw": (Raw("v"), b"\xff", None, {"v": b"\xff"}),
    "raw text": (Raw("v", text=True), "é".encode(), b"\xff", {"v": "é"}),
}


@pytest.fixture(params=FORMATS)
def case(request):
    return FORMATS[request.param]


def test_good_values_become_rows_and_nothing_else_is_said(case):
    format, good, _, row = case
    read = format.decode([good] * 3)
    assert read.rows.to_pylist() == [row] * 3
    assert (read.places, read.errors, read.nulls) == (None, [], [])


def test_each_value_is_a_row_an_error_or_a_null(case):
    format, good, bad, row = case
    values = [good, None, good, *([bad] if bad else []), good, None]
    read = format.decode(values)
    assert read.rows.to_pylist() == [row] * 3
    assert read.nulls == [1, len(values) - 1]
    assert [place for place, _ in read.errors] == ([3] if bad else [])
    assert read.places.tolist() == ([0, 2, 4] if bad else [0, 2, 3])


def test_nothing_at_all_has_the_same_columns(case):
    format, good, bad, _ = case
    for values in ([], [None], [bad] if bad else []):
        rows = format.decode(values).rows
        assert (rows.num_rows, rows.schema) == (0, format.schema)
    assert format.decode([good]).rows.schema == format.schema


def test_only_bad_values_are_no_rows(case):
    format, _, bad, _ = case
    if bad:
        read = format.decode([bad, bad])
        assert (read.rows.num_rows, [place for place, _ in read.errors]) == (0, [0, 1])


def test_a_batch_leaves_nothing_behind_for_the_next_one(case):
    format, good, bad, row = case
    for values in ([good] * 40, [bad or good] * 3, [good]):
        read = format.decode(values)
    assert read.rows.to_pylist() == [row]
    assert read.rows.column(0).null_count == 0


# -- JSON: types


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (pa.int64(), "-9223372036854775808", -(2**63)),
        (pa.int64(), "1.0", 1),
        (pa.int64(), "12e2", 1200),
        (pa.int8(), "-128", -128),
        (pa.uint32(), "4294967295", 2**32 - 1),
        (pa.uint64(), "18446744073709551615", 2**64 - 1),
        (pa.float64(), "7", 7.0),
        (pa.float64(), "0.1234567890123456789012345", 0.12345678901234568),
        (pa.float32(), "0.5", 0.5),
        (pa.bool_(), "true", True),
        (pa.string(), r'"a\u00e9\ud83d\ude00\n"', "aé😀\n"),
        (pa.large_string(), '"x"', "x"),
        (pa.binary(), '"é"', "é".encode()),
        (pa.timestamp("ns", "UTC"), '"2024-02-29T12:00:00.123456789Z"', None),
        (pa.timestamp("ms"), '"2024-02-29 12:00:00"', dt.datetime(2024, 2, 29, 12)),
        (pa.timestamp("s", "UTC"), '"2024-02-29T12:00:00+02:00"', dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC)),
        (pa.date32(), '"2024-02-29"', dt.date(2024, 2, 29)),
        (pa.time64("us"), '"12:30:00.5"', dt.time(12, 30, 0, 500_000)),
        (pa.duration("ms"), "1500", dt.timedelta(seconds=1.5)),
        (pa.decimal128(20, 4), "12345678901234.5678", Decimal("12345678901234.5678")),
        (pa.decimal128(9, 2), '"3.5"', Decimal("3.50")),
        (pa.list_(pa.int64()), "[1, 2.0, null]", [1, 2, None]),
        (pa.list_(pa.date32()), '["2024-02-29"]', [dt.date(2024, 2, 29)]),
        (pa.struct([("x", pa.float64()), ("y", pa.string())]), '{"x": 1, "z": 5}', {"x": 1.0, "y": None}),
        (pa.map_(pa.string(), pa.int64()), '{"p": 1}', [("p", 1)]),
    ],
    ids=str,
)
def test_json_becomes_what_the_schema_says(kind, text, value):
    read = Json({"v": kind}).decode([b'{"v": %s}' % text.encode(), b'{"v": null}', b"{}"])
    assert read.errors == []
    column = read.rows.column(0)
    assert column.type == kind
    assert column.null_count == 2
    if kind == pa.timestamp("ns", "UTC"):
        assert column[0].value == 1_709_208_000_123_456_789
    else:
        assert column[0].as_py() == value


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (pa.int64(), '"1"', 'expected int64, got "1" at byte 5'),
        (pa.int64(), "1.5", "expected int64, got 1.5 at byte 5"),
        (pa.int64(), "9223372036854775808", "too large: 9223372036854775808 at byte 5"),
        (pa.int64(), "true", "expected int64, got true at byte 5"),
        (pa.int8(), "128", "expected int8, got 128"),
        (pa.uint32(), "-1", "expected uint32, got -1"),
        (pa.uint64(), "-1", "expected uint64, got '-1'"),
        (pa.float64(), "1e400", "too large: 1e400 at byte 5"),
        (pa.float64(), "[1]", "expected double, got [... at byte 5"),
        (pa.bool_(), "1", "expected bool, got 1 at byte 5"),
        (pa.string(), "5", "expected string, got 5 at byte 5"),
        (pa.string(), '"\\ud800"', "an escape that means nothing"),
        (pa.timestamp("ms"), '"yesterday"', "expected timestamp[ms], got 'yesterday'"),
        (pa.timestamp("ms"), "17", "expected timestamp[ms], got 17 at byte 5"),
        (pa.date32(), '"2023-02-29"', "expected date32[day], got '2023-02-29'"),
        (pa.decimal128(5, 2), "1.234", "expected decimal128(5, 2), got '1.234'"),
        (pa.list_(pa.int64()), '"12"', "expected list<"),
        (pa.list_(pa.int64()), "[true]", "expected list<"),
        (pa.struct([("x", pa.int64())]), '{"x": "1"}', "expected struct<x: int64>, got"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_named_and_the_others_are_kept(kind, text, said):
    good = b'{"w": 1}'
    read = Json({"v": kind, "w": pa.int64()}).decode([good, b'{"v":%s}' % text.encode(), good])
    ((place, error),) = read.errors
    assert place == 1
    assert error.startswith("field `v`: ")
    assert said in error
    assert read.rows.to_pylist() == [{"v": None, "w": 1}] * 2
    assert read.places.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "the text ends too early at byte 0"),
        (b"  ", "the text ends too early at byte 2"),
        (b'{"a":1', "the text ends too early at byte 6"),
        (b'{"a":', "field `a`: the text ends too early at byte 5"),
        (b"[1]", "not an object at byte 0: [..."),
        (b"null", "not an object at byte 0: null"),
        (b'{"a" 1}', "not JSON at byte 5: 1"),
        (b"{'a': 1}", "not JSON at byte 1: 'a':"),
        (b'{"a":1}{"a":2}', "something follows the object at byte 7: {..."),
        (b'{"a":1,}', "not JSON at byte 7"),
        (b'{"z":01}', "not JSON at byte 6: 1"),
        (b'{"a":-}', "field `a`: not a number: } at byte 6"),
        (b'{"b":"\x01"}', "field `b`: a control character within a string"),
        (b'{"b":"\xff"}', "field `b`: not UTF-8"),
        (b'{"z":"\xff"}', "not UTF-8 at byte 6"),
        (b'{"z":' + b"[" * 1025 + b"]" * 1025 + b"}", "nested deeper than 1,024 at byte 1029"),
    ],
)
def test_what_is_no_json_object_is_named_with_its_byte(value, said):
    """Also in fields that nobody asked for: whether a record is a poison one does not depend on who reads it."""
    ((_, error),) = Json(PAIR).decode([value]).errors
    assert error.startswith(said)


def test_fields_in_another_order_with_escapes_and_spaces_are_the_same():
    read = Json(PAIR).decode(
        [b'{"a":1,"b":"x"}', b' {"b" : "x" ,\n"a":1 } ', b'\xef\xbb\xbf{"\\u0061":1,"b":"\\u0078"}']
    )
    assert read.rows.to_pylist() == [{"a": 1, "b": "x"}] * 3


def test_the_last_of_a_name_that_occurs_twice_counts():
    assert Json(PAIR).decode([b'{"a":1,"b":"long","a":2,"b":"s"}']).rows.to_pylist() == [{"a": 2, "b": "s"}]


def test_many_fields_and_long_names_are_found():
    names = [f"field {i} " + "x" * (i % 60) for i in range(300)]
    value = ("{" + ",".join(f'"{name}":{i}' for i, name in enumerate(names)) + "}").encode()
    read = Json({name: pa.int64() for name in names[::-1]}).decode([value, value])
    assert read.rows.to_pylist() == [{name: i for i, name in enumerate(names)}] * 2


def test_a_batch_too_large_for_a_column_is_read_in_parts(monkeypatch):
    values = [b'{"a":%d}' % i if i % 3 else None for i in range(10)] + [b"?"]
    whole = Json(PAIR).decode(values)
    reader = Json(PAIR)
    small = reader._decoder

    class Limited:
        def decode(self, values):
            if len(values) > 2:
                raise OverflowError
            return small.decode(values)

    reader._decoder = Limited()
    parts = reader.decode(values)
    assert parts.rows.equals(whole.rows)
    assert (parts.places.tolist(), parts.errors, parts.nulls) == (whole.places.tolist(), whole.errors, whole.nulls)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "it has no columns"),
        (pa.schema([("a", pa.int64()), ("a", pa.int64())]), "`a` occurs twice"),
        ({"a": "int64"}, "expected a name and an Arrow type"),
        (["a"], "expected an Arrow schema"),
    ],
)
def test_a_schema_that_is_none_is_refused(schema, said):
    with pytest.raises(DefinitionError, match=said):
        Json(schema)
    with pytest.raises(DefinitionError, match=said):
        Call(pair_of, schema)


def test_a_type_that_json_has_nothing_for_is_refused():
    with pytest.raises(DefinitionError, match="field `a`: JSON cannot be read as month_day_nano_interval"):
        Json({"a": pa.month_day_nano_interval()})


# -- functions


def test_whatever_a_function_raises_makes_the_record_a_poison_one():
    def odd(value):
        if value == b"none":
            return None
        if value == b"float":
            return {"a": 1.5, "b": "x"}
        return {"a": 1 // int(value), "b": "x"}

    read = Call(odd, PAIR).decode([b"1", b"0", b"none", b"float", b"1"])
    assert read.errors == [
        (1, "ZeroDivisionError: integer division or modulo by zero"),
        (2, "TypeError: expected a mapping, got NoneType"),
        (3, "field `a`: expected int64, got 1.5"),
    ]
    assert read.places.tolist() == [0, 4]


def test_a_function_is_needed():
    with pytest.raises(DefinitionError, match="a function of bytes is needed, not 'json'"):
        Call("json", PAIR)
