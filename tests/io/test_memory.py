"""Sources in memory: Arrow data as it is, rows put into columns."""

import dataclasses

import msgspec
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


def test_values_of_two_types_are_an_error_with_field_and_rows():
    with pytest.raises(DataError, match="field `a`: values of one type expected, got int and str in rows 2 to 3"):
        list(Memory([{"a": 1}, {"a": 2}, {"a": 3}, {"a": "x"}], batch_size=2))


def test_what_is_no_data_is_an_error():
    with pytest.raises(DataError, match="expected a row"):
        list(Memory([1, 2]))
    with pytest.raises(DataError, match="expected a path, a table or an iterable of rows, got int"):
        Memory(5)
