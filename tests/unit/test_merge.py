"""Several inputs in one order: rows by (origin, input), the watermark that of the input that is behind."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.errors import StateError
from fyke.operator import END, START, Batch, Marks
from fyke.operators.merge import Merge


def batch(rows, marks=()):
    """rows: (origin, time) pairs; marks likewise."""
    origins = np.array([o for o, _ in rows], np.uint64)
    times = np.array([t for _, t in rows], np.int64)
    found = Marks(np.array([o for o, _ in marks], np.uint64), np.array([w for _, w in marks], np.int64))
    return Batch(pa.record_batch({"t": times}), times, origins, found)


def seen(merged):
    return list(zip(merged.origins.tolist(), merged.inputs.tolist(), merged.rows.tolist(), strict=True))


def marks_of(merged):
    return list(zip(merged.marks.origins.tolist(), merged.marks.times.tolist(), strict=True))


def test_rows_come_by_origin_and_then_by_input():
    merged = Merge(3).step([batch([(2, 0), (4, 0)]), batch([(1, 0), (2, 0), (2, 0)]), batch([(0, 0), (2, 0)])])
    assert seen(merged) == [(0, 2, 0), (1, 1, 0), (2, 0, 0), (2, 1, 1), (2, 1, 2), (2, 2, 1), (4, 0, 1)]
    assert merged.order.tolist() == [5, 2, 0, 3, 4, 6, 1]


def test_the_watermark_is_that_of_the_input_behind():
    merge = Merge(2)
    assert marks_of(merge.step([batch([], [(0, 10), (1, 20)]), batch([])])) == []
    assert merge.watermark == START
    assert marks_of(merge.step([batch([]), batch([], [(2, 5), (3, 15), (4, 99)])])) == [(2, 5), (3, 15), (4, 20)]
    assert marks_of(merge.step([batch([], [(6, END)]), batch([], [(6, 100)])])) == [(6, 100)]
    assert marks_of(merge.step([batch([]), batch([], [(7, END)])])) == [(7, END)]


def test_a_mark_that_both_inputs_bring_at_once_is_one():
    merged = Merge(2).step([batch([(0, 1)], [(0, 7)]), batch([(0, 2)], [(0, 9)])])
    assert marks_of(merged) == [(0, 7)]
    assert (merged.before, merged.after) == (START, 7)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(-5, 30))), max_size=40), st.data())
def test_the_size_of_batches_changes_nothing(items, data):
    """items: (input, mark or None for a row); cut anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=4)))

    def run(bounds):
        merge, rows, marks, at = Merge(3), [], [], 0
        highest = [START] * 3
        for to in [*bounds, len(items)]:
            parts, given_marks = [[], [], []], [[], [], []]
            for origin in range(at, to):
                which, mark = items[origin]
                if mark is None:
                    parts[which].append((origin, origin))
                elif mark > highest[which]:
                    highest[which] = mark
                    given_marks[which].append((origin, mark))
            merged = merge.step([batch(p, m) for p, m in zip(parts, given_marks, strict=True)])
            rows += [(o, i) for o, i, _ in seen(merged)]
            marks += marks_of(merged)
            at = to
        return rows, marks, merge.export()

    assert run(cuts) == run([])


@pytest.mark.parametrize("state", [None, {}, {"watermarks": [1]}, {"watermarks": [1, 2.5]}, {"watermarks": [1, 2**63]}])
def test_damaged_watermarks_are_refused(state):
    with pytest.raises(StateError, match="watermarks"):
        Merge(2).restore(state)


def test_restored_watermarks_go_on():
    merge = Merge(2)
    merge.step([batch([], [(0, 10)]), batch([], [(1, 3)])])
    other = Merge(2)
    other.restore(merge.export())
    assert marks_of(other.step([batch([]), batch([], [(2, 12)])])) == [(2, 10)]
