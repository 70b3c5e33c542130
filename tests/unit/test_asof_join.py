"""The as-of join: the latest right row in event time, whatever the order of arrival and the size of batches."""

import random

import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke import DefinitionError, StateError, col
from fyke.join import AsOf
from fyke.operator import END
from fyke.operators.asof_join import AsOfJoin
from tests.unit.two_inputs import LEFT, RIGHT, Feed, Mark, Row, as_table, in_disorder, run, state_of

pytestmark = pytest.mark.core

LEFT_SCHEMA = pa.schema([("k", pa.string()), ("v", pa.int64())])
RIGHT_SCHEMA = pa.schema([("k", pa.string()), ("w", pa.int64())])
SCHEMAS = (LEFT_SCHEMA, RIGHT_SCHEMA)


def join(tolerance=None, how="left", **options):
    return AsOfJoin(AsOf(tolerance), (LEFT_SCHEMA, [col.k]), (RIGHT_SCHEMA, [col.k]), how, **options)


def left(time, key="a", v=0):
    return Row(LEFT, time, (key, v))


def right(time, key="a", w=0):
    return Row(RIGHT, time, (key, w))


def both(time):
    return [Mark(LEFT, time), Mark(RIGHT, time)]


def found(items, tolerance=None, how="left", **options):
    """(v, w) of the joined rows, all watermarks at the end."""
    ran = run(join(tolerance, how, **options), Feed(SCHEMAS, [*items, *both(END)]))
    return [row[1:] for _, _, row in ran.rows]


def test_a_left_row_comes_with_the_latest_right_row_not_after_it():
    items = [right(1, w=10), right(5, w=50), left(0, v=0), left(1, v=1), left(4, v=4), left(5, v=5), left(9, v=9)]
    assert found(items) == [(0, None), (1, 10), (4, 10), (5, 50), (9, 50)]
    assert found(items, how="inner") == [(1, 10), (4, 10), (5, 50), (9, 50)]


def test_a_right_row_of_the_same_time_counts_whichever_came_first():
    assert found([left(5, v=1), right(5, w=2)]) == [(1, 2)]
    assert found([right(5, w=2), left(5, v=1)]) == [(1, 2)]


def test_of_right_rows_at_one_time_the_last_to_arrive_counts():
    assert found([right(5, w=1), left(6), right(5, w=2)]) == [(0, 2)]


@pytest.mark.parametrize(("tolerance", "w"), [(3, None), (4, 1), (5, 1), (None, 1)])
def test_the_tolerance_is_inclusive(tolerance, w):
    assert found([right(1, w=1), left(5)], tolerance) == [(0, w)]


def test_any_time_is_more_than_292_years():
    assert found([right(-(2**62) - 2**61, w=1), left(2**62 + 2**61)]) == [(0, 1)]


def test_a_key_sees_only_its_own_right_rows():
    assert found([right(1, "a", 1), right(2, "ä", 2), left(3, "a", 7), left(3, "ä", 8), left(3, "b", 9)]) == [
        (7, 1),
        (8, 2),
        (9, None),
    ]


def test_rows_wait_for_the_watermark_of_both_sides():
    operator = join()
    feed = Feed(SCHEMAS, [right(1, w=1), left(5, v=5), Mark(LEFT, 9), Mark(RIGHT, 3), Mark(RIGHT, 5), right(4, w=4)])
    ran = run(operator, feed)
    assert ran.rows == [(4, 5, ("a", 5, 1))]
    assert ran.side == {"late_right": [("a", 4)]}
    assert ran.marks == [(3, 3), (4, 5)]


def test_a_row_released_by_a_jump_has_the_watermark_that_passed_it_first():
    ran = run(join(), Feed(SCHEMAS, [left(3, v=3), left(6, v=6), *both(4), *both(5), *both(7)]))
    assert [(origin, row[1]) for origin, _, row in ran.rows] == [(3, 3), (7, 6)]


def test_a_deletion_leaves_its_key_without_a_right_row():
    items = [right(1, w=1), right(5, w=-1), right(8, w=8), *(left(t, v=t) for t in (4, 5, 7, 8))]
    assert found(items, delete=col.w < 0) == [(4, 1), (5, None), (7, None), (8, 8)]


def test_old_right_rows_leave_nothing_behind():
    operator = join(10)
    feed = Feed(SCHEMAS, [*(right(i, str(i), i) for i in range(100)), *both(50), *both(109)])
    operator.step(feed.batches(0, 102))
    assert (operator.statistics()["keys"], operator.statistics()["rows_right"]) == (10, 59)
    operator.step(feed.batches(102, 104))
    assert (operator.statistics()["keys"], operator.statistics()["rows_right"]) == (0, 0)


def test_a_null_key_is_an_error():
    ran = run(join(), Feed(SCHEMAS, [left(1, None, 1), right(1, None, 2), *both(END)]))
    assert ran.rows == []
    assert ran.side == {
        "errors_left": [(None, 1, "a part of the key is null")],
        "errors_right": [(None, 2, "a part of the key is null")],
    }


def test_only_left_rows_can_come_alone():
    with pytest.raises(DefinitionError, match="one of inner, left"):
        join(how="outer")


rows = st.lists(
    st.one_of(
        st.builds(left, st.integers(-20, 40), st.sampled_from(["a", "b", None]), st.integers(0, 99)),
        st.builds(right, st.integers(-20, 40), st.sampled_from(["a", "b", None]), st.integers(-9, 99)),
        st.builds(Mark, st.integers(0, 1), st.integers(-25, 45)),
    ),
    max_size=60,
)
tolerances = st.one_of(st.none(), st.integers(0, 20))
options = st.sampled_from([{}, {"how": "inner"}, {"delete": col.w < 10}])


@given(rows, tolerances, options, st.lists(st.integers(0, 60), max_size=5))
def test_the_size_of_batches_changes_nothing(items, tolerance, options, cuts):
    items = [*items, *both(END)]
    whole, pieces = join(tolerance, **options), join(tolerance, **options)
    assert run(whole, Feed(SCHEMAS, items)) == run(pieces, Feed(SCHEMAS, items), cuts)
    assert state_of(whole) == state_of(pieces)


@given(rows, tolerances, options, st.integers(0, 60))
def test_a_restored_join_goes_on_as_if_nothing_had_happened(items, tolerance, options, at):
    items = [*items, *both(END)]
    at = min(at, len(items))
    feed = Feed(SCHEMAS, items)
    whole, other = join(tolerance, **options), join(tolerance, **options)
    whole.step(feed.batches(0, at))
    other.restore(whole.export())
    other.check()
    assert state_of(other) == state_of(whole)
    reached = list(feed.reached)
    rest = run(whole, feed, start=at, check=False)
    feed.reached = reached
    assert run(other, feed, start=at, check=False) == rest


@settings(max_examples=25)
@given(st.integers(0, 2**32), tolerances)
def test_all_rows_are_those_of_polars(seed, tolerance):
    random_ = random.Random(seed)
    rows = [random_.choice([left, right])(random_.randrange(200), random_.choice("abc"), i) for i in range(120)]
    ran = run(join(tolerance), Feed(SCHEMAS, in_disorder(rows)))
    tables = [polars.from_arrow(as_table(rows, side, SCHEMAS[side])) for side in (LEFT, RIGHT)]
    by_time = [table.sort("t", maintain_order=True) for table in tables]
    # Of right rows at one time the last counts.
    right_rows = by_time[1].unique(["k", "t"], keep="last", maintain_order=True)
    wanted = by_time[0].join_asof(right_rows, on="t", by="k", tolerance=tolerance, check_sortedness=False)
    assert [row for _, _, row in ran.rows] == wanted.select("k", "v", "w").rows()


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_the_order_of_arrival_changes_nothing_but_equal_times(seed):
    random_ = random.Random(seed)
    times = random_.sample(range(500), 80)
    rows = [random_.choice([left, right])(t, random_.choice("abc"), i) for i, t in enumerate(times)]
    other = list(rows)
    random_.shuffle(other)
    one, two = (run(join(50), Feed(SCHEMAS, in_disorder(order))) for order in (rows, other))
    assert [(time, row) for _, time, row in one.rows] == [(time, row) for _, time, row in two.rows]


def test_what_is_left_of_many_batches_is_put_together():
    items = []
    for i in range(400):
        items += [right(i, str(i), i), left(i, str(i % 5), i), *both(i - 100)]
    operator = join()
    ran = run(operator, Feed(SCHEMAS, items), cuts=range(0, 1600, 4))
    assert operator.sides.right.store.counters()["segments"] < 150
    assert ran.rows == run(join(), Feed(SCHEMAS, items)).rows


def damaged():
    operator = join(20)
    items = [right(1, "a", 1), right(2, "b", 2), left(30, v=3), *both(3), right(9, w=4)]
    operator.step(Feed(SCHEMAS, items).batches(0, 6))
    state = operator.export()
    rows = state["right.rows"]
    yield state | {"right.rows": rows.set_column(2, "flag", pa.array([1, 1, 1], pa.uint8()))}  # is above the watermark
    yield state | {"right.rows": rows.set_column(2, "flag", pa.array([0, 1, 0], pa.uint8()))}  # is below it
    yield state | {"right": state["right"].set_column(0, "k", pa.array(["a", "a", "a"]))}
    yield state | {"right": state["right"].set_column(0, "k", pa.array([None, "a", "a"]))}
    yield state | {"right": state["right"].set_column(0, "k", pa.array(["a", "b", None]))}
    yield state | {"left.rows": state["left.rows"].set_column(2, "flag", pa.array([1], pa.uint8()))}
    yield state | {"join": state["join"] | {"merge": {"watermarks": [30, 30]}}}
    yield state | {"join": state["join"] | {"merge": {"watermarks": [0, 0]}}}


@pytest.mark.parametrize("state", list(damaged()), ids=lambda state: "")
def test_damaged_state_is_refused(state):
    with pytest.raises(StateError):
        join(20).restore(state)


def test_describe_says_what_waits_for_what():
    assert join(5_000_000_000, delete=col.w < 0).describe() == (
        "as-of join (left) by col.k: the latest right row not after the left row, at most 5s before it\n"
        "  rows of both sides wait until the watermark of both sides passes them, and join in order of time\n"
        "  the last right row of a key is kept until the watermark reaches its time + 5s, or until the next one\n"
        "  a right row with col.w < 0 leaves its key without a right row"
    )
