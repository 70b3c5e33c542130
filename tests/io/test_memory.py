"""Sources in memory: Arrow data as it is, rows put into columns."""

import dataclasses
import datetime as dt
from decimal import Decimal

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from fyke.errors import DataError
from fyke.io import Source
from fyke.io.memory import Memory

ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": 3, "b": "z"}]


@dataclasses.dataclass
class Row:
    a: int
    b: str | None


class Struct(msgspec.Struct):
    a: int
    b: str | None


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        tuple(ROWS),
        [Row(**row) for row in ROWS],
        [Struct(**row) for row in ROWS],
        pa.Table.from_pylist(ROWS),
        pa.RecordBatch.from_pylist(ROWS),
        pl.DataFrame(ROWS),
    ],
    ids=["list", "tuple", "dataclasses", "structs", "table", "record batch", "polars"],
)
def test_every_kind_of_data_gives_the_same_rows_in_batches(data):
    source = Memory(data, batch_size=2)
    assert isinstance(source, Source)
    for _ in range(2):
        batches = list(source)
        assert [batch.first for batch in batches] == [0, 2]
        assert [row for batch in batches for row in batch.rows.to_pylist()] == ROWS


def test_an_iterator_can_be_read_once():
    source = Memory(iter(ROWS), columns=["a"])
    assert [row for batch in source for row in batch.rows.to_pylist()] == [{"a": 1}, {"a": 2}, {"a": 3}]
    with pytest.raises(DataError, match="an iterator can be read only once"):
        list(source)


def test_a_field_that_a_row_lacks_is_null():
    (batch,) = Memory([{"a": 1}, {"b": 2.5}])
    assert batch.rows.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": 2.5}]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_values_of_two_types_are_an_error_with_field_and_row_however_the_rows_are_cut(batch_size):
    with pytest.raises(DataError, match=r"field `a`: expected int64, got 'x' \(str\) at row 3"):
        list(Memory([{"a": None}, {"a": 1}, {"a": 2}, {"a": "x"}, {"a": 1}], batch_size=batch_size))


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ({"a": 1}, {"a": 0.5}, pa.float64()),
        ({"a": 0.5}, {"a": 1}, pa.float64()),
        ({"a": Decimal("0.5")}, {"a": Decimal("10.25")}, pa.decimal128(4, 2)),
        ({"a": None}, {"a": "x"}, pa.string()),
        ({"a": {"b": 1}}, {"a": {"c": "x"}}, pa.struct([("b", pa.int64()), ("c", pa.string())])),
        ({"a": []}, {"a": [1]}, pa.list_(pa.int64())),
    ],
)
def test_types_grow_by_what_comes(first, second, both):
    *_, last = Memory([first, second, first], batch_size=1)
    assert last.rows.schema.field("a").type == both


@pytest.mark.parametrize(
    "wrong", ["x", b"x", True, 2**70, 2**63, [1], {"b": 1}, dt.date(2024, 1, 1), object(), "\ud800"]
)
def test_what_does_not_go_with_integers_is_an_error_with_its_row(wrong):
    for rows in ([{"a": 1}, {"a": wrong}], [{"a": 1}] * 2 + [{"a": None}, {"a": wrong}, {"a": 2}]):
        for batch_size in (1, 2, 10):
            place = next(n for n, row in enumerate(rows) if row["a"] is wrong)
            with pytest.raises(DataError, match=f"field `a`: expected int64, got .* at row {place}"):
                list(Memory(rows, batch_size=batch_size))


def test_a_numpy_structured_array_is_a_table():
    array = np.array([(1, 0.5), (2, 1.5)], dtype=[("a", "i4"), ("b", "f8")])
    assert [row for batch in Memory(array, batch_size=1) for row in batch.rows.to_pylist()] == [
        {"a": 1, "b": 0.5},
        {"a": 2, "b": 1.5},
    ]
    with pytest.raises(DataError, match="a structured array with named fields is needed"):
        list(Memory(np.arange(3)))


def test_what_is_no_data_is_an_error():
    with pytest.raises(DataError, match="expected a row"):
        list(Memory([1, 2]))
    with pytest.raises(DataError, match="expected a path, a table or an iterable of rows, got int"):
        Memory(5)
