"""Records to rows: every offset of a chunk is a row, a poison record or a tombstone, with its time and its origin."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.errors import DefinitionError
from fyke.kafka.consumer import Chunk, Partition
from fyke.kafka.formats import Raw
from fyke.kafka.json_format import Json
from fyke.kafka.records import RecordReader, poison_table
from tests.kafka.fakes import Record

PLACE = Partition("orders", 3)
ORDERS = Json({"id": pa.int64(), "ts": pa.int64()})
MS = 1_000_000


def chunk(*records):
    return Chunk(PLACE, list(records), records[-1].offset() + 1)


def record(offset, value, **fields):
    return Record(*PLACE, offset, value, **fields)


def test_rows_come_with_their_offsets_and_the_records_times():
    read = RecordReader(ORDERS).read(
        chunk(record(7, b'{"id":1}', timestamp=(1, 50)), record(8, b'{"id":2}', timestamp=(2, 40)))
    )
    assert read.rows.to_pylist() == [{"id": 1, "ts": None}, {"id": 2, "ts": None}]
    assert (read.offsets.tolist(), read.times.tolist()) == ([7, 8], [50 * MS, 40 * MS])
    assert (read.partition, read.next, read.poison, read.tombstones) == (PLACE, 9, [], [])


def test_offsets_may_have_gaps():
    """Transactions and compaction leave some out."""
    read = RecordReader(ORDERS).read(chunk(*(record(o, b"{}", timestamp=(1, o)) for o in (2, 3, 9))))
    assert read.offsets.tolist() == [2, 3, 9]


@pytest.mark.parametrize(
    ("kind", "unit", "text", "ns"),
    [
        (pa.int64(), "s", "5", 5_000_000_000),
        (pa.int64(), "ns", "-5", -5),
        (pa.float64(), "ms", "1.5", 1_500_000),
        (pa.uint64(), "us", "7", 7_000),
        (pa.int32(), "ms", "7", 7 * MS),
        (pa.timestamp("ms", "UTC"), None, '"1970-01-01T00:00:00.250Z"', 250 * MS),
        (pa.timestamp("s"), None, '"1970-01-01 00:00:09"', 9_000_000_000),
    ],
    ids=str,
)
def test_the_event_time_is_a_column_of_the_value(kind, unit, text, ns):
    reader = RecordReader(Json({"at": kind}), time="at", unit=unit)
    assert reader.read(chunk(record(0, b'{"at":%s}' % text.encode()))).times.tolist() == [ns]


@pytest.mark.parametrize(
    ("kind", "unit", "text", "said"),
    [
        (pa.int64(), "s", "null", "field `at`: the event time is missing"),
        (pa.int64(), "s", "9223372037", "field `at`: 9223372037 is outside the range of times .* is the unit right?"),
        (pa.int64(), "ns", "9223372036854775807", "is outside the range"),
        (pa.uint64(), "ns", "18446744073709551615", "18446744073709551615 is outside"),
        (pa.float64(), "s", "1e300", "1e.300 is outside"),
        (pa.timestamp("s"), None, '"9999-01-01T00:00:00"', "outside the range"),
        (pa.timestamp("ms"), None, "null", "the event time is missing"),
    ],
    ids=str,
)
def test_a_record_without_a_usable_event_time_is_a_poison_one(kind, unit, text, said):
    """And only that one: its neighbours are rows."""
    good = b'{"at":"1970-01-01T00:00:00"}' if pa.types.is_timestamp(kind) else b'{"at":0}'
    values = [good, b'{"at":%s}' % text.encode(), good]
    read = RecordReader(Json({"at": kind}), time="at", unit=unit).read(
        chunk(*(record(10 + i, value) for i, value in enumerate(values)))
    )
    assert read.offsets.tolist() == [10, 12]
    assert read.times.tolist() == [0, 0]
    assert [poison.offset for poison in read.poison] == [11]
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(read.poison[0].error)


def test_a_record_without_a_time_of_its_own_is_a_poison_one_where_it_is_needed():
    given = chunk(record(0, b'{"ts":1}', timestamp=(0, -1)))
    assert [p.error for p in RecordReader(ORDERS).read(given).poison] == [
        "the record's time: the event time is missing"
    ]
    assert RecordReader(ORDERS, time="ts", unit="ms").read(given).poison == []


def test_a_poison_record_is_handed_out_as_it_came():
    headers = [("h", b"1"), ("h", None)]
    bad = record(5, b"{", key=b"k", timestamp=(1, 99), headers=headers)
    (poison,) = RecordReader(ORDERS).read(chunk(bad)).poison
    assert (poison.partition, poison.offset, poison.value, poison.key) == (PLACE, 5, b"{", b"k")
    assert (poison.headers, poison.timestamp_ms) == (tuple(headers), 99)
    assert "the text ends too early" in poison.error
    assert poison_table([poison]).to_pylist()[0] | {"timestamp": None, "error": ""} == {
        "topic": "orders", "partition": 3, "offset": 5, "error": "", "key": b"k", "value": b"{", "timestamp": None,
    }  # fmt: skip
    assert poison_table([]).schema == poison_table([poison]).schema


def test_records_without_a_value_come_apart_with_their_keys():
    first, last = record(1, None, key=b"a", timestamp=(1, 2)), record(3, None, timestamp=(0, -1))
    read = RecordReader(ORDERS).read(chunk(first, record(2, b"{}", timestamp=(1, 3)), last))
    assert [(t.offset, t.key, t.time) for t in read.tombstones] == [(1, b"a", 2 * MS), (3, None, 0)]
    assert read.offsets.tolist() == [2]


def test_any_part_of_a_record_can_be_a_column():
    parts = {
        "k": "key", "text": "key:text", "p": "partition", "o": "offset", "t": "timestamp", "from": "topic",
        "trace": "header:trace-id",
    }  # fmt: skip
    headers = [("trace-id", b"old"), ("other", b"x"), ("trace-id", b"new")]
    read = RecordReader(Raw("v"), columns=parts).read(
        chunk(record(4, b"a", key=b"key", timestamp=(1, 0), headers=headers), record(5, b"b", timestamp=(1, 1)))
    )
    first, second = read.rows.to_pylist()
    assert first.pop("t").isoformat() == "1970-01-01T00:00:00+00:00"
    assert first == {
        "v": b"a", "k": b"key", "text": "key", "p": 3, "o": 4, "from": "orders", "trace": b"new",
    }  # fmt: skip
    assert (second["k"], second["text"], second["trace"], second["o"]) == (None, None, None, 5)
    assert read.rows.schema == RecordReader(Raw("v"), columns=parts).schema


def test_the_records_time_may_be_a_column_and_the_event_time_too():
    reader = RecordReader(Raw("v"), columns={"at": "timestamp"}, time="at")
    assert reader.read(chunk(record(0, b"x", timestamp=(1, 77)))).times.tolist() == [77 * MS]


def test_a_key_that_is_no_text_is_a_poison_record_where_text_is_asked_for():
    read = RecordReader(Raw("v"), columns={"k": "key:text"}).read(
        chunk(record(0, b"x", key="é".encode(), timestamp=(1, 0)), record(1, b"y", key=b"\xff", timestamp=(1, 0)))
    )
    assert read.rows["k"].to_pylist() == ["é"]
    assert [(p.offset, p.error) for p in read.poison] == [(1, r"the key is not UTF-8: b'\xff'")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time": "when"}, "no column `when` for the event time; there are id, ts"),
        ({"time": "ts"}, "column `ts` holds int64: say its unit with unit=, of s, ms, us, ns"),
        ({"time": "ts", "unit": "min"}, 'unit "min": allowed are s, ms, us, ns'),
        ({"unit": "ms"}, 'unit="ms" needs a column'),
        ({"columns": {"id": "offset"}}, "column `id` is in the record's value already"),
        ({"columns": {"x": "size"}}, 'column `x`: "size" is no part of a record: "key", '),
        ({"time": "at", "unit": "ms", "columns": {"at": "timestamp"}}, 'holds timestamps: leave unit="ms" out'),
        ({"time": "k", "columns": {"k": "key"}}, "expected timestamps or numbers for the event time, not binary"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_when_written(options, said):
    with pytest.raises(DefinitionError, match=said):
        RecordReader(ORDERS, **options)


TOO_LATE = b'{"id":1,"ts":9223372036854775807}'
VALUES = st.sampled_from([b'{"id":1,"ts":5}', b'{"ts":5}', b"{", None, b'{"id":1}', TOO_LATE])


@given(st.lists(st.tuples(VALUES, st.integers(0, 3)), min_size=1, max_size=30))
def test_every_offset_comes_out_exactly_once(drawn):
    records, offset = [], 0
    for value, gap in drawn:
        records.append(record(offset, value, timestamp=(1, 0)))
        offset += 1 + gap
    read = RecordReader(ORDERS, time="ts", unit="ms").read(chunk(*records))
    found = [*read.offsets.tolist(), *(p.offset for p in read.poison), *(t.offset for t in read.tombstones)]
    assert sorted(found) == [each.offset() for each in records]
    assert read.offsets.tolist() == sorted(read.offsets.tolist())
    assert len(read.offsets) == len(read.times) == read.rows.num_rows
    assert [p.offset for p in read.poison] == sorted(p.offset for p in read.poison)
    assert {p.value for p in read.poison} <= {b"{", b'{"id":1}', TOO_LATE}
