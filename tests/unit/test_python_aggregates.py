"""What the kernel wrote down is done to summaries: order per pane, results by number, snapshots, the user's code."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from fyke import DataError, Schema, StateError, agg, col
from fyke.aggplan import compile_aggregates
from fyke.batches import Encoder
from fyke.operators.python_aggregates import ADD, FIRE, FREE, MERGE, RESET, PythonAggregates

ROWS = pa.record_batch(
    {
        "t": pa.array(range(8), pa.timestamp("ns")),
        "n": pa.array([5, 1, None, 3, 1, 2, 9, 9], pa.int16()),
        "who": pa.array(["b", "a", "b", None, "c", "a", "a", "b"], pa.dictionary(pa.int8(), pa.string())),
        "tags": pa.array([["x"], [], None, ["y", "z"], [], ["x"], [], []], pa.list_(pa.string())),
        "at": pa.array([dt.datetime(2024, 1, 1)] * 4 + [dt.datetime(2025, 1, 1)] * 4, pa.timestamp("s")),
    }
)
SCHEMA = Schema.from_arrow(ROWS.schema)


class Total:
    """A user's aggregate with everything."""

    def __init__(self):
        self.seen = []

    def add(self, n, who):
        self.seen.append([n, who])

    def merge(self, other):
        self.seen += other.seen

    def result(self):
        return json.dumps(self.seen)

    def save(self):
        return self.seen

    def load(self, state):
        if not isinstance(state, list):
            raise TypeError("a list is needed")
        self.seen = state


class Harness:
    """One segment of ROWS, whose rows are added by hand."""

    def __init__(self, first=0, rows=ROWS, **aggregates):
        self.plan = compile_aggregates(SCHEMA, [], aggregates)
        self.kept = PythonAggregates(self.plan)
        encoder = Encoder(self.plan.rows.plan, "t", None, None)
        times = rows.column(0).cast(pa.int64()).to_numpy()
        self.segments = {7: encoder.with_times(rows, times, np.arange(first, first + len(rows), dtype=np.uint64))}

    def replay(self, *entries):
        made = []
        for op, pane, *rest in entries:
            if op == ADD:
                made += [(ADD, pane, 7, row) for row in rest]
            else:
                made.append((op, pane, rest[0] if rest else 0, 0))
        log = np.array(made, [("op", "u4"), ("pane", "u4"), ("a", "u4"), ("b", "u4")])
        return [column.to_pylist() for column in self.kept.replay(log, self.segments)]


EVERYTHING = {
    "middle": agg.median("n"),
    "high": agg.quantile("n", 0.75),
    "people": agg.distinct("who"),
    "top": agg.top_k("who", 1),
    "times": agg.top_k("at", 2),
    "all": agg.collect("tags"),
    "mine": agg.udf(Total, "n", "who", result="string"),
}


def test_each_aggregate_over_the_rows_of_its_pane():
    found = Harness(**EVERYTHING).replay((ADD, 4, 0, 1, 2, 3, 4), (FIRE, 4, 0))
    assert found == [
        [2.0],
        [3.5],
        [3],
        [[{"value": "b", "count": 2}]],
        [[{"value": dt.datetime(2024, 1, 1), "count": 4}, {"value": dt.datetime(2025, 1, 1), "count": 1}]],
        [[["x"], [], ["y", "z"], []]],
        ['[[5, "b"], [1, "a"], [null, "b"], [3, null], [1, "c"]]'],
    ]


def test_results_have_the_types_that_were_announced():
    harness = Harness(**EVERYTHING)
    log = np.array([(ADD, 0, 7, 2), (FIRE, 0, 0, 0)], [("op", "u4"), ("pane", "u4"), ("a", "u4"), ("b", "u4")])
    found = harness.kept.replay(log, harness.segments)
    assert [column.type for column in found] == [field.type for field in harness.plan.fields]


def test_over_no_values_there_is_no_result_but_a_count():
    assert Harness(**EVERYTHING).replay((FIRE, 1, 0))[:6] == [[None], [None], [0], [None], [None], [None]]
    assert Harness(x=agg.collect("n"), y=agg.top_k("n", 1)).replay((ADD, 1, 2), (FIRE, 1, 0)) == [[None], [None]]


def test_a_result_holds_the_rows_before_it_and_stands_at_its_number():
    found = Harness(x=agg.collect("n")).replay(
        (ADD, 1, 0), (ADD, 2, 1), (FIRE, 1, 1), (ADD, 1, 3), (ADD, 2, 4), (FIRE, 2, 0), (FIRE, 1, 2)
    )
    assert found == [[[1, 1], [5], [5, 3]]]


def test_a_merge_takes_the_rows_that_are_in_then_and_leaves_the_other_as_it_is():
    harness = Harness(x=agg.collect("n"), y=agg.udf(Total, "n", "who", result="string"))
    found = harness.replay(
        (ADD, 1, 3), (ADD, 2, 0, 1), (MERGE, 1, 2), (ADD, 2, 4), (ADD, 1, 5), (FIRE, 1, 0), (FIRE, 2, 1)
    )
    assert found[0] == [[5, 1, 3, 2], [5, 1, 1]]  # in order of arrival
    assert found[1][0] == '[[3, null], [5, "b"], [1, "a"], [2, "a"]]'


def test_a_pane_that_was_emptied_or_is_gone_begins_anew():
    found = Harness(x=agg.collect("n")).replay(
        (ADD, 1, 0), (RESET, 1), (ADD, 1, 1), (FIRE, 1, 0), (FREE, 1), (FIRE, 1, 1), (ADD, 1, 3), (FIRE, 1, 2)
    )
    assert found == [[[1], None, [3]]]


def test_panes_live_from_step_to_step():
    harness = Harness(x=agg.collect("n"), y=agg.median("n"))
    harness.replay((ADD, 1, 0, 1))
    harness.replay((ADD, 2, 4))
    assert harness.replay((ADD, 1, 3), (FIRE, 1, 0)) == [[[5, 1, 3]], [3.0]]
    harness.replay((FREE, 1), (FREE, 2))
    assert harness.kept.panes == {}


def test_what_two_aggregates_can_be_read_off_is_kept_once():
    harness = Harness(a=agg.median("n"), b=agg.quantile("n", 0.9), c=agg.top_k("n", 1), d=agg.top_k("n", 2))
    assert len(harness.kept.kept) == 2


def test_a_snapshot_goes_on_where_it_was_and_is_the_same_again():
    first = Harness(**EVERYTHING)
    first.replay((ADD, 3, 0, 1, 3), (ADD, 8, 2), (ADD, 5))
    state = first.kept.export([3, 8])
    second = Harness(**EVERYTHING)
    second.kept.restore(state, [0, 1])
    assert second.kept.export([0, 1]) == state
    # Pane 8 of the first is 1 in the second.
    goes_on = second.replay((ADD, 0, 4), (FIRE, 0, 0), (FIRE, 1, 1))
    assert goes_on == first.replay((ADD, 3, 4), (FIRE, 3, 0), (FIRE, 8, 1))


def test_a_snapshot_of_no_panes_is_empty():
    harness = Harness(**EVERYTHING)
    harness.kept.restore(harness.kept.export([]), [])
    assert harness.kept.panes == {}


def damaged(batch):
    """The batch in ways in which it cannot be."""
    yield None
    yield batch.rename_columns([f"not_{name}" for name in batch.schema.names])
    yield pa.RecordBatch.from_arrays([pa.array([9] * len(batch)), *batch.columns[1:]], names=batch.schema.names)
    nulls = [pa.nulls(len(batch), column.type) for column in batch.columns[1:]]
    yield pa.RecordBatch.from_arrays([batch.column(0), *nulls], names=batch.schema.names)


def test_damaged_snapshots_are_refused():
    harness = Harness(**EVERYTHING)
    harness.replay((ADD, 0, 0, 1, 3))
    state = harness.kept.export([0])
    for name in state:
        for other in damaged(state[name]):
            with pytest.raises(StateError, match=name):
                Harness(**EVERYTHING).kept.restore({**state, name: other}, [0])


class Bare:
    def add(self, n):
        if n is None:
            raise ValueError("no null, please")

    def merge(self, other):
        pass

    def result(self):
        return "a text"


def test_a_snapshot_needs_save_and_load():
    harness = Harness(x=agg.udf(Bare, "n"))
    harness.replay((ADD, 0, 0))
    with pytest.raises(StateError, match="has no save\\(\\) and load"):
        harness.kept.export([0])


def test_a_load_that_refuses_is_a_damaged_snapshot():
    harness = Harness(x=agg.udf(Total, "n", "who", result="string"))
    state = {"aggregate_0": pa.record_batch({"pane": [0], "state": ["5"]})}
    with pytest.raises(StateError, match="its load\\(\\) refused the state: a list is needed"):
        harness.kept.restore(state, [0])


def test_an_error_of_the_users_code_names_the_aggregate():
    with pytest.raises(ValueError, match="no null, please") as caught:
        Harness(x=agg.udf(Bare, "n")).replay((ADD, 0, 2))
    assert caught.value.__notes__ == ["in aggregate x: agg.udf('tests.unit.test_python_aggregates:Bare', col.n)"]


def test_a_result_of_another_type_is_an_error():
    with pytest.raises(DataError, match="aggregate x: .*a result is not float64"):
        Harness(x=agg.udf(Bare, "n")).replay((ADD, 0, 0), (FIRE, 0, 0))


def test_computed_arguments_are_taken_from_the_plans_columns():
    plan = compile_aggregates(SCHEMA, [], {"x": agg.collect(col.n * 2)})
    assert plan.columns[0].payload == (None,)
