"""Joins by window: pairs and groups of the rows of a window, and nothing of them hangs on the size of batches."""

import random

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke import DefinitionError, SchemaError, StateError, col, trigger, window
from fyke.operator import END
from fyke.operators.window_join import CoGroup, WindowJoin
from tests.unit.two_inputs import LEFT, RIGHT, Feed, Mark, Row, as_table, in_disorder, run, state_of

pytestmark = pytest.mark.core

LEFT_SCHEMA = pa.schema([("k", pa.string()), ("v", pa.int64())])
RIGHT_SCHEMA = pa.schema([("v", pa.int64()), ("k", pa.large_string()), ("w", pa.float64())])
SCHEMAS = (LEFT_SCHEMA, RIGHT_SCHEMA)
SIDES = ((LEFT_SCHEMA, [col.k]), (RIGHT_SCHEMA, [col.k]))
TUMBLING = window.Tumbling(10)


def left(time, key="a", v=0):
    return Row(LEFT, time, (key, v))


def right(time, key="a", v=0):
    return Row(RIGHT, time, (v, key, v / 2))


def both(time):
    return [Mark(LEFT, time), Mark(RIGHT, time)]


def joined(items, how="inner", kind=TUMBLING, **options):
    return run(WindowJoin(kind, *SIDES, how, **options), Feed(SCHEMAS, items))


def told(ran):
    """(key, start, end, revision, final, left v, right v), with times as numbers."""
    out = []
    for _, _, (key, start, end, revision, final, *rest) in ran.rows:
        bounds = [None if t is None else pa.scalar(t, pa.timestamp("ns", "UTC")).value for t in (start, end)]
        out.append((key, *bounds, revision, final, rest[0], rest[1]))
    return out


def pairs(ran):
    return [(row[5], row[6]) for row in told(ran)]


# --- pairs


def test_a_window_gives_all_pairs_of_its_key_when_the_watermark_of_both_sides_reaches_its_end():
    items = [left(1, v=1), left(2, v=2), right(3, v=3), right(4, v=4), right(5, "b", 5), Mark(LEFT, 9), Mark(RIGHT, 9)]
    ran = joined(items)
    assert pairs(ran) == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert {(origin, time) for origin, time, _ in ran.rows} == {(6, 9)}
    assert told(ran)[0] == ("a", 0, 10, 0, True, 1, 3)


def test_the_columns_are_key_window_left_and_right():
    assert WindowJoin(TUMBLING, *SIDES).schema == pa.schema(
        [
            ("k", pa.string()),
            ("window_start", pa.timestamp("ns", "UTC")),
            ("window_end", pa.timestamp("ns", "UTC")),
            ("revision", pa.int64()),
            ("final", pa.bool_()),
            ("v", pa.int64()),
            ("v_right", pa.int64()),
            ("w", pa.float64()),
        ]
    )


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("inner", [("c", 3, 4)]),
        ("left", [("a", 1, None), ("c", 3, 4)]),
        ("right", [("b", None, 2), ("c", 3, 4)]),
        ("outer", [("a", 1, None), ("b", None, 2), ("c", 3, 4)]),
    ],
)
def test_an_outer_row_comes_alone_from_a_window_without_rows_of_the_other_side(how, wanted):
    ran = joined([left(1, "a", 1), right(1, "b", 2), left(1, "c", 3), right(1, "c", 4), *both(9)], how)
    assert [(row[0], row[5], row[6]) for row in told(ran)] == wanted


def test_a_pair_comes_once_for_each_hopping_window_that_it_shares():
    ran = joined([left(7, v=1), right(8, v=2), *both(END)], kind=window.Hopping(10, 5))
    assert [(row[1], row[2]) for row in told(ran)] == [(0, 10), (5, 15)]


def test_a_session_is_over_both_sides():
    ran = joined([left(1, v=1), right(6, v=2), left(20, v=3), right(26, v=4), *both(END)], kind=window.Session(5))
    assert told(ran) == [("a", 1, 11, 0, True, 1, 2)]


def test_sessions_that_merge_keep_their_rows_in_order_of_arrival():
    items = [left(20, v=1), left(0, v=2), left(21, v=3), right(10, v=4), *both(END)]
    assert pairs(joined(items, kind=window.Session(10))) == [(1, 4), (2, 4), (3, 4)]


def test_late_firings_repeat_all_pairs_and_the_last_word_is_final():
    items = [left(1, v=1), right(3, v=3), *both(9), right(5, v=5), *both(14), left(3, v=9)]
    ran = joined(items, allowed_lateness="5ns")
    assert [(row[3], row[4], row[5], row[6]) for row in told(ran)] == [
        (0, False, 1, 3),
        (1, False, 1, 3),
        (1, False, 1, 5),
        (2, True, 1, 3),
        (2, True, 1, 5),
    ]
    assert ran.side == {"late_left": [("a", 9)]}


def test_with_purging_a_late_row_meets_only_what_came_with_it():
    items = [left(1, v=1), right(3, v=3), *both(9), right(5, v=5), left(6, v=6)]
    ran = joined(items, trigger=trigger.at_end(purge=True), allowed_lateness="5ns")
    assert pairs(ran) == [(1, 3)]


def test_a_global_window_joins_when_its_trigger_says():
    ran = joined([left(1, v=1), right(2, v=2), left(3, v=3)], kind=window.global_window(), trigger=trigger.count(2))
    assert told(ran) == [("a", None, None, 0, False, 1, 2)]


def test_rows_between_windows_and_rows_without_a_key_are_told_by_side():
    ran = joined([left(4, v=1), right(4, v=2), left(1, None, 3), *both(END)], kind=window.Hopping(3, 5))
    assert ran.side == {
        "no_window_left": [("a", 1)],
        "no_window_right": [(2, "a", 1.0)],
        "errors_left": [(None, 3, "a part of the key is null")],
    }


# --- keys and names


def test_a_computed_key_is_a_column_if_it_has_a_name():
    numbers = pa.schema([("n", pa.int32())])
    rows = [Row(LEFT, 1, (4,)), Row(RIGHT, 2, (7,)), Row(RIGHT, 2, (8,)), *both(END)]
    named = WindowJoin(TUMBLING, (numbers, {"rest": col.n % 3}), (numbers, [col.n % 3]))
    assert [row[0:1] + row[5:] for _, _, row in run(named, Feed((numbers, numbers), rows)).rows] == [(1, 4, 7)]
    assert named.schema.names == ["rest", "window_start", "window_end", "revision", "final", "n", "n_right"]
    unnamed = WindowJoin(TUMBLING, (numbers, [col.n % 3]), (numbers, [col.n % 3]))
    assert [row[4:] for _, _, row in run(unnamed, Feed((numbers, numbers), rows)).rows] == [(4, 7)]


def test_keys_of_two_columns_and_widths_meet():
    one = pa.schema([("n", pa.int32()), ("k", pa.dictionary(pa.int8(), pa.string()))])
    other = pa.schema([("k", pa.string()), ("m", pa.int64())])
    rows = [Row(LEFT, 1, (4, "é")), Row(RIGHT, 2, ("é", 4)), Row(RIGHT, 2, ("é", 5)), *both(END)]
    operator = WindowJoin(TUMBLING, (one, [col.n, col.k]), (other, [col.m, col.k]), "outer")
    found = [row[:2] for _, _, row in run(operator, Feed((one, other), rows)).rows]
    assert found == [(4, "é"), (5, "é")]
    assert operator.schema.names == ["n", "k", "window_start", "window_end", "revision", "final"]


def test_without_keys_all_rows_are_of_one_key():
    operator = WindowJoin(TUMBLING, (LEFT_SCHEMA, []), (RIGHT_SCHEMA, []))
    ran = run(operator, Feed(SCHEMAS, [left(1, "a", 1), right(2, "b", 2), *both(END)]))
    assert [row[4:] for _, _, row in ran.rows] == [("a", 1, 2, "b", 1.0)]


def test_names_that_are_taken_are_refused_or_get_the_suffix():
    clash = pa.schema([("k", pa.string()), ("revision", pa.int64())])
    with pytest.raises(SchemaError, match='"revision" of the left side'):
        WindowJoin(TUMBLING, (clash, [col.k]), SIDES[1])
    assert WindowJoin(TUMBLING, SIDES[0], (clash, [col.k])).schema.names[-1] == "revision_right"
    with pytest.raises(SchemaError, match='called "left"'):
        CoGroup(TUMBLING, (LEFT_SCHEMA, {"left": col.k}), SIDES[1])


@pytest.mark.parametrize("kind", [window.sliding("1m"), window.session(col.v)])
def test_windows_of_single_rows_cannot_join(kind):
    with pytest.raises(DefinitionError, match="cannot join"):
        WindowJoin(kind, *SIDES)


# --- cogroup


def test_a_cogroup_gives_both_groups_and_one_of_them_can_be_empty():
    items = [left(1, "a", 1), left(2, "a", 2), right(3, "a", 3), right(4, "b", 4), *both(9), *both(END)]
    ran = run(CoGroup(TUMBLING, *SIDES), Feed(SCHEMAS, items))
    assert [row[0:1] + row[3:] for _, _, row in ran.rows] == [
        ("a", 0, True, [{"k": "a", "v": 1}, {"k": "a", "v": 2}], [{"v": 3, "k": "a", "w": 1.5}]),
        ("b", 0, True, [], [{"v": 4, "k": "b", "w": 2.0}]),
    ]


def test_a_cogroup_fires_late_with_everything():
    items = [left(1, v=1), *both(9), right(2, v=2), *both(END)]
    ran = run(CoGroup(TUMBLING, *SIDES, allowed_lateness="5ns"), Feed(SCHEMAS, items))
    assert [(row[3], row[4], len(row[5]), len(row[6])) for _, _, row in ran.rows] == [
        (0, False, 1, 0),
        (1, False, 1, 1),
        (2, True, 1, 1),
    ]


# --- batches, restore, SQL

keys = st.sampled_from(["a", "b", "ü", None])
items = st.lists(
    st.one_of(
        st.builds(left, st.integers(-20, 40), keys, st.integers(0, 99)),
        st.builds(right, st.integers(-20, 40), keys, st.integers(0, 99)),
        st.builds(Mark, st.integers(0, 1), st.integers(-25, 45)),
    ),
    max_size=60,
)
kinds = st.sampled_from(
    [
        TUMBLING,
        window.Hopping(10, 4),
        window.Hopping(3, 5),
        window.Session(4),
        window.CountWindow(3),
        window.CountWindow(3, 2),
    ]
)
makers = st.sampled_from(
    [
        lambda kind, late: WindowJoin(kind, *SIDES, allowed_lateness=late),
        lambda kind, late: WindowJoin(kind, *SIDES, "outer", allowed_lateness=late),
        lambda kind, late: CoGroup(kind, *SIDES, allowed_lateness=late),
    ]
)
lateness = st.sampled_from([0, "6ns"])


@given(items, kinds, makers, lateness, st.lists(st.integers(0, 60), max_size=5))
def test_the_size_of_batches_changes_nothing(items, kind, make, late, cuts):
    items = [*items, *both(END)]
    whole, pieces = make(kind, late), make(kind, late)
    assert run(whole, Feed(SCHEMAS, items), check=False) == run(pieces, Feed(SCHEMAS, items), cuts, check=False)
    whole.check()
    pieces.check()
    assert state_of(whole) == state_of(pieces)


@given(items, kinds, makers, lateness, st.integers(0, 60))
def test_a_restored_join_goes_on_as_if_nothing_had_happened(items, kind, make, late, at):
    items = [*items, *both(END)]
    at = min(at, len(items))
    feed = Feed(SCHEMAS, items)
    whole, other = make(kind, late), make(kind, late)
    whole.step(feed.batches(0, at))
    other.restore(whole.export())
    other.check()
    assert state_of(other) == state_of(whole)
    reached = list(feed.reached)
    rest = run(whole, feed, start=at, check=False)
    feed.reached = reached
    assert run(other, feed, start=at, check=False) == rest


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from(["inner", "left", "right", "outer"]))
def test_all_pairs_are_those_of_sql(seed, how):
    random_ = random.Random(seed)
    rows = [random_.choice([left, right])(random_.randrange(60), random_.choice("abcde"), i) for i in range(100)]
    ran = joined(in_disorder(rows), how)
    tables = duckdb.connect()
    for side, name in ((LEFT, "l"), (RIGHT, "r")):
        tables.register(name, as_table(rows, side, SCHEMAS[side]))
    kind = {"outer": "full"}.get(how, how)
    wanted = tables.sql(
        f"select coalesce(l.k, r.k), coalesce(l.t // 10, r.t // 10) * 10, l.v, r.v from l {kind} join r "
        "on l.k = r.k and l.t // 10 = r.t // 10"
    ).fetchall()
    found = [(row[0], row[1], row[5], row[6]) for row in told(ran)]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


def test_nothing_stays_of_windows_that_are_gone():
    operator = WindowJoin(window.Hopping(10, 3), *SIDES)
    items = [row for i in range(300) for row in (left(i, str(i % 7), i), right(i, str(i % 5), i))]
    run(operator, Feed(SCHEMAS, items + both(END)), cuts=range(0, 600, 2))
    counts = operator.statistics()
    assert (counts["windows"], counts["rows_left"], counts["rows_right"]) == (0, 0, 0)


def test_what_is_left_of_many_batches_is_put_together():
    operator = WindowJoin(window.Tumbling(10_000), *SIDES)
    items = [row for i in range(300) for row in (left(i, str(i % 7), i), right(i, str(i % 5), i))]
    ran = run(operator, Feed(SCHEMAS, items + both(END)), cuts=range(0, 600, 2), check=False)
    assert operator.sides.left.store.counters()["compactions"] > 0
    assert ran.rows == joined(items + both(END), kind=window.Tumbling(10_000)).rows


def test_memory_that_runs_out_stops_the_join_for_good():
    operator = WindowJoin(TUMBLING, *SIDES)
    operator.core.fail_allocation_after(1)
    feed = Feed(SCHEMAS, [left(1), right(1)])
    with pytest.raises(MemoryError):
        operator.step(feed.batches(0, 2))
    with pytest.raises(Exception, match="has stopped"):
        operator.step(feed.batches(2, 2))


# --- damaged state


def damaged():
    operator = WindowJoin(window.Hopping(10, 5), *SIDES)
    operator.step(Feed(SCHEMAS, [left(7, v=1), right(8, v=2), left(9, v=3)]).batches(0, 3))
    state = operator.export()
    panes = state["panes"]

    def with_panes(name, values):
        at = panes.schema.get_field_index(name)
        return state | {"panes": panes.set_column(at, name, pa.array(values, panes.schema.field(name).type))}

    n = len(panes)
    yield with_panes("pane", [9] * n)
    yield with_panes("side", [2] * n)
    yield with_panes("row", [7] * n)
    yield with_panes("row", [0] * n)
    yield with_panes("row", [None] * n)
    yield state | {"panes": state["left"]}
    yield state | {"left.rows": state["left.rows"].set_column(2, "flag", pa.array([1, 0], pa.uint8()))}
    yield state | {"join": state["join"] | {"pairs": None}}
    yield {name: part for name, part in state.items() if name != "panes"}


@pytest.mark.parametrize("state", list(damaged()), ids=lambda state: "")
def test_damaged_state_is_refused(state):
    with pytest.raises(StateError):
        WindowJoin(window.Hopping(10, 5), *SIDES).restore(state)


def test_describe_says_what_waits_for_what():
    operator = WindowJoin(window.tumbling("1m"), *SIDES, "left", allowed_lateness="5s")
    assert operator.describe() == (
        "window join (left) by col.k in tumbling('1m')\n"
        "  a result comes when the watermark reaches the end of its window\n"
        "  a window is kept until the watermark reaches its end + 5s; "
        "a late row until then brings its result out again\n"
        "  rows of both sides are kept as long as a window of theirs; the watermark is that of both sides"
    )
    grouped = CoGroup(TUMBLING, *SIDES, trigger=trigger.count(2)).describe()
    assert grouped.startswith("cogroup by col.k in tumbling('10ns')\n  a result comes with every 2 rows of a window")
