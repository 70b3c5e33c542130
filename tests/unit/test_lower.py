"""Expressions as programs of the expression VM: types, common parts, constants, and registers used again."""

from __future__ import annotations

import datetime as dt
import operator
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke import Expr, ExpressionError, Schema, call, col, func, prev, ref
from fyke.lower import Builder, Shared, literal_value
from fyke.plan import BOOL, F64, I64, STR, Instruction, Tables

SCHEMA = Schema.of(
    x="float64", y="float64", n="int64", m="int64", name="string", raw="bytes", b="bool", ts="timestamp",
    took="duration", day="date",
)  # fmt: skip


class Lowered:
    """A builder with its tables; run registers are numbered as they are asked for."""

    def __init__(self, expression: Expr) -> None:
        self.tables = Tables()
        self.registers: dict[tuple[str, str, str], int] = {}
        self.builder = Builder(Shared(self.tables, SCHEMA), self.register)
        self.builder.effect("result", self.builder.lower(expression))
        self.program = self.builder.finish()

    def register(self, kind: str, stage: str, column: str) -> int:
        return self.registers.setdefault((kind, stage, column), len(self.registers))

    @property
    def ops(self) -> list[str]:
        return [i.op for i in self.program.instructions]


# --- literals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "physical", "expected"),
    [
        (True, BOOL, 1),
        (7, I64, 7),
        (0.5, F64, 0.5),
        ("ü", STR, b"\xc3\xbc"),
        (b"\x00", STR, b"\x00"),
        (dt.datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=dt.UTC), I64, 1_000_005_000),
        (dt.datetime(1970, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), I64, 0),
        (dt.timedelta(days=-1, microseconds=1), I64, -86_400_000_000_000 + 1000),
        (dt.date(1970, 1, 2), I64, 1),
        (dt.date(1969, 12, 31), I64, -1),
    ],
)
def test_a_literal_has_the_form_of_its_column(value: Any, physical: int, expected: Any) -> None:
    """Times in nanoseconds, dates in days, text in UTF-8."""
    assert literal_value(value) == (physical, expected)


def test_constants_and_texts_are_kept_once() -> None:
    """Also across kinds of use; equal bytes of different types are different constants."""
    lowered = Lowered((col.n > 1) & (col.m > 1) & (col.name == "ab") & (col.name != "ab") & (col.raw == b"ab"))
    assert lowered.tables.constants == [struct.pack("<qQ", 1, 0), struct.pack("<QQ", 0, 2)]
    assert lowered.tables.text == b"ab"


def test_a_set_is_sorted_and_without_doubles() -> None:
    """The VM searches it by halves; NaN is in no set."""
    floats = Lowered(col.x.is_in([3.0, 1.0, float("nan"), 3.0]))
    assert floats.tables.constants == [struct.pack("<dQ", v, 0) for v in (1.0, 3.0)]
    assert floats.program.instructions[1] == Instruction("in_f", 0, 1, 0, 2, 0)
    texts = Lowered(col.name.is_in(["b", "a", "ab"]))
    assert texts.tables.text == b"aabb"
    assert [struct.unpack("<QQ", c) for c in texts.tables.constants] == [(0, 1), (1, 2), (3, 1)]


# --- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "ops"),
    [
        (col.n < col.m, ["load", "load", "lt_i", "result"]),
        (col.n > col.m, ["load", "load", "lt_i", "result"]),
        (col.n >= col.m, ["load", "load", "le_i", "result"]),
        (col.n < col.x, ["load", "load", "i2f", "lt_f", "result"]),
        (col.n / col.m > col.x, ["load", "load", "i2f", "i2f", "div_f", "load", "lt_f", "result"]),
        (col.n // 2 == col.n % 2, ["load", "const", "floordiv_i", "mod_i", "eq_i", "result"]),
        (col.name < "b", ["load", "const", "lt_s", "result"]),
        (col.b == (col.n > 1), ["load", "load", "const", "lt_i", "eq_b", "result"]),
        (col.ts - prev.ts > dt.timedelta(1), ["load", "load", "sub_i", "const", "lt_i", "result"]),
        (-col.x < col.n.abs(), ["load", "neg_f", "load", "abs_i", "i2f", "lt_f", "result"]),
        (func.least(col.n, col.m) > 1, ["load", "load", "min_i", "const", "lt_i", "result"]),
        (func.greatest(col.n, col.x) > 1.0, ["load", "load", "i2f", "max_f", "const", "lt_f", "result"]),
        (col.n.sqrt() > col.x.floor(), ["load", "i2f", "sqrt", "load", "floor", "lt_f", "result"]),
        (func.atan2(col.n, col.x) > 0.0, ["load", "load", "i2f", "atan2", "const", "lt_f", "result"]),
        (col.b.is_in([True]), ["load", "const", "const", "eq_b", "or", "result"]),
        (col.n.is_in([1, 2.5]), ["load", "i2f", "in_f", "result"]),
        (col.n.is_in([]), ["load", "const", "result"]),
        (~col.name.is_null(), ["load", "is_null", "not", "result"]),
        (col.name.contains("q"), ["load", "contains", "result"]),
    ],
)
def test_operands_meet_in_one_type(expression: Expr, ops: list[str]) -> None:
    """An integer becomes a float where it meets one; greater is less, turned round."""
    assert Lowered(expression).ops == ops


def test_common_parts_are_computed_once() -> None:
    """An expression that stands twice is one instruction."""
    lowered = Lowered((col.n + 1) * (col.n + 1) == (col.n + 1))
    assert lowered.ops == ["load", "const", "add_i", "mul_i", "eq_i", "result"]


@pytest.mark.parametrize(
    ("expression", "source"),
    [(col.name, 0), (prev.name, 1), (ref("a").name, 2)],
)
def test_a_column_is_read_from_the_event_the_one_before_or_one_of_the_match(expression: Expr, source: int) -> None:
    """The same column, at three places."""
    lowered = Lowered(expression == "x")
    assert lowered.program.instructions[0] == Instruction("load", STR, 0, source, 0, 0)


def test_aggregates_read_run_registers() -> None:
    """Value, count of values, count of events: which are there is known before the pattern runs."""
    lowered = Lowered((ref("a").n.sum() > 1) & (ref("a").n.avg() > 1.5) & (ref("a").n.count() > 1))
    assert lowered.registers == {
        ("events", "a", ""): 0, ("sum", "a", "n"): 1, ("sum_values", "a", "n"): 2, ("values", "a", "n"): 3,
    }  # fmt: skip
    agg, avg, count = (i for i in lowered.program.instructions if i.op in ("agg", "avg", "count"))
    assert (agg.a, agg.b, agg.imm, agg.flags) == (1, 2, 0, I64)
    assert (avg.a, avg.b, avg.imm, avg.flags) == (1, 2, 0, 1)
    assert (count.a, count.b, count.imm) == (3, 0, 0)


def test_an_empty_value_has_the_type_of_both() -> None:
    """sum(empty=0.5) of integers is a float."""
    assert Lowered(ref("a").n.sum(empty=0) == 0).ops == ["agg", "const", "empty", "eq_i", "result"]
    assert Lowered(ref("a").n.sum(empty=0.5) == 0.5).ops == ["agg", "i2f", "const", "empty", "eq_f", "result"]


def test_what_arrow_or_python_judges_is_a_column_by_then() -> None:
    """A regular expression and a callable of one argument are judged for the batch, before the VM runs."""
    lowered = Lowered(col.name.matches("^a") & prev.name.matches("^a") & call(callable_of_the_row))
    hidden = [(c.kind, c.type) for c in lowered.tables.columns]
    assert hidden == [("input", "string"), ("regex", "bool"), ("call", "bool")]
    assert [(i.imm, i.a) for i in lowered.program.instructions if i.op == "load"] == [(1, 0), (1, 1), (2, 0)]


def callable_of_the_row(event: Any) -> bool:
    """Stand in for a condition in Python."""
    return bool(event["b"])


def test_a_regular_expression_needs_a_column() -> None:
    """Arrow has no computed texts to match."""
    with pytest.raises(ExpressionError, match="matched against a column"):
        Lowered(func.least(col.name, col.name).matches("a"))


# --- registers ------------------------------------------------------------------------------------------------------

NUMBERS = st.recursive(
    st.sampled_from([col.n, col.m, col.x, col.y, prev.n, prev.x, ref("a").n, ref("a").x.sum(), ref("a").n.min(empty=1)])
    | st.integers(0, 3).map(lambda v: col.n * 0 + v),
    lambda e: st.builds(
        lambda a, b, f: f(a, b),
        e,
        e,
        st.sampled_from([operator.add, operator.mul, operator.truediv, func.least, func.atan2]),
    ),
    max_leaves=12,
)
BOOLS = st.recursive(
    st.builds(lambda a, b, f: f(a, b), NUMBERS, NUMBERS, st.sampled_from([operator.lt, operator.eq]))
    | st.sampled_from([col.name.starts_with("a"), col.name.is_in(["a", "b"]), prev.name == col.name, col.b == True])  # noqa: E712
    | NUMBERS.map(lambda e: e.is_null()),
    lambda e: st.builds(operator.and_, e, e) | st.builds(operator.or_, e, e) | e.map(operator.invert),
    max_leaves=6,
)


NO_OPERANDS = {"load", "const", "agg", "avg", "count"}
ONE_OPERAND = {"in_i", "in_f", "in_s", "starts_with", "ends_with", "contains"}
EFFECTS = {"bit", "result", "store"}


def run_symbolically(code: list[Instruction], n_registers: int) -> list[Any]:
    """What each effect sees: the tree of operations behind its register."""
    registers: list[Any] = [None] * n_registers
    seen: list[Any] = []
    for i in code:
        if i.op in NO_OPERANDS:
            value: Any = (i.op, i.flags, i.a, i.b, i.imm)
        elif i.op in ONE_OPERAND:
            value = (i.op, registers[i.a], i.b if i.op.startswith("in_") else None, i.imm)
        else:
            value = (i.op, i.flags, registers[i.a], registers[i.b], i.imm)
        assert not (i.op not in NO_OPERANDS and registers[i.a] is None)
        if i.op in EFFECTS:
            seen.append(value)
            continue
        if i.op not in NO_OPERANDS:  # the VM writes a block of rows while it reads one
            assert i.dst not in ({i.a} if i.op in ONE_OPERAND else {i.a, i.b})
        registers[i.dst] = value
    return seen


@given(st.lists(BOOLS, min_size=1, max_size=3))
def test_registers_used_again_hold_what_is_read(conditions: list[Expr]) -> None:
    """The program with few registers computes what the one with a register for each value does."""
    tables = Tables()
    numbers: dict[Any, int] = {}
    builder = Builder(Shared(tables, SCHEMA), lambda *key: numbers.setdefault(key, len(numbers)))
    for bit, condition in enumerate(conditions):
        builder.effect("bit", builder.lower(condition), bit)
    program = builder.finish()
    assert run_symbolically(list(program.instructions), program.n_registers) == run_symbolically(
        builder.code, len(builder.types)
    )
    assert program.n_registers <= len(builder.types)


def test_a_long_chain_needs_few_registers() -> None:
    """Those whose value nobody reads any more are free."""
    e: Any = col.n
    for i in range(200):
        e = e + i
    assert Lowered(e > 0).program.n_registers <= 4
