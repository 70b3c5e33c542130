"""Keys, values and conditions of rows: what every operator but the pattern matcher compiles."""

import pytest

from fyke import DefinitionError, Field, Schema, SchemaError, call, col, prev, ref
from fyke._core import Core
from fyke.rowplan import compile_rows

SCHEMA = Schema((Field("card", "string"), Field("amount", "float64"), Field("n", "int64")))


def test_equal_values_are_one_column():
    plan = compile_rows(SCHEMA, [col.card], [col.amount, col.amount * 2, col.amount * 2, col.n])
    assert [c.name for c in plan.plan.columns] == ["card", "amount", "col.amount * 2", "n"]
    assert (plan.key, plan.values) == ((0,), (1, 2, 2, 3))
    assert (plan.key_types, plan.value_types) == (("string",), ("float64", "float64", "float64", "int64"))


def test_the_core_loads_a_plan_without_patterns():
    plan = compile_rows(SCHEMA, [col.card, col.n % 3], [col.amount + 1], [col.amount > 1, col.card.starts_with("a")])
    assert Core(plan.plan.tables, (), (), None, None, 0, {}).check() is None
    assert plan.n_conditions == 2


@pytest.mark.parametrize("value", [prev.amount, ref("a").amount, call(lambda row, match: True)])
def test_a_value_reads_only_its_row(value):
    with pytest.raises(DefinitionError, match="only the columns of its own row"):
        compile_rows(SCHEMA, [col.card], [value])


def test_an_unknown_column_is_named_with_the_near_one():
    with pytest.raises(SchemaError, match="amount"):
        compile_rows(SCHEMA, [col.card], [col.amont])
