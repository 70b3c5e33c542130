"""The contract of operators: which watermark a row is judged under, and which one sets a deadline free."""

import numpy as np
import pyarrow as pa

from fyke.operator import START, Batch, Marks

MARKS = Marks(np.array([3, 5, 6], np.uint64), np.array([10, 20, 25], np.int64))


def test_a_row_is_judged_under_the_marks_of_lower_origin():
    origins = np.array([0, 3, 4, 5, 5, 6, 9], np.uint64)
    assert MARKS.under(origins, before=START).tolist() == [START, START, 10, 10, 10, 20, 25]
    assert Marks.none().under(origins, before=7).tolist() == [7] * 7


def test_a_deadline_is_released_by_the_first_mark_that_reaches_it():
    assert MARKS.releasing(np.array([-5, 10, 11, 20, 25], np.int64)).tolist() == [3, 3, 5, 5, 6]


def test_taking_rows_keeps_every_watermark():
    batch = Batch(pa.record_batch({"v": [1, 2, 3]}), np.arange(3), np.arange(3, dtype=np.uint64), MARKS)
    some = batch.take(np.array([0, 2]))
    assert (some.rows.to_pydict(), some.times.tolist(), some.origins.tolist()) == ({"v": [1, 3]}, [0, 2], [0, 2])
    assert some.marks is MARKS
    assert len(Batch.empty(batch.rows.schema, MARKS)) == 0
