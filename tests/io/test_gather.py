"""Arrivals become items by their number and age, in their order; times are given, nothing waits."""

import datetime as dt

import pyarrow as pa
import pytest

from fyke.errors import DataError, DefinitionError
from fyke.io import Batch, Idle, Watermark
from fyke.io.gather import END, Gather


def row(n):
    return {"n": n}


def taken(gather):
    """What is ready, in short: the numbers of a batch's rows, or the item itself."""
    found = []
    while (next_one := gather.take()) is not None:
        item, _ = next_one
        found.append([each["n"] for each in item.rows.to_pylist()] if isinstance(item, Batch) else item)
    return found


def test_a_batch_is_ready_when_it_is_full():
    gather = Gather("here", {"batch_size": 2, "linger": "1h"})
    for n in range(5):
        gather.add(row(n), 0.0)
    assert taken(gather) == [[0, 1], [2, 3]]
    gather.add(END, 0.0)
    assert taken(gather) == [[4]]
    assert gather.has_ended


def test_a_batch_is_ready_when_its_first_row_has_waited_long_enough():
    gather = Gather("here", {"linger": dt.timedelta(seconds=2)})
    gather.add(row(0), 10.0)
    gather.add(row(1), 11.5)
    assert gather.wait(11.5) == 0.5
    gather.tick(11.9)
    assert taken(gather) == []
    gather.tick(12.0)
    assert taken(gather) == [[0, 1]]
    assert gather.wait(12.0) is None


def test_without_linger_what_is_there_is_ready_at_once():
    gather = Gather("here", {})
    gather.add(row(0), 1.0)
    assert gather.wait(1.0) == 0.0
    gather.tick(1.0)
    assert taken(gather) == [[0]]


def test_whatever_is_no_row_comes_after_the_rows_before_it():
    gather = Gather("here", {"linger": "1h"})
    table = pa.table({"n": [10, 11, 12]})
    for thing in (row(0), Watermark(5), Watermark(6), row(1), table, row(2), Idle(), row(3), END):
        gather.add(thing, 0.0)
    assert taken(gather) == [[0], Watermark(5), Watermark(6), [1], [10, 11, 12], [2], Idle(), [3]]


def test_positions_go_on_over_rows_and_tables():
    gather = Gather("here", {"batch_size": 2})
    for thing in (row(0), pa.table({"n": [1, 2, 3]}), pa.table({"n": pa.array([], pa.int64())}), row(4), END):
        gather.add(thing, 0.0)
    firsts = []
    while (next_one := gather.take()) is not None:
        firsts.append((next_one[0].first, next_one[0].rows.num_rows))
    assert firsts == [(0, 1), (1, 2), (3, 1), (4, 1)]


def test_silence_is_said_once_until_something_comes():
    gather = Gather("here", {"idle": "5s", "linger": "1m"})
    gather.start(0.0)
    assert gather.wait(0.0) == 5.0
    gather.tick(4.9)
    assert taken(gather) == []
    gather.tick(5.0)
    gather.tick(20.0)
    assert taken(gather) == [Idle()]
    assert gather.wait(20.0) is None
    gather.add(row(0), 21.0)
    assert gather.wait(21.0) == 5.0
    gather.tick(26.0)
    assert taken(gather) == [[0], Idle()]


def test_the_producers_error_is_raised_in_its_place():
    gather = Gather("payments", {"linger": "1h"})
    gather.add(row(0), 0.0)
    gather.add(ConnectionResetError("gone"), 0.0)
    assert gather.has_ended
    assert gather.take()[0].rows.to_pylist() == [row(0)]
    with pytest.raises(DataError, match=r"payments: failed after row 0: ConnectionResetError\('gone'\)") as error:
        gather.take()
    assert isinstance(error.value.__cause__, ConnectionResetError)
    assert gather.take() is None


def test_an_error_before_any_row_says_so():
    gather = Gather("payments", {})
    gather.add(OSError("no"), 0.0)
    with pytest.raises(DataError, match="payments: failed before the first row"):
        gather.take()


@pytest.mark.parametrize("next_one", [Watermark(1), END, pa.table({"n": [1]}), OSError("later")])
def test_a_row_that_does_not_fit_ends_it_whatever_comes_next(next_one):
    gather = Gather("here", {"batch_size": 2})
    for n in (0, 1, "x"):
        gather.add(row(n), 0.0)
    gather.add(next_one, 0.0)
    assert gather.take()[0].rows.num_rows == 2
    with pytest.raises(DataError, match=r"here: field `n`: expected int64, got 'x' \(str\) at row 2"):
        gather.take()
    assert gather.take() is None
    assert gather.has_ended


def test_arrivals_are_done_with_the_item_they_went_into():
    gather = Gather("here", {"batch_size": 3})
    empty = pa.table({"n": pa.array([], pa.int64())})
    for thing in (row(0), row(1), Watermark(1), empty, row(2), pa.table({"n": range(4)}), END):
        gather.add(thing, 0.0)
    done = []
    while (next_one := gather.take()) is not None:
        done.append(next_one[1])
    # two rows; the watermark; the row with the empty table before it; two batches of one table
    assert done == [2, 3, 5, 6, 6]
    assert gather.n_arrived == 7


def test_only_the_columns_asked_for_are_taken_from_rows_and_tables():
    gather = Gather("here", {"columns": ["n"]})
    for thing in ({"n": 0, "x": object()}, pa.table({"n": [1], "x": [2]}), END):
        gather.add(thing, 0.0)
    assert taken(gather) == [[0], [1]]


def test_types_can_be_given():
    gather = Gather("here", {"types": {"n": pa.float64(), "m": pa.string()}})
    gather.add(row(1), 0.0)
    gather.tick(0.0)
    assert gather.take()[0].rows.schema == pa.schema([("n", pa.float64()), ("m", pa.string())])


@pytest.mark.parametrize(("options", "error"), [({"batch_size": 0}, DataError), ({"linger": 5}, DefinitionError)])
def test_wrong_options_are_errors(options, error):
    with pytest.raises(error):
        Gather("here", options)
