"""The JSON decoder against Python's: what it takes, what it refuses, and what it makes of a field, for any bytes."""

import json
import math
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fyke.kafka.json_format import Json

SCHEMA = pa.schema(
    [("i", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()), ("s", pa.string()), ("l", pa.list_(pa.int64()))]
)
BAD = object()


class Object(dict):
    """An object that remembers the values of names that occur twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs


class Number(str):
    """A number as its text stands."""


def refuse(word):
    raise ValueError(word)


def documents(value):
    """What a strict reader of RFC 8259 makes of bytes; BAD if they are no object."""
    try:
        text = value.removeprefix(b"\xef\xbb\xbf").decode()
        numbers = {"parse_int": Number, "parse_float": Number, "parse_constant": refuse}
        found = json.loads(text, object_pairs_hook=Object, **numbers)
        json.dumps(found, ensure_ascii=False).encode()  # lone surrogates: Python takes them, UTF-8 has none
    except ValueError:
        return BAD
    return found if isinstance(found, dict) else BAD


def digits(number):
    return len(number.lower().partition("e")[0].replace(".", "").lstrip("-0"))


def expected_cell(kind, value):
    """The column's value, or BAD."""
    if value is None:
        return None
    if isinstance(value, Number):
        if pa.types.is_floating(kind):
            read = float(value)
            return BAD if math.isinf(read) else read
        if pa.types.is_integer(kind) and digits(value) <= 19:
            read = Decimal(value)
            if read and (not 0 <= read.adjusted() <= 20 or read != int(read)):
                return BAD
            return int(read) if -(2**63) <= int(read) < 2**63 else BAD
        return BAD
    if isinstance(value, bool):
        return value if pa.types.is_boolean(kind) else BAD
    if isinstance(value, str):
        return value if pa.types.is_string(kind) else BAD
    if isinstance(value, list) and pa.types.is_list(kind):
        read = [expected_cell(kind.value_type, each) for each in value]
        return BAD if BAD in read else read
    return BAD


def expected_row(value):
    document = documents(value)
    if document is BAD:
        return BAD
    row = dict.fromkeys(SCHEMA.names)
    for name, value in document.pairs:  # the last one counts, but each must fit; a list is looked at in the end
        if name in row:
            kind = SCHEMA.field(name).type
            row[name] = expected_cell(kind, document[name] if pa.types.is_list(kind) else value)
            if row[name] is BAD:
                return BAD
    return row


def check(values):
    read = Json(SCHEMA).decode(values)
    expected = [None if value is None else expected_row(value) for value in values]
    rows = [row for value, row in zip(values, expected, strict=True) if value is not None and row is not BAD]
    assert repr(read.rows.to_pylist()) == repr(rows)  # repr: -0.0 is not 0.0
    assert [place for place, _ in read.errors] == [i for i, row in enumerate(expected) if row is BAD]
    assert read.nulls == [i for i, value in enumerate(values) if value is None]
    places = range(len(values)) if read.places is None else read.places.tolist()
    assert list(places) == [i for i, row in enumerate(expected) if row is not None and row is not BAD]
    read.rows.validate(full=True)


# Numbers as producers write them and as nobody does; integers of lists are kept to what Python's int() reads alike.
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
WORDS = st.sampled_from(["true", "false", "null", "NaN", "Infinity", "-", "01", "1.", ".5", "+1", "tru", "nul", "'a'"])
TEXTS = st.text(max_size=20).map(json.dumps) | st.text(max_size=20).map(lambda s: json.dumps(s, ensure_ascii=False))
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t \r"])


@st.composite
def members(draw):
    name = draw(st.sampled_from([*SCHEMA.names, "x", "", "\\u0069"]))
    lists = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(json.dumps)
    by_kind = {"i": NUMBERS, "f": NUMBERS, "b": st.sampled_from(["true", "false"]), "s": TEXTS, "l": lists}
    fitting = by_kind.get(name.replace("\\u0069", "i"), TEXTS)
    anything = st.one_of(NUMBERS, WORDS, TEXTS, lists, st.just('{"i": [{}, "]"]}'))
    value = draw(st.one_of(fitting, fitting, fitting, fitting, st.just("null"), anything))
    return f'{draw(SPACE)}"{name}"{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}'


def as_object(parts):
    return ("{" + ",".join(parts) + "}").encode("utf-8", "surrogatepass")


OBJECTS = st.lists(members(), max_size=7).map(as_object)


@st.composite
def damaged(draw):
    value = bytearray(draw(OBJECTS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(value)))
        other = draw(st.binary(max_size=2) | st.sampled_from([b'"', b"{", b",", b"\\"]))
        value[at : at + draw(st.integers(0, 2))] = other
    return bytes(value)


@given(st.lists(st.none() | OBJECTS | damaged() | st.binary(max_size=12), max_size=12))
def test_any_bytes_are_read_as_a_strict_reader_reads_them_or_refused_alone(values):
    check(values)


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_doubles_are_the_nearest_ones(numbers):
    read = Json({"f": pa.float64()}).decode([b'{"f":%s}' % number.encode() for number in numbers])
    finite = [float(number) for number in numbers if not math.isinf(float(number))]
    assert list(map(repr, read.rows["f"].to_pylist())) == list(map(repr, finite))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_doubles_come_back_from_what_python_writes(doubles):
    read = Json({"f": pa.float64()}).decode([json.dumps({"f": each}).encode() for each in doubles])
    assert list(map(repr, read.rows["f"].to_pylist())) == list(map(repr, doubles))


@given(st.lists(OBJECTS, min_size=2, max_size=6), st.data())
def test_how_values_are_grouped_changes_nothing(values, data):
    at = data.draw(st.integers(0, len(values)))
    reader = Json(SCHEMA)
    parts = [reader.decode(values[:at]), reader.decode(values[at:])]
    whole = Json(SCHEMA).decode(values)
    assert repr(whole.rows.to_pylist()) == repr(parts[0].rows.to_pylist() + parts[1].rows.to_pylist())
