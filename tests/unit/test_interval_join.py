"""The interval join: pairs at once, rows alone at their deadline, and nothing of it hangs on the size of batches."""

import random

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke import DefinitionError, SchemaError, StateError, col
from fyke.join import Interval
from fyke.operator import END, Batch
from fyke.operators.interval_join import IntervalJoin
from tests.unit.two_inputs import LEFT, RIGHT, Feed, Mark, Row, as_table, in_disorder, run, state_of

pytestmark = pytest.mark.core

LEFT_SCHEMA = pa.schema([("k", pa.string()), ("v", pa.int64())])
RIGHT_SCHEMA = pa.schema([("v", pa.int64()), ("k", pa.large_string()), ("w", pa.float64())])
SCHEMAS = (LEFT_SCHEMA, RIGHT_SCHEMA)


def join(lower, upper, how="inner", **options):
    return IntervalJoin(Interval(lower, upper, **options), (LEFT_SCHEMA, [col.k]), (RIGHT_SCHEMA, [col.k]), how)


def left(time, key="a", v=0):
    return Row(LEFT, time, (key, v))


def right(time, key="a", v=0):
    return Row(RIGHT, time, (v, key, v / 2))


def both(time):
    return [Mark(LEFT, time), Mark(RIGHT, time)]


def pairs(found):
    """(left v, right v) of joined rows."""
    return [(row[1], row[2]) for _, _, row in found.rows]


def joined(lower, upper, items, how="inner", **options):
    return run(join(lower, upper, how, **options), Feed(SCHEMAS, items))


# --- pairs


def test_bounds_are_inclusive_unless_said_otherwise():
    items = [left(5, v=1), *(right(t, v=t) for t in (2, 3, 4, 6, 7, 8))]
    assert pairs(joined(-2, 2, items)) == [(1, 3), (1, 4), (1, 6), (1, 7)]
    assert pairs(joined(-2, 2, items, lower_inclusive=False, upper_inclusive=False)) == [(1, 4), (1, 6)]
    assert pairs(joined(0, 0, [left(5), right(5)], lower_inclusive=False, upper_inclusive=False)) == []


def test_a_pair_comes_with_its_second_row_at_the_later_time():
    found = joined(-5, 5, [left(5, v=1), right(3, v=2), left(1, v=3)])
    assert [(origin, time) for origin, time, _ in found.rows] == [(1, 5), (2, 3)]


def test_pairs_of_one_row_come_by_time_and_arrival_of_the_partners():
    items = [left(3, v=0), left(1, v=1), left(2, v=2), left(1, v=3), right(2, v=9)]
    assert pairs(joined(-5, 5, items)) == [(1, 9), (3, 9), (2, 9), (0, 9)]


def test_keys_are_compared_by_value():
    items = [left(1, "ä€", 1), left(1, "", 2), right(1, "", 3), right(1, "ä€", 4), right(1, "a", 5)]
    assert pairs(joined(0, 0, items)) == [(2, 3), (1, 4)]


def test_without_keys_all_rows_are_of_one_key():
    one = IntervalJoin(Interval(0, 1), (LEFT_SCHEMA, []), (RIGHT_SCHEMA, []))
    found = run(one, Feed(SCHEMAS, [left(1, "a", 1), right(2, "b", 2)]))
    assert [row for _, _, row in found.rows] == [("a", 1, 2, "b", 1.0)]


# --- late rows, and rows that leave


def test_a_row_at_the_watermark_is_late_and_joins_nothing():
    found = joined(-5, 5, [left(5, v=1), *both(5), right(5, v=2), right(6, v=3), left(5, v=4)])
    assert pairs(found) == [(1, 3)]
    assert found.side == {"late_right": [(2, "a", 1.0)], "late_left": [("a", 4)]}


def test_the_watermark_is_that_of_the_side_behind():
    found = joined(-5, 5, [left(5, v=1), Mark(LEFT, 50), right(5, v=2), Mark(RIGHT, 5), right(5, v=3)])
    assert pairs(found) == [(1, 2)]
    assert found.marks == [(3, 5)]


@pytest.mark.parametrize(("watermark", "found"), [(6, [(1, 7)]), (7, []), (8, [])])
def test_a_left_row_is_kept_until_the_watermark_reaches_its_last_partner(watermark, found):
    operator = join(-2, 2)
    assert pairs(run(operator, Feed(SCHEMAS, [left(5, v=1), *both(watermark), right(7, v=7)]))) == found
    assert operator.statistics()["rows_left"] == (watermark < 7)


def test_two_rows_that_are_not_late_are_never_lost():
    """A right row that the watermark has not reached finds a left row whose interval lies wholly in its past."""
    assert pairs(joined(-4, -2, [right(1, v=1), *both(0), left(5, v=2)])) == [(2, 1)]
    assert pairs(joined(-4, -2, [left(5, v=2), *both(0), right(1, v=1)])) == [(2, 1)]


def test_quiet_keys_leave_nothing_behind():
    operator = join(-2, 2, "outer")
    run(
        operator, Feed(SCHEMAS, [item for k in range(300) for item in (left(k, str(k)), right(k, str(-k)))] + both(END))
    )
    counts = operator.statistics()
    assert (counts["keys"], counts["rows_left"], counts["rows_right"]) == (0, 0, 0)
    assert counts["pairs"] == 1
    assert counts["alone"] == 598


# --- rows that come alone


def test_an_outer_row_comes_alone_when_its_deadline_is_reached():
    items = [left(5, "a", 1), right(5, "b", 2), left(6, "b", 3), *both(7), *both(END)]
    found = joined(-1, 2, items, "outer")
    assert found.rows == [
        (2, 6, ("b", 3, 2, 1.0)),
        (4, 7, ("a", 1, None, None)),
    ]
    assert joined(-1, 2, items, "right").rows == [(2, 6, ("b", 3, 2, 1.0))]


def test_a_right_row_alone_has_the_key_in_the_left_column():
    found = joined(0, 0, [right(5, "ö", 2), *both(9)], "right")
    assert found.rows == [(2, 5, ("ö", None, 2, 1.0))]


def test_a_row_that_no_partner_can_follow_comes_alone_at_once():
    found = joined(-9, -3, [*both(10), left(12, v=1)], "left")
    assert found.rows == [(2, 12, ("a", 1, None, None))]


def test_rows_alone_come_by_deadline_and_arrival():
    items = [left(8, "b", 1), right(7, "c", 2), left(6, "a", 3), right(7, "a", 4), *both(20)]
    found = joined(-1, 0, items, "outer")
    assert [(time, row[0]) for _, time, row in found.rows] == [
        (6, "a"),
        (8, "b"),
        (8, "c"),
        (8, "a"),
    ]


# --- columns and types


def test_right_columns_follow_the_left_ones_and_the_key_is_there_once():
    assert join(0, 0).schema == pa.schema(
        [("k", pa.string()), ("v", pa.int64()), ("v_right", pa.int64()), ("w", pa.float64())]
    )


def test_keys_of_other_names_are_there_once_under_the_left_name():
    other = pa.schema([("user", pa.string()), ("x", pa.int64())])
    assert IntervalJoin(Interval(0, 0), (LEFT_SCHEMA, [col.k]), (other, [col.user])).schema.names == ["k", "v", "x"]


def test_computed_keys_are_no_columns():
    numbers = pa.schema([("n", pa.int64())])
    both_numbers = IntervalJoin(Interval(0, 0), (numbers, [col.n % 3]), (numbers, [col.n % 3]))
    found = run(both_numbers, Feed((numbers, numbers), [Row(LEFT, 1, (4,)), Row(RIGHT, 1, (7,)), Row(RIGHT, 1, (8,))]))
    assert [row for _, _, row in found.rows] == [(4, 7)]
    assert both_numbers.schema.names == ["n", "n_right"]


def test_a_suffix_that_makes_another_name_twice_is_refused():
    clash = pa.schema([("k", pa.string()), ("v", pa.int64()), ("v_right", pa.int64())])
    with pytest.raises(SchemaError, match='"v_right" is there already'):
        IntervalJoin(Interval(0, 0), (LEFT_SCHEMA, [col.k]), (clash, [col.k]))


def test_keys_of_other_types_or_number_are_refused():
    numbers = pa.schema([("k", pa.int64())])
    with pytest.raises(SchemaError, match="left side is string, col.k of the right side is int64"):
        IntervalJoin(Interval(0, 0), (LEFT_SCHEMA, [col.k]), (numbers, [col.k]))
    with pytest.raises(DefinitionError, match="as many parts"):
        IntervalJoin(Interval(0, 0), (LEFT_SCHEMA, [col.k]), (numbers, []))


def test_a_null_key_is_an_error_and_joins_nothing():
    operator = join(0, 9, "outer")
    found = run(operator, Feed(SCHEMAS, [left(5, None, 1), right(5, None, 2), *both(END)]))
    assert found.rows == []
    assert found.side["errors_left"] == [(None, 1, "a part of the key is null")]
    assert operator.statistics()["null_keys"] == 2


# --- batches, restore, other engines


keys = st.sampled_from(["a", "b", "ü", None])
items = st.lists(
    st.one_of(
        st.builds(left, st.integers(-20, 40), keys, st.integers(0, 99)),
        st.builds(right, st.integers(-20, 40), keys, st.integers(0, 99)),
        st.builds(Mark, st.integers(0, 1), st.integers(-25, 45)),
    ),
    max_size=60,
)
hows = st.sampled_from(["inner", "left", "right", "outer"])
bounds = st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(lambda b: (b[0], b[0] + b[1]))


@given(items, bounds, hows, st.lists(st.integers(0, 60), max_size=5))
def test_the_size_of_batches_changes_nothing(items, bounds, how, cuts):
    items = [*items, *both(END)]
    whole, pieces = join(*bounds, how), join(*bounds, how)
    assert run(whole, Feed(SCHEMAS, items)) == run(pieces, Feed(SCHEMAS, items), cuts)
    assert state_of(whole) == state_of(pieces)


@given(items, bounds, hows, st.integers(0, 60))
def test_a_restored_join_goes_on_as_if_nothing_had_happened(items, bounds, how, at):
    items = [*items, *both(END)]
    at = min(at, len(items))
    feed = Feed(SCHEMAS, items)
    whole = join(*bounds, how)
    whole.step(feed.batches(0, at))
    state = whole.export()
    other = join(*bounds, how)
    other.restore(state)
    other.check()
    assert state_of(other) == state_of(whole)
    reached = list(feed.reached)
    rest = run(whole, feed, start=at, check=False)
    feed.reached = reached
    assert run(other, feed, start=at, check=False) == rest


@settings(max_examples=25)
@given(st.integers(0, 2**32), bounds, hows)
def test_all_pairs_are_those_of_sql(seed, bounds, how):
    """In disorder, and with a watermark that no row is behind; DuckDB joins the whole tables."""
    random_ = random.Random(seed)
    rows = [random_.choice([left, right])(random_.randrange(60), random_.choice("abcde"), i) for i in range(120)]
    found = run(join(*bounds, how), Feed(SCHEMAS, in_disorder(rows)))
    tables = duckdb.connect()
    for side, name in ((LEFT, "l"), (RIGHT, "r")):
        tables.register(name, as_table(rows, side, SCHEMAS[side]))
    kind = {"outer": "full"}.get(how, how)
    wanted = tables.sql(
        f"select coalesce(l.k, r.k), l.v, r.v, r.w from l {kind} join r "
        f"on l.k = r.k and r.t - l.t between {bounds[0]} and {bounds[1]}"
    ).fetchall()
    assert sorted(map(repr, (row for _, _, row in found.rows))) == sorted(map(repr, wanted))


def test_what_is_left_of_many_batches_is_put_together():
    operator = join(0, 1000)
    feed = Feed(SCHEMAS, [item for i in range(400) for item in (left(i, str(i % 7), i), right(i, str(i % 5), i))])
    found = run(operator, feed, cuts=range(0, 800, 2))
    stores = operator.sides.left.store.counters(), operator.sides.right.store.counters()
    assert all(store["segments"] < 150 and store["compactions"] > 0 for store in stores)
    assert found.rows == run(join(0, 1000), Feed(SCHEMAS, feed.items)).rows


def test_memory_that_runs_out_stops_the_join_for_good():
    operator = join(0, 9)
    operator.core.fail_allocation_after(1)
    feed = Feed(SCHEMAS, [left(1), right(1)])
    with pytest.raises(MemoryError):
        operator.step(feed.batches(0, 2))
    with pytest.raises(Exception, match="has stopped: out of memory"):
        operator.step(feed.batches(2, 2))


# --- damaged state


def damaged():
    operator = join(0, 9, "outer")
    operator.step(Feed(SCHEMAS, [left(1, v=1), right(2, v=2), left(3, v=3), *both(0)]).batches(0, 5))
    state = operator.export()
    rows = state["left.rows"]
    yield {name: part for name, part in state.items() if name != "right"}
    yield state | {"join": state["join"] | {"arrived": 1}}
    yield state | {"join": state["join"] | {"pairs": -1}}
    yield state | {"join": state["join"] | {"merge": None}}
    yield state | {"join": None}
    yield state | {"left": state["left"].slice(1)}
    yield state | {"left": state["right"]}
    yield state | {"left.rows": rows.slice(0, 1)}
    yield state | {"left.rows": rows.take([1, 0])}
    yield state | {"left.rows": rows.set_column(2, "flag", pa.array([7, 0], pa.uint8()))}
    yield state | {"left.rows": rows.set_column(1, "time", pa.array([-99, 0], pa.int64()))}
    yield state | {"left.rows": rows.set_column(1, "time", pa.array([None, 0], pa.int64()))}
    yield state | {"left.rows": rows.set_column(0, "number", pa.array([0, 1], pa.uint64()))}
    yield state | {"left": state["left"].set_column(0, "k", pa.array([None, "a"]))}


@pytest.mark.parametrize("state", list(damaged()), ids=lambda state: "")
def test_damaged_state_is_refused(state):
    with pytest.raises(StateError):
        join(0, 9, "outer").restore(state)


def test_describe_says_what_waits_for_what():
    assert join(-300_000_000_000, 0, "left").describe() == (
        "interval join (left) by col.k: right time - left time from -5m to 0s\n"
        "  a pair comes when the second of its rows arrives, at the later time of the two\n"
        "  a left row is kept until the watermark of both sides reaches its time + 0s\n"
        "  a right row is kept until the watermark of both sides reaches its time + 5m\n"
        "  a left row that has found no partner comes then, alone"
    )


def test_empty_batches_give_nothing():
    out = join(0, 0).step([Batch.empty(schema) for schema in SCHEMAS])
    assert (len(out.results), out.side) == (0, {})
    assert out.results.times.dtype == np.int64
