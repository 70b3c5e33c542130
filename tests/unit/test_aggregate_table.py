"""Continuous aggregates: a change for every row, a table that can be read; against plain dicts."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke import DataError, DefinitionError, SchemaError, agg, col
from fyke.operator import END
from fyke.operators.aggregate_table import AggregateTable
from fyke.operators.changes import with_change
from fyke.operators.enrichment import Enrichment
from fyke.operators.table import TableJoin
from tests.unit.two_inputs import LEFT, LOG, Feed, Mark, OneInput, Row, changes, log, run, state_of, values

pytestmark = pytest.mark.core

AGGREGATES = {"total": agg.sum("v"), "n": agg.count(), "last": agg.last("v")}


def table(aggregates=AGGREGATES, keys=(col.k,)):
    return AggregateTable(aggregates, LOG, keys)


def test_every_row_says_what_its_key_comes_to():
    one = table()
    ran = log(one, [("a", 1), ("b", 2), ("a", 3), ("a", None)])
    assert changes(ran) == [
        ("+I", "a", 1, 1, 1, 0),
        ("+I", "b", 2, 1, 2, 0),
        ("+U", "a", 4, 2, 3, 1),
        ("+U", "a", 4, 3, 3, 2),
    ]
    assert [(origin, time) for origin, time, _ in ran.rows] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert one.schema.names == ["change", "k", "total", "n", "last", "revision"]


def test_a_table_can_be_read_by_key():
    one = table({"n": agg.count(), "longest": agg.max("k"), "middle": agg.median("v")})
    log(one, [("b", 2), ("a", 1), ("a", 3)])
    assert one.get("a") == {"k": "a", "n": 2, "longest": "a", "middle": 2.0, "revision": 1}
    assert one.get("c") is None
    assert one.get(None) is None
    assert [row["k"] for row in one.items()] == ["a", "b"]
    assert len(one) == 2
    with pytest.raises(DataError, match="1 parts"):
        one.get()
    one.check()


def test_reading_changes_nothing():
    one, other = table(), table()
    rows = [("a", 2**62), ("a", 2**62), ("b", 1)]
    log(one, rows)
    log(other, rows)
    one.get("a")
    one.to_arrow()
    assert state_of(one) == state_of(other)
    assert one.statistics() == other.statistics()
    assert one.statistics()["overflows"] == 1
    feed = Feed((LOG, LOG), [Row(LEFT, 9, ("a", 1))])
    assert changes(run(OneInput(one), feed)) == [("+U", "a", None, 3, 1, 2)]


def test_nothing_is_late_and_the_table_stays_after_the_end():
    one = table()
    feed = Feed((LOG, LOG), [Row(LEFT, 5, ("a", 1)), Mark(LEFT, END), Row(LEFT, 3, ("a", 2))])
    ran = run(OneInput(one), feed, check=False)
    assert [(time, row[2]) for _, time, row in ran.rows] == [(5, 1), (3, 3)]
    assert (ran.marks, ran.side) == ([(1, END)], {})
    assert one.get("a")["total"] == 3


def test_a_row_without_a_key_is_an_error():
    assert log(table(), [(None, 1)]).side == {"errors": [(None, 1, "a part of the key is null")]}


def test_a_computed_key_needs_a_name_and_is_asked_for_by_value():
    one = AggregateTable({"n": agg.count()}, LOG, {"odd": col.v % 2})
    log(one, [("a", 1), ("b", 3), ("c", 4)])
    assert one.get(1) == {"odd": 1, "n": 2, "revision": 1}
    with pytest.raises(DefinitionError, match="needs a name"):
        AggregateTable({"n": agg.count()}, LOG, [col.v % 2])


def test_without_a_key_there_is_one_row():
    one = AggregateTable({"n": agg.count()}, LOG)
    log(one, [("a", 1), ("b", 3)])
    assert one.get() == {"n": 2, "revision": 1}


def test_a_result_called_change_is_refused():
    with pytest.raises(SchemaError, match='"change" of its own'):
        table({"change": agg.count()})


rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ü", None]), st.one_of(st.none(), st.integers(-9, 9))), max_size=40
)


@given(rows, st.lists(st.integers(0, 40), max_size=4))
def test_a_table_is_a_dict_of_lists(rows, cuts):
    aggregates = {"total": agg.sum("v"), "least": agg.min("v"), "kinds": agg.distinct("v")}
    one = table(aggregates)
    ran = log(one, rows, cuts)
    model, wanted = {}, []
    for k, v in rows:
        if k is not None:
            held = model.setdefault(k, [])
            held.append(v)
            there = [x for x in held if x is not None]
            kind = "+I" if len(held) == 1 else "+U"
            least = min(there) if there else None
            wanted.append((kind, k, sum(there) if there else None, least, len(set(there)), len(held) - 1))
    assert changes(ran) == wanted
    last = {row[1]: row[1:] for row in wanted}
    assert values(one.to_arrow()) == [last[k] for k in sorted(last, key=str.encode)]
    one.check()
    other = table(aggregates)
    other.restore(one.export())
    assert state_of(other) == state_of(one)
    assert values(other.to_arrow()) == values(one.to_arrow())


def test_tables_of_aggregates_join_and_enrich_as_any_table():
    one = table({"n": agg.count()})
    joined = TableJoin(
        (one.schema, [col.k]), (with_change(pa.schema([("k", pa.string()), ("v", pa.int64())])), [col.k])
    )
    assert joined.schema.names == ["change", "k", "n", "revision", "v"]
    enriched = Enrichment((LOG, [col.k]), (one.schema, [col.k]))
    assert enriched.schema.names == ["k", "v", "n", "revision"]


def test_describe_says_what_waits_for_what():
    assert table().describe() == (
        "table by col.k: total, n, last, over all rows so far, by arrival\n  nothing waits; a key is kept for ever"
    )


def test_the_schema_is_known_before_any_row():
    assert table().schema == pa.schema(
        [
            ("change", pa.string()),
            ("k", pa.string()),
            ("total", pa.int64()),
            ("n", pa.int64()),
            ("last", pa.int64()),
            ("revision", pa.int64()),
        ]
    )
