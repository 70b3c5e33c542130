"""Schemas, and where a pattern's expressions do not meet them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from fyke import Expr, Field, Schema, SchemaError, begin, call, col, func, lit, prev, ref
from fyke.schema import infer_schema, type_of_arrow, typecheck

SCHEMA = Schema.of(
    amount="float64", n="int64", name="string", raw="bytes", ok="bool", ts="timestamp", took="duration", day="date",
    tags="opaque", new="any",
)  # fmt: skip
NOON = dt.datetime(2024, 1, 1, 12)
MINUTE = dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        (col.n + 1, "int64"),
        (col.n // 2 % 3, "int64"),
        (col.n / 2, "float64"),
        (col.n + 1.5, "float64"),
        (col.n * col.amount, "float64"),
        (-col.n, "int64"),
        (col.n.abs(), "int64"),
        (col.n.sqrt(), "float64"),
        (func.least(col.n, 2.5), "float64"),
        (func.greatest(col.ts, NOON), "timestamp"),
        (col.ts - prev.ts, "duration"),
        (col.ts - MINUTE, "timestamp"),
        (MINUTE + col.ts, "timestamp"),
        (col.took - MINUTE, "duration"),
        ((col.took - MINUTE).abs(), "duration"),
        (-col.took, "duration"),
        (col.took / MINUTE, "float64"),
        ((col.ts - ref("a").ts) / MINUTE * 5, "float64"),
        (ref("a").n.sum(), "int64"),
        (ref("a").n.sum(empty=0.5), "float64"),
        (ref("a").n.avg(), "float64"),
        (ref("a").name.count(empty=0), "int64"),
        (ref("a").ts.max(), "timestamp"),
        (ref("a").name.first(), "string"),
        (col.tags, "opaque"),
        (col.new, "any"),
        (lit(b"x"), "bytes"),
        (col.n > 1.5, "bool"),
        (col.name == ref("a").name, "bool"),
        (col.name < "m", "bool"),
        (col.raw.starts_with("GET"), "bool"),
        (col.tags.is_null(), "bool"),
        (col.ok & ~col.ok, "bool"),
        (col.ok == True, "bool"),  # noqa: E712
        (col.day >= dt.date(2024, 1, 1), "bool"),
        (col.took.is_in([MINUTE]), "bool"),
        (col.name.is_in([]), "bool"),
        (col.new == 3, "bool"),
        (call(lambda event: True), "bool"),
    ],
)
def test_expression_has_the_type(expression: Expr, kind: str) -> None:
    """Integers stay integers until a float or a true division comes."""
    assert typecheck(expression, SCHEMA, "here") == kind


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (col.amont > 500, 'stage "spree": col.amont > 500: no column "amont" (did you mean "amount"?)'),
        (col.zzz > 5, 'col.zzz > 5: no column "zzz"; the columns are "amount", "n",'),
        (col.name > 5, "col.name > 5: cannot compare string with int64"),
        ((col.n > 1) & (col.name == 5), 'stage "spree": col.name == 5: cannot compare string with int64'),
        (col.ts > 5, "cannot compare timestamp with int64 (write the time as a datetime)"),
        (col.ts > "2024-01-01", "(write the time as a datetime)"),
        (col.ts > dt.date(2024, 1, 1), "cannot compare timestamp with date"),
        (col.ts - prev.ts > 60, "cannot compare duration with int64 (write the duration as a timedelta)"),
        (col.raw == "x", 'cannot compare bytes with string (write the constant as b"...")'),
        (col.ok == 1, "cannot compare bool with int64"),
        (col.ok < True, "bool has no order: only == and != compare it"),
        (col.tags == 1, "payload"),
        (col.tags.is_in([1]), "payload"),
        (col.name + 1 > 2, "cannot compute string + int64"),
        (col.ts + col.ts > NOON, "cannot compute timestamp + timestamp"),
        (col.took * 2 > MINUTE, "cannot compute duration * int64"),
        (-col.name == "x", "cannot negate string"),
        (col.n.contains("x"), "contains looks into strings and bytes, not int64"),
        (col.name.sqrt() > 1, "sqrt takes numbers, not string"),
        (func.least(col.name, "x") == "x", "least takes numbers and times, not string"),
        (func.least(col.name, 5) == 5, "cannot take the least of string with int64"),
        (ref("a").name.sum() > 1, "sum() adds numbers, not string"),
        (ref("a").name.max() > "x", "max() takes numbers and times, not string"),
        (ref("a").name.last(empty=0) == "x", "empty=0 does not fit string"),
        (col.name.is_in([1]), "cannot compare string with int64"),
        (col.n, "is int64, neither true nor false"),
        (col.ok & col.n, "col.n: is int64, neither true nor false"),
        (~col.name, "col.name: is string, neither true nor false"),
    ],
)
def test_a_wrong_type_is_an_error_that_quotes_the_part(expression: Expr, says: str) -> None:
    """The innermost condition is quoted, with the stage, and with a hint where there is one."""
    with pytest.raises(SchemaError) as error:
        typecheck(expression, SCHEMA, 'stage "spree"', condition=True)
    assert says in str(error.value)
    assert str(error.value).startswith('stage "spree": ')


@pytest.mark.parametrize(
    ("conditions", "types"),
    [
        ([col.x > 1], {"x": "float64"}),
        ([col.x + col.y > col.z], {"x": "float64", "y": "float64", "z": "float64"}),
        ([col.x == "a"], {"x": "string"}),
        ([col.x.is_in([b"a"])], {"x": "bytes"}),
        ([col.x.contains("a")], {"x": "string"}),
        ([col.x], {"x": "bool"}),
        ([~col.x | (col.y == False)], {"x": "bool", "y": "bool"}),  # noqa: E712
        ([col.x > NOON], {"x": "timestamp"}),
        ([col.x - prev.x < MINUTE], {"x": "timestamp"}),
        ([(col.x - ref("a").x) / MINUTE > col.y], {"x": "timestamp", "y": "float64"}),
        ([col.x / MINUTE > 5], {"x": "duration"}),
        ([col.x - MINUTE > col.y], {"x": "timestamp", "y": "timestamp"}),
        ([col.x - NOON > MINUTE], {"x": "timestamp"}),
        ([col.x != ref("a").x], {"x": "any"}),
        ([col.x != ref("a").y, prev.y != "b"], {"x": "string", "y": "string"}),
        ([col.x == col.y, col.y == col.z, col.z > 1], {"x": "float64", "y": "float64", "z": "float64"}),
        ([ref("a").x.sum() > ref("a").y.count()], {"x": "float64", "y": "any"}),
        ([ref("a").x.min(empty=0) < 1], {"x": "float64"}),
        ([col.x.is_null()], {"x": "any"}),
        ([call(lambda event: True)], {}),
    ],
)
def test_types_follow_from_the_use(conditions: list[Expr], types: dict[str, str]) -> None:
    """Columns compared only with each other share a type; what no use tells about is "any"."""
    assert infer_schema(conditions) == Schema.of(**types)


def test_uses_that_contradict_are_both_quoted() -> None:
    """In one expression or in two stages."""
    pattern = begin("a", col.x == "yes").next("b", col.x > 5)
    with pytest.raises(SchemaError) as error:
        infer_schema(pattern.conditions())
    assert str(error.value) == (
        'stage "b": col.x > 5: cannot compare string with int64; column "x" is string by `col.x == \'yes\'` (stage "a")'
    )


def test_known_columns_come_first_and_keep_their_type() -> None:
    """The time column, say, is known from the engine's options."""
    known = Schema.of(ts="timestamp", n="int64")
    assert infer_schema([col.ts > NOON, col.n > 5, col.x > 1], [col.card], known) == Schema.of(
        ts="timestamp", n="int64", x="float64", card="any"
    )
    with pytest.raises(SchemaError, match="cannot compare timestamp with int64"):
        infer_schema([col.ts > 5], known=known)


def test_without_a_schema_any_column_is_allowed() -> None:
    """An open schema has every column."""
    assert typecheck(col.whatever > 5, None, "here") == "bool"


@pytest.mark.parametrize(
    ("arrow", "kind"),
    [
        (pa.int8(), "int64"),
        (pa.uint64(), "int64"),
        (pa.float32(), "float64"),
        (pa.bool_(), "bool"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
        (pa.binary(16), "bytes"),
        (pa.timestamp("s"), "timestamp"),
        (pa.timestamp("us", "Europe/Zurich"), "timestamp"),
        (pa.duration("ms"), "duration"),
        (pa.date64(), "date"),
        (pa.null(), "any"),
        (pa.decimal128(10, 2), "opaque"),
        (pa.list_(pa.int64()), "opaque"),
        (pa.struct([("a", pa.int8())]), "opaque"),
        (pa.time64("ns"), "opaque"),
    ],
)
def test_arrow_types_have_a_place(arrow: Any, kind: str) -> None:
    """Whatever Arrow has is a type of ours or payload."""
    assert type_of_arrow(arrow) == kind


def test_an_arrow_schema_comes_back_as_it_was() -> None:
    """Payload keeps its type; a schema of ours gets the plain ones."""
    arrow = pa.schema([("a", pa.int8()), ("b", pa.list_(pa.string())), ("c", pa.timestamp("ms", "UTC"))])
    assert Schema.from_arrow(arrow).to_arrow() == arrow
    assert Schema.of(t="timestamp", d="duration").to_arrow().types == [pa.timestamp("ns", "UTC"), pa.duration("ns")]
    with pytest.raises(SchemaError, match='column "x" is opaque'):
        Schema.of(x="opaque").to_arrow()


def test_a_schema_is_checked_and_looked_up_by_name() -> None:
    """Names once, types known, near names suggested."""
    assert SCHEMA["n"] == Field("n", "int64")
    assert (len(SCHEMA), SCHEMA.get("zz"), "n" in SCHEMA, SCHEMA.near("amuont")) == (10, None, True, "amount")
    assert [each.name for each in SCHEMA] == list(SCHEMA.names)
    with pytest.raises(SchemaError, match="did you mean"):
        SCHEMA["amuont"]
    with pytest.raises(SchemaError, match="occurs twice"):
        Schema((Field("a", "int64"), Field("a", "bool")))
    with pytest.raises(SchemaError, match="is not one of int64"):
        Field("a", "int32")
    with pytest.raises(SchemaError, match="non-empty string"):
        Field("", "int64")
