"""Tables: logs compacted by key, joins of tables, streams enriched by them; against plain dicts."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke import DataError, DefinitionError, SchemaError, StateError, col
from fyke.operator import END
from fyke.operators.changes import with_change
from fyke.operators.enrichment import Enrichment, versioned
from fyke.operators.table import CompactedTable, TableJoin
from tests.unit.two_inputs import LEFT, LOG, RIGHT, Feed, Mark, OneInput, Row, changes, log, run, state_of, values

pytestmark = pytest.mark.core

LEFT_CHANGES = with_change(LOG)
RIGHT_CHANGES = with_change(pa.schema([("k", pa.string()), ("w", pa.int64())]))
TABLES = (LEFT_CHANGES, RIGHT_CHANGES)


def table(**options):
    return CompactedTable((LOG, [col.k]), **options)


# --- one log


def test_a_table_has_the_latest_row_of_each_key_by_arrival():
    one = table()
    ran = log(one, [("a", 1), ("b", 2), ("a", 3)])
    assert changes(ran) == [("+I", "a", 1), ("+I", "b", 2), ("+U", "a", 3)]
    assert [(origin, time) for origin, time, _ in ran.rows] == [(0, 0), (1, 1), (2, 2)]
    assert list(one.items()) == [{"k": "b", "v": 2}, {"k": "a", "v": 3}]
    assert one.get("a") == {"k": "a", "v": 3}
    assert one.get("c") is None
    assert len(one) == 2


def test_a_deletion_says_the_row_that_goes():
    one = table(delete=col.v.is_null())
    assert changes(log(one, [("a", 1), ("a", None), ("a", None), ("b", None), ("a", 2)])) == [
        ("+I", "a", 1),
        ("-D", "a", 1),
        ("+I", "a", 2),
    ]
    assert one.statistics()["deletes"] == 3
    assert one.statistics()["useless_deletes"] == 2


def test_a_retracting_table_says_replaced_rows_once_more():
    assert changes(log(table(retract=True), [("a", 1), ("a", 2)])) == [("+I", "a", 1), ("-U", "a", 1), ("+U", "a", 2)]


def test_a_row_without_a_key_is_an_error():
    one = table()
    ran = log(one, [(None, 1)])
    assert ran.rows == []
    assert ran.side == {"errors": [(None, 1, "a part of the key is null")]}


def test_watermarks_pass_and_no_row_is_late():
    feed = Feed((LOG, LOG), [Mark(LEFT, 9), Row(LEFT, 5, ("a", 1))])
    ran = run(OneInput(table()), feed, check=False)
    assert (changes(ran), ran.marks, ran.side) == ([("+I", "a", 1)], [(0, 9)], {})


def test_a_key_is_asked_for_by_its_parts():
    two = CompactedTable((pa.schema([("n", pa.int32()), ("k", pa.string())]), [col.n % 2, col.k]))
    feed = Feed((pa.schema([("n", pa.int32()), ("k", pa.string())]),) * 2, [Row(LEFT, 1, (5, "é"))])
    run(OneInput(two), feed, check=False)
    assert two.get(1, "é") == {"n": 5, "k": "é"}
    assert two.get(0, "é") is None
    assert two.get(1, None) is None
    with pytest.raises(DataError, match="2 parts"):
        two.get(1)
    with pytest.raises(DataError, match="is no int64"):
        two.get("x", "é")
    two.check()


def test_a_table_without_a_key_has_one_row():
    one = CompactedTable((LOG, []))
    assert changes(log(one, [("a", 1), ("b", 2)])) == [("+I", "a", 1), ("+U", "b", 2)]
    assert one.get() == {"k": "b", "v": 2}


def test_a_column_named_change_is_refused():
    with pytest.raises(SchemaError, match='"change" of its own'):
        CompactedTable((LEFT_CHANGES, [col.k]))


rows = st.lists(st.tuples(st.sampled_from(["a", "b", "ü", None]), st.one_of(st.none(), st.integers(0, 9))), max_size=40)


@given(rows, st.lists(st.integers(0, 40), max_size=4))
def test_a_table_is_a_dict(rows, cuts):
    one = table(delete=col.v.is_null(), retract=True)
    ran = log(one, rows, cuts)
    model, wanted = {}, []
    for k, v in rows:
        if k is None or (v is None and k not in model):
            continue
        old = model.pop(k, None)
        if v is None:
            wanted.append(("-D", k, old))
            continue
        model[k] = v
        wanted += [("+I", k, v)] if old is None else [("-U", k, old), ("+U", k, v)]
    assert changes(ran) == wanted
    assert values(one.to_arrow()) == list(model.items())
    one.check()
    other = table(delete=col.v.is_null(), retract=True)
    other.restore(one.export())
    assert state_of(other) == state_of(one)
    assert values(other.to_arrow()) == list(model.items())


def test_a_big_table_of_small_batches_is_put_together():
    one = table()
    log(one, [(str(i % 300), i) for i in range(2000)], cuts=range(0, 2000, 3))
    assert one.sides.left.store.counters()["segments"] < 150
    assert values(one.to_arrow()) == [(str(i % 300), i) for i in range(1700, 2000)]
    one.check()


# --- two tables


def change(side, kind, key, value):
    return Row(side, 0, (kind, key, value))


def joined(how, items, cuts=()):
    operator = TableJoin((LEFT_CHANGES, [col.k]), (RIGHT_CHANGES, [col.k]), how)
    return operator, run(operator, Feed(TABLES, items), cuts, check=False)


STORY = [
    change(LEFT, "+I", "a", 1),
    change(RIGHT, "+I", "a", 10),
    change(LEFT, "-U", "a", 1),
    change(LEFT, "+U", "a", 2),
    change(RIGHT, "-D", "a", 10),
    change(LEFT, "-D", "a", 2),
    change(RIGHT, "+I", "b", 20),
]


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("inner", [("+I", "a", 1, 10), ("-U", "a", 1, 10), ("+U", "a", 2, 10), ("-D", "a", 2, 10)]),
        (
            "left",
            [
                ("+I", "a", 1, None),
                ("-U", "a", 1, None),
                ("+U", "a", 1, 10),
                ("-U", "a", 1, 10),
                ("+U", "a", 2, 10),
                ("-U", "a", 2, 10),
                ("+U", "a", 2, None),
                ("-D", "a", 2, None),
            ],
        ),
        (
            "right",
            [
                ("+I", "a", 1, 10),
                ("-U", "a", 1, 10),
                ("+U", "a", 2, 10),
                ("-D", "a", 2, 10),
                ("+I", "b", None, 20),
            ],
        ),
    ],
)
def test_a_join_of_tables_says_what_comes_and_goes(how, wanted):
    operator, ran = joined(how, STORY)
    assert changes(ran) == wanted
    assert operator.schema.names == ["change", "k", "v", "w"]


def test_a_joined_table_can_be_read():
    operator, _ = joined("outer", STORY[:4] + STORY[6:])
    assert list(operator.items()) == [{"k": "a", "v": 2, "w": 10}, {"k": "b", "v": None, "w": 20}]
    assert operator.get("b") == {"k": "b", "v": None, "w": 20}
    inner, _ = joined("inner", STORY[:4] + STORY[6:])
    assert inner.get("b") is None
    assert len(inner) == 1


table_changes = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 9))), max_size=40
).map(lambda given: [change(side, "-D" if v is None else "+U", k, v) for side, k, v in given])


@given(table_changes, st.sampled_from(["inner", "left", "right", "outer"]), st.lists(st.integers(0, 40), max_size=4))
def test_the_changes_of_a_joined_table_add_up_to_it(items, how, cuts):
    operator, ran = joined(how, items, cuts)
    whole, all_at_once = joined(how, items)
    assert ran == all_at_once
    assert state_of(operator) == state_of(whole)
    sides = ({}, {})
    for item in items:
        kind, key, value = item.values
        if kind == "-D":
            sides[item.side].pop(key, None)
        else:
            sides[item.side][key] = value
    wanted = {
        (key, sides[0].get(key), sides[1].get(key))
        for key in sides[0].keys() | sides[1].keys()
        if (key in sides[0] or how in ("right", "outer")) and (key in sides[1] or how in ("left", "outer"))
    }
    there = set()
    for kind, *row in changes(ran):
        if kind in ("-U", "-D"):
            there.remove(tuple(row))
        else:
            assert tuple(row) not in there
            there.add(tuple(row))
    assert there == wanted == set(values(operator.to_arrow()))
    operator.check()
    other = TableJoin((LEFT_CHANGES, [col.k]), (RIGHT_CHANGES, [col.k]), how)
    other.restore(operator.export())
    assert state_of(other) == state_of(operator)


def test_only_tables_join_as_tables():
    with pytest.raises(SchemaError, match="left side is no table"):
        TableJoin((LOG, [col.k]), (RIGHT_CHANGES, [col.k]))
    with pytest.raises(SchemaError, match="right side is no table"):
        Enrichment((LOG, [col.k]), (LOG, [col.k]))
    with pytest.raises(DefinitionError, match="one of inner, left"):
        Enrichment((LOG, [col.k]), (RIGHT_CHANGES, [col.k]), "outer")


# --- enrichment

ENRICHED = (LOG, RIGHT_CHANGES)


def stream(time, key, value):
    return Row(LEFT, time, (key, value))


def version(time, kind, key, value):
    return Row(RIGHT, time, (kind, key, value))


TIMELINE = [
    stream(1, "a", 1),
    version(5, "+I", "a", 50),
    stream(2, "a", 2),
    version(7, "-U", "a", 50),
    version(7, "+U", "a", 70),
    stream(6, "a", 3),
    stream(7, "a", 4),
    version(9, "-D", "a", 70),
    stream(9, "a", 5),
    stream(8, "b", 6),
]


def test_a_row_comes_at_once_with_what_the_table_says_now():
    operator = Enrichment((LOG, [col.k]), (RIGHT_CHANGES, [col.k]))
    ran = run(operator, Feed(ENRICHED, TIMELINE))
    assert ran.rows == [
        (0, 1, ("a", 1, None)),
        (2, 2, ("a", 2, 50)),
        (5, 6, ("a", 3, 70)),
        (6, 7, ("a", 4, 70)),
        (8, 9, ("a", 5, None)),
        (9, 8, ("b", 6, None)),
    ]
    inner = Enrichment((LOG, [col.k]), (RIGHT_CHANGES, [col.k]), "inner")
    assert [row[1] for row in changes(run(inner, Feed(ENRICHED, TIMELINE)))] == [2, 3, 4]


def test_a_versioned_row_comes_with_what_the_table_said_at_its_time():
    operator = versioned((LOG, [col.k]), (RIGHT_CHANGES, [col.k]))
    ran = run(operator, Feed(ENRICHED, [*TIMELINE, Mark(LEFT, 20), Mark(RIGHT, END)]))
    assert changes(ran) == [
        ("a", 1, None),
        ("a", 2, None),
        ("a", 3, 50),
        ("a", 4, 70),
        ("b", 6, None),
        ("a", 5, None),
    ]
    assert operator.schema.names == ["k", "v", "w"]


@given(st.permutations(TIMELINE[:2] + TIMELINE[5:]))
def test_a_versioned_row_does_not_hang_on_the_order_of_arrival(items):
    operator = versioned((LOG, [col.k]), (RIGHT_CHANGES, [col.k]))
    ran = run(operator, Feed(ENRICHED, [*items, Mark(LEFT, END), Mark(RIGHT, END)]))
    assert changes(ran) == [("a", 1, None), ("a", 3, 50), ("a", 4, 50), ("b", 6, None), ("a", 5, None)]


@given(st.lists(st.sampled_from(TIMELINE), max_size=30), st.lists(st.integers(0, 30), max_size=4), st.integers(0, 30))
def test_neither_batches_nor_a_restore_change_an_enrichment(items, cuts, at):
    def make():
        return Enrichment((LOG, [col.k]), (RIGHT_CHANGES, [col.k]))

    at = min(at, len(items))
    whole, pieces, again = make(), make(), make()
    ran = run(whole, Feed(ENRICHED, items))
    assert run(pieces, Feed(ENRICHED, items), cuts) == ran
    assert state_of(pieces) == state_of(whole)
    first, feed = make(), Feed(ENRICHED, items)
    first.step(feed.batches(0, at))
    again.restore(first.export())
    again.check()
    assert run(again, feed, start=at, check=False).rows == [row for row in ran.rows if row[0] >= at]


# --- damaged state


def damaged():
    operator, _ = joined("outer", [change(LEFT, "+I", "a", 1), change(LEFT, "+I", "b", 2), change(RIGHT, "+I", "a", 3)])
    state = operator.export()
    yield state | {"left": state["left"].set_column(1, "k", pa.array(["a", "a"]))}
    yield state | {"left": state["left"].set_column(1, "k", pa.array(["a", None]))}
    yield state | {"left.rows": state["left.rows"].set_column(2, "flag", pa.array([1, 0], pa.uint8()))}
    yield state | {"join": {name: value for name, value in state["join"].items() if name != "deletes"}}
    yield {}


@pytest.mark.parametrize("state", list(damaged()), ids=lambda state: "")
def test_damaged_state_is_refused(state):
    with pytest.raises(StateError):
        TableJoin((LEFT_CHANGES, [col.k]), (RIGHT_CHANGES, [col.k]), "outer").restore(state)


def test_describe_says_what_waits_for_what():
    assert table(delete=col.v.is_null()).describe() == (
        "table by col.k: the latest row of each key, by arrival; col.v.is_null() deletes\n"
        "  nothing waits; a row is kept until the next of its key"
    )
    assert joined("left", [])[0].describe().startswith("table join (left) by col.k\n  nothing waits")
    assert "when the row arrives" in Enrichment((LOG, [col.k]), (RIGHT_CHANGES, [col.k])).describe()
