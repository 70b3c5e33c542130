"""RowProgram: conditions and values of rows, over a whole batch, without any pattern."""

import numpy as np
import pyarrow as pa
import pytest

from fyke import FykeError, Schema, StateError, col
from fyke._core import RowProgram, Segment
from fyke.batches import Encoder, as_arrow
from fyke.rowplan import compile_rows

ROWS = pa.record_batch({"v": [1.5, None, -2.0, 4.0], "n": [1, 2, None, 4], "name": ["ab", "b", None, "abc"]})


def segment(plan, rows=ROWS):
    n = len(rows)
    return Encoder(plan.plan, "", None, None).with_times(rows, np.arange(n), np.arange(n, dtype=np.uint64))


def test_a_condition_is_a_bit_and_null_does_not_hold():
    conditions = [col.v > 1, col.name.starts_with("ab"), col.n.is_null()]
    plan = compile_rows(Schema.from_arrow(ROWS.schema), [], [], conditions)
    made = segment(plan)
    RowProgram(plan.plan.tables).run(made)
    assert [int(mask[0]) for mask in made.masks] == [0b011, 0, 0b100, 0b011]


def test_values_are_computed_into_columns_with_their_nulls():
    plan = compile_rows(Schema.from_arrow(ROWS.schema), [], [col.v * 2, col.n + 1, col.v > col.n])
    made = segment(plan)
    RowProgram(plan.plan.tables).run(made)
    found = [as_arrow(made.columns[c], len(made)).to_pylist() for c in plan.values]
    assert found == [[3.0, None, -4.0, 8.0], [2, 3, None, 5], [1, None, None, 0]]


def test_batches_longer_than_a_block_and_empty_ones():
    schema = Schema.of(n="int64")
    plan = compile_rows(schema, [], [col.n * 3], [col.n % 7 == 0])
    program = RowProgram(plan.plan.tables)
    for n in (0, 1, 511, 512, 513, 2000):
        made = segment(plan, pa.record_batch({"n": pa.array(np.arange(n))}))
        program.run(made)
        assert as_arrow(made.columns[plan.values[0]], n).to_pylist() == [3 * i for i in range(n)]
        assert made.masks[:n, 0].tolist() == [int(i % 7 == 0) for i in range(n)]


def test_a_damaged_plan_and_a_column_of_another_type_are_refused():
    plan = compile_rows(Schema.from_arrow(ROWS.schema), [], [col.v * 2])
    with pytest.raises(StateError, match="plan"):
        RowProgram(plan.plan.tables[:-1])
    made = segment(plan)
    other = Segment(made.times, made.positions, made.columns[::-1], made.source, 0)
    if len(made.columns) > 1:
        other.columns[0] = (*other.columns[0][:5], 3, 0)
    with pytest.raises(FykeError, match="type of the plan"):
        RowProgram(plan.plan.tables).run(other)
