"""Keys, values and conditions of single rows -> a Plan without patterns: what windows, joins and filters read of a row.

The same columns, expression VM and key dictionaries serve patterns and every other operator; only the tables of
patterns are empty here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fyke import expr as ex
from fyke.errors import DefinitionError
from fyke.expr import Expr
from fyke.lower import Builder, Shared
from fyke.plan import NONE, Plan, Tables
from fyke.schema import Schema, typecheck, with_keys

__all__ = ["RowPlan", "compile_rows"]


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What compile_rows gives.

    Attributes:
        plan: columns, the program that fills computed ones, the program of conditions, and one keyspace.
        key: per part of the key, the number of its column. values: the same for each value.
        key_types, value_types: their types, as schema.TYPES says.
        n_conditions: condition i is bit i of a row's mask; a null counts as false.
    """

    plan: Plan
    key: tuple[int, ...]
    values: tuple[int, ...]
    key_types: tuple[str, ...]
    value_types: tuple[str, ...]
    n_conditions: int


def compile_rows(
    schema: Schema, key: Sequence[Expr], values: Sequence[Expr] = (), conditions: Sequence[Expr] = ()
) -> RowPlan:
    """Compile what an operator reads of each row.

    Args:
        schema: the columns of the input.
        key: the parts of the key; none: all rows are of one key.
        values: expressions, each becomes a column (equal ones the same).
        conditions: each becomes a bit of the row's mask.

    Raises:
        SchemaError: an expression and the schema do not meet. DefinitionError: one reads more than its row.
    """
    for what, expressions in (("key", key), ("value", values), ("condition", conditions)):
        for e in expressions:
            if any(isinstance(x, ex.Agg | ex.Prev) or (isinstance(x, ex.Call) and x.arity == 2) for x in ex.walk(e)):
                raise DefinitionError(f"{what} {e!r}: it can read only the columns of its own row")
    schema = with_keys(schema, key)
    tables = Tables()
    shared = Shared(tables, schema)
    computed, row = Builder(shared), Builder(shared)
    # Values of a type that expressions cannot use stay in the payload; their column only tells whether there is one.
    columns = [_column(e, "key", schema, shared, computed) for e in key]
    value_columns = [_column(e, "value", schema, shared, computed) for e in values]
    for bit, condition in enumerate(conditions):
        typecheck(condition, schema, "condition", condition=True)
        row.effect("bit", row.lower(condition), bit)
    tables.mask_words = max(1, -(-len(conditions) // 64))
    tables.computed_program = _program(tables, computed)
    tables.row_program = _program(tables, row)
    tables.keyspaces.append((0, len(columns), 0, NONE))
    tables.key_columns += columns
    names = dict.fromkeys(name for e in (*key, *values, *conditions) for name in ex.columns(e))
    types = tuple((name, schema[name].type) for name in names)
    definition = json.dumps(
        {
            "key": [repr(e) for e in key],
            "values": [repr(e) for e in values],
            "conditions": [repr(e) for e in conditions],
            "types": dict(types),
        },
        sort_keys=True,
    )
    named = not any(isinstance(x, ex.Call) and x.name is None for e in (*key, *values, *conditions) for x in ex.walk(e))
    plan = Plan(tables.to_bytes(), tuple(tables.columns), (), (), types, definition, (), named)
    return RowPlan(
        plan,
        tuple(columns),
        tuple(value_columns),
        tuple(tables.columns[c].type for c in columns),
        tuple(tables.columns[c].type for c in value_columns),
        len(conditions),
    )


def _column(e: Expr, what: str, schema: Schema, shared: Shared, computed: Builder) -> int:
    kind = typecheck(e, schema, what)
    if isinstance(e, ex.Column):
        return shared.column(e.name)
    if kind in ("string", "bytes", "any", "opaque"):
        raise DefinitionError(f"{what} {e!r}: only a plain column can be {kind}")
    column = shared.hidden("computed", kind, e)
    computed.effect("store", computed.lower(e), column)
    return column


def _program(tables: Tables, builder: Builder) -> int:
    if not builder.code:
        return NONE
    tables.programs.append(builder.finish())
    return len(tables.programs) - 1
