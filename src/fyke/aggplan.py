"""Aggregates and a schema -> what runs: a RowPlan of what is read of each row, a list of records for the compiled
aggregates (csrc/aggregate.h), the ones that Python keeps, and the types of the results.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from fyke import expr as ex
from fyke.agg import Aggregate
from fyke.errors import DefinitionError, SchemaError
from fyke.expr import Expr
from fyke.plan import NONE, STR
from fyke.rowplan import RowPlan, compile_rows
from fyke.schema import Field, Schema, arrow_of, typecheck

__all__ = ["PYTHON", "AggregatePlan", "Column", "compile_aggregates"]

# The order is the enum's in csrc/aggregate.h.
NATIVE: Final = ("count", "sum", "min", "max", "mean", "var", "std", "first", "last", "arg_min", "arg_max")
PYTHON: Final = ("median", "quantile", "distinct", "top_k", "collect", "udf")

_NUMBERS: Final = ("int64", "float64")
_ORDERED: Final = (*_NUMBERS, "timestamp", "duration", "date", "string", "bytes", "bool")
# What the first argument of an aggregate can be; those that are not here take anything.
_TAKES: Final = {
    "sum": (*_NUMBERS, "duration"),
    "mean": _NUMBERS, "var": _NUMBERS, "std": _NUMBERS, "median": _NUMBERS, "quantile": _NUMBERS,
    "min": _ORDERED, "max": _ORDERED, "distinct": _ORDERED, "top_k": _ORDERED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of results.

    Attributes:
        name: of the column.
        aggregate: its definition.
        type: its Arrow type.
        native: the number of its record for the compiled aggregates; None: Python keeps it.
        arguments: the numbers of the plan's columns with the arguments' values.
        payload: for each argument, the input's column whose rows hold the value itself where the plan's column does
            not (text, payload); None: the plan's column has it.
        values: for each argument, the Arrow type of its values.
    """

    name: str
    aggregate: Aggregate
    type: pa.DataType
    native: int | None
    arguments: tuple[int, ...]
    payload: tuple[str | None, ...]
    values: tuple[pa.DataType, ...]


@dataclass(frozen=True, slots=True)
class AggregatePlan:
    """What compile_aggregates gives.

    Attributes:
        rows: what is read of each row; `values` are first the arguments of all aggregates, then the `others`.
        tables: the records for agg_plan_load.
        columns: the results, in the order in which they were given.
        others: the numbers of the columns of the other values.
    """

    rows: RowPlan
    tables: bytes
    columns: tuple[Column, ...]
    others: tuple[int, ...]

    @property
    def fields(self) -> tuple[pa.Field, ...]:
        """Give the columns of results as Arrow fields."""
        return tuple(pa.field(column.name, column.type) for column in self.columns)

    @property
    def has_python(self) -> bool:
        """Tell whether Python keeps some of them: then the kernel has to write a log."""
        return any(column.native is None for column in self.columns)

    @property
    def payload(self) -> tuple[str, ...]:
        """Give the names of the input's columns from which results take values."""
        return tuple(dict.fromkeys(name for column in self.columns for name in column.payload if name is not None))


def compile_aggregates(
    schema: Schema,
    key: Sequence[Expr],
    aggregates: Mapping[str, Aggregate],
    others: Sequence[Expr] = (),
    conditions: Sequence[Expr] = (),
) -> AggregatePlan:
    """Compile what an operator with aggregates reads of each row and what its results are.

    Args:
        schema: the columns of the input.
        key: the parts of the key.
        aggregates: by the name of the result's column.
        others: what else is needed of each row.
        conditions: each becomes a bit of the row's mask.

    Raises:
        SchemaError: an aggregate and the schema do not meet. DefinitionError: not an aggregate, or it reads more than
            its row.

    >>> from fyke import agg
    >>> plan = compile_aggregates(Schema.of(card="string", n="int64"), [ex.col.card], {"total": agg.sum("n")})
    >>> plan.fields
    (pyarrow.Field<total: int64>,)
    """
    for name, aggregate in aggregates.items():
        if not isinstance(aggregate, Aggregate):
            raise DefinitionError(
                f"aggregate {name}={aggregate!r}: write one of fyke.agg, as {name}=agg.sum(col.price)"
            )
    args = [arg for aggregate in aggregates.values() for arg in aggregate.args]
    types = [
        _checked(name, aggregate, i, schema)
        for name, aggregate in aggregates.items()
        for i in range(len(aggregate.args))
    ]
    rows = compile_rows(schema, key, [*args, *others], conditions)
    records: list[bytes] = []
    columns = []
    at = 0
    for name, aggregate in aggregates.items():
        end = at + len(aggregate.args)
        column = _column(name, aggregate, schema, rows, rows.values[at:end], types[at:end])
        if aggregate.kind in NATIVE:
            record = _record(aggregate, column)
            if record not in records:
                records.append(record)
            column = replace(column, native=records.index(record))
        columns.append(column)
        at = end
    tables = struct.pack("<I", len(records)) + b"".join(records)
    return AggregatePlan(rows, tables, tuple(columns), rows.values[at:])


def _checked(name: str, aggregate: Aggregate, i: int, schema: Schema) -> str:
    """Give the type of an argument; raises SchemaError if the aggregate does not take it."""
    arg = aggregate.args[i]
    kind = typecheck(arg, schema, f"aggregate {name}")
    allowed: tuple[str, ...] | None = _TAKES.get(aggregate.kind)
    if aggregate.kind in ("arg_min", "arg_max"):
        allowed = None if i == 0 else _ORDERED
    if allowed is not None and kind not in allowed:
        if kind == "opaque" and isinstance(arg, ex.Column):
            kind = str(schema[arg.name].arrow)
        raise SchemaError(
            f"aggregate {name}: {aggregate!r}: {arg!r} is {kind}; {aggregate.kind} takes {', '.join(allowed)}"
        )
    return kind


def _column(
    name: str, aggregate: Aggregate, schema: Schema, rows: RowPlan, numbers: tuple[int, ...], types: list[str]
) -> Column:
    payload = tuple(
        arg.name if isinstance(arg, ex.Column) and _is_elsewhere(rows, number, kind) else None
        for arg, number, kind in zip(aggregate.args, numbers, types, strict=True)
    )
    values = tuple(_own_type(arg, kind, schema) for arg, kind in zip(aggregate.args, types, strict=True))
    return Column(name, aggregate, _result_type(aggregate, types, values), None, numbers, payload, values)


def _is_elsewhere(rows: RowPlan, number: int, kind: str) -> bool:
    """Whether the plan's column does not hold the value as Arrow has it."""
    return kind in ("opaque", "any") or rows.plan.columns[number].physical == STR


def _own_type(arg: Expr, kind: str, schema: Schema) -> pa.DataType:
    """The Arrow type of an argument's values: of a plain column its own, but no dictionary."""
    if not isinstance(arg, ex.Column):
        return arrow_of(Field("value", kind))
    own = arrow_of(schema[arg.name])
    return own.value_type if pa.types.is_dictionary(own) else own


def _result_type(aggregate: Aggregate, types: list[str], values: tuple[pa.DataType, ...]) -> pa.DataType:
    kind = aggregate.kind
    if kind in ("count", "distinct"):
        return pa.int64()
    if kind in ("mean", "var", "std", "median", "quantile"):
        return pa.float64()
    if kind == "sum" and types[0] in _NUMBERS:
        return arrow_of(Field("value", types[0]))
    if kind == "udf":
        return arrow_of(Field("value", aggregate.result or ""))
    if kind == "collect":
        return pa.list_(values[0])
    if kind == "top_k":
        return pa.list_(pa.struct([("value", values[0]), ("count", pa.int64())]))
    return values[0]


def _record(aggregate: Aggregate, column: Column) -> bytes:
    """Of the kind, column, by and parameter, as agg_plan_load reads them."""
    first = column.arguments[0] if column.arguments else NONE
    by = column.arguments[1] if aggregate.kind in ("arg_min", "arg_max") else NONE
    if aggregate.kind in ("var", "std"):
        parameter = int(aggregate.parameter or 0)
    else:
        picks = aggregate.kind in ("first", "last", "arg_min", "arg_max")
        parameter = int(picks and column.payload[0] is not None)
    return struct.pack("<IIII", NATIVE.index(aggregate.kind), first, by, parameter)
