"""Aggregates meet a schema: what each takes, the types of the results, and what is read and kept once."""

import pyarrow as pa
import pytest

from fyke import DefinitionError, Schema, SchemaError, agg, col
from fyke.aggplan import compile_aggregates

ARROW = pa.schema(
    [
        ("card", pa.dictionary(pa.int8(), pa.string())),
        ("amount", pa.float32()),
        ("n", pa.int16()),
        ("at", pa.timestamp("us", "Europe/Zurich")),
        ("took", pa.duration("ms")),
        ("day", pa.date32()),
        ("ok", pa.bool_()),
        ("price", pa.decimal128(9, 2)),
        ("tags", pa.list_(pa.string())),
    ]
)
SCHEMA = Schema.from_arrow(ARROW)


def compiled(**aggregates):
    return compile_aggregates(SCHEMA, [col.card], aggregates)


def type_of(aggregate):
    return compiled(x=aggregate).fields[0].type


def test_counts_sums_and_means_have_types_of_their_own():
    assert type_of(agg.count()) == type_of(agg.count("tags")) == type_of(agg.distinct("card")) == pa.int64()
    assert type_of(agg.sum("n")) == pa.int64()
    assert type_of(agg.sum("amount")) == type_of(agg.mean("n")) == type_of(agg.std("n")) == pa.float64()
    assert type_of(agg.sum("took")) == pa.duration("ms")


@pytest.mark.parametrize("make", [agg.min, agg.max, agg.first, agg.last, lambda x: agg.arg_min(x, "n")])
def test_what_picks_a_value_keeps_its_columns_type(make):
    for name in ("amount", "n", "at", "took", "day", "ok"):
        assert type_of(make(name)) == ARROW.field(name).type
    assert type_of(make("card")) == pa.string()
    assert type_of(make(col.n * 2)) == pa.int64()


def test_payload_can_be_picked_and_collected_but_not_computed_with():
    assert type_of(agg.first("price")) == pa.decimal128(9, 2)
    assert type_of(agg.collect("tags")) == pa.list_(pa.list_(pa.string()))
    with pytest.raises(SchemaError, match=r"agg.sum\(col.price\): col.price is decimal128\(9, 2\); sum takes"):
        compiled(x=agg.sum("price"))
    with pytest.raises(SchemaError, match="col.tags is list"):
        compiled(x=agg.arg_max("n", by="tags"))


def test_text_is_not_added_up():
    with pytest.raises(SchemaError, match="col.card is string; mean takes int64, float64"):
        compiled(x=agg.mean("card"))


def test_an_unknown_column_is_named_with_the_near_one():
    with pytest.raises(SchemaError, match='aggregate total: col.amont: no column "amont"'):
        compiled(total=agg.sum("amont"))


def test_what_is_no_aggregate_is_refused():
    with pytest.raises(DefinitionError, match=r"total=col.amount: write one of fyke.agg"):
        compiled(total=col.amount)


def test_equal_aggregates_are_one_record():
    plan = compiled(a=agg.sum("n"), b=agg.mean("n"), c=agg.sum("n"), d=agg.median("n"), e=agg.count())
    assert [column.native for column in plan.columns] == [0, 1, 0, None, 2]
    assert plan.has_python
    assert plan.tables[:4] == b"\x03\0\0\0"


def test_other_values_are_read_beside_the_arguments():
    plan = compile_aggregates(SCHEMA, [col.card], {"x": agg.sum(col.n * 2)}, [col.took])
    assert [plan.rows.plan.columns[i].name for i in plan.others] == ["took"]


def test_payload_names_the_columns_that_results_take_values_from():
    plan = compiled(a=agg.first("tags"), b=agg.max("card"), c=agg.max("n"), d=agg.last("tags"))
    assert plan.payload == ("tags", "card")
