"""Expressions to programs of the expression VM: types resolved, common parts computed once, registers reused.

A `Programs` object collects what all programs of a plan share (columns, constants); a `Builder` makes one program.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from typing import Final

from fyke import expr as ex
from fyke.errors import ExpressionError
from fyke.expr import Expr
from fyke.plan import BOOL, F64, I64, PHYSICAL, STR, ColumnPlan, Instruction, Program, Tables
from fyke.schema import Schema
from fyke.thresholds import gather_thresholds

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
MICROSECOND: Final = dt.timedelta(microseconds=1)

CURRENT, PREVIOUS, NODE = 0, 1, 2
SUFFIX: Final = {I64: "i", F64: "f", BOOL: "b", STR: "s"}
MIRRORED: Final = {"gt": "lt", "ge": "le"}
EFFECTS: Final = ("bit", "result", "store", "thresholds_i", "thresholds_f", "thresholds_s")


def literal_value(value: ex.Value) -> tuple[int, int | float | bytes]:
    """Give the physical type and value of a literal: times in nanoseconds, dates in days, text in UTF-8."""
    if isinstance(value, bool):
        return BOOL, int(value)
    if isinstance(value, int):
        return I64, value
    if isinstance(value, float):
        return F64, value
    if isinstance(value, str):
        return STR, value.encode()
    if isinstance(value, bytes):
        return STR, value
    if isinstance(value, dt.datetime):
        return I64, ((value - EPOCH) // MICROSECOND) * 1000
    if isinstance(value, dt.timedelta):
        return I64, (value // MICROSECOND) * 1000
    return I64, value.toordinal() - EPOCH_DAY


class Shared:
    """Columns and constants of a plan, each once."""

    def __init__(self, tables: Tables, schema: Schema) -> None:
        self.tables = tables
        self.schema = schema
        self.column_index: dict[object, int] = {}
        self.constant_index: dict[bytes, int] = {}
        self.text_index: dict[bytes, int] = {}

    def column(self, name: str) -> int:
        return self._column(("input", name), ColumnPlan(name, self.schema[name].type))

    def hidden(self, kind: str, type_: str, source: Expr) -> int:
        return self._column((kind, source), ColumnPlan(repr(source), type_, kind, source))

    def _column(self, key: object, plan: ColumnPlan) -> int:
        if key not in self.column_index:
            self.column_index[key] = len(self.tables.columns)
            self.tables.columns.append(plan)
        return self.column_index[key]

    def pack_constant(self, physical: int, value: int | float | bytes) -> bytes:
        if isinstance(value, bytes):
            if value not in self.text_index:
                self.text_index[value] = len(self.tables.text)
                self.tables.text += value
            return struct.pack("<QQ", self.text_index[value], len(value))
        if physical == F64:
            return struct.pack("<dQ", float(value), 0)
        return struct.pack("<qQ", int(value), 0)

    def constant(self, physical: int, value: int | float | bytes) -> int:
        packed = self.pack_constant(physical, value)
        key = bytes([physical]) + packed
        if key not in self.constant_index:
            self.constant_index[key] = len(self.tables.constants)
            self.tables.constants.append(packed)
        return self.constant_index[key]

    def constant_block(self, physical: int, values: list[int | float | bytes]) -> int:
        first = len(self.tables.constants)
        self.tables.constants += [self.pack_constant(physical, v) for v in values]
        return first


Registers = Callable[[str, str, str], int]
"""(kind, stage, column) -> run register; kinds: events first last sum min max values."""


class Builder:
    """One program, in static single assignment form until `finish` maps it onto few registers."""

    def __init__(self, shared: Shared, registers: Registers | None = None) -> None:
        self.shared = shared
        self.registers = registers
        self.code: list[Instruction] = []
        self.types: list[int] = []
        self.known: dict[tuple[object, ...], int] = {}
        self.constants: dict[int, int | float | bytes] = {}

    # -- instructions

    def emit(self, op: str, type_: int, a: int = 0, b: int = 0, imm: int = 0, flags: int = 0) -> int:
        key = (op, flags, a, b, imm)
        if key not in self.known:
            self.known[key] = len(self.types)
            self.code.append(Instruction(op, flags, len(self.types), a, b, imm))
            self.types.append(type_)
        return self.known[key]

    def effect(self, op: str, a: int, imm: int = 0) -> None:
        self.code.append(Instruction(op, 0, 0, a, a, imm))

    def constant(self, physical: int, value: int | float | bytes) -> int:
        reg = self.emit("const", physical, imm=self.shared.constant(physical, value), flags=physical)
        self.constants[reg] = value
        return reg

    def as_float(self, reg: int) -> int:
        if self.types[reg] == F64:
            return reg
        if reg in self.constants:
            return self.constant(F64, float(self.constants[reg]))
        return self.emit("i2f", F64, reg, reg)

    # -- expressions

    def lower(self, e: Expr) -> int:
        """Append what computes `e`; gives its register."""
        if isinstance(e, ex.Literal):
            return self.constant(*literal_value(e.value))
        if isinstance(e, ex.Column | ex.Prev | ex.Agg):
            return self.lower_value(e)
        if isinstance(e, ex.Unary):
            return self.lower_unary(e)
        if isinstance(e, ex.Binary):
            return self.lower_binary(e)
        if isinstance(e, ex.IsIn):
            return self.lower_is_in(e)
        if isinstance(e, ex.StrOp):
            return self.lower_str(e)
        if isinstance(e, ex.Func):
            return self.lower_func(e)
        if isinstance(e, ex.Call) and e.arity == 1:
            return self.load(self.shared.hidden("call", "bool", e), CURRENT)
        raise ExpressionError(f"{e!r} can only be joined with & to other conditions")

    def load(self, column: int, source: int, slot: int = 0) -> int:
        physical = self.shared.tables.columns[column].physical
        return self.emit("load", physical, source, slot, column, physical)

    def condition(self, e: Expr) -> int:
        """Append what judges `e`: a column of a stage without events is undefined, and then does not hold."""
        reg = self.lower(e)
        return self.emit("defined", BOOL, reg, reg) if isinstance(e, ex.Agg) else reg

    def lower_value(self, e: ex.Column | ex.Prev | ex.Agg, hidden: int | None = None) -> int:
        column = self.shared.column(e.name if not isinstance(e, ex.Agg) else e.column) if hidden is None else hidden
        if not isinstance(e, ex.Agg):
            return self.load(column, CURRENT if isinstance(e, ex.Column) else PREVIOUS)
        assert self.registers is not None, "a reference to the partial match needs its registers"
        if e.fn in ("first", "last"):
            reg = self.load(column, NODE, self.registers(e.fn, e.stage, ""))
        else:
            reg = self.lower_aggregate(e, self.shared.tables.columns[column].physical)
        return reg if e.empty is None else self.with_empty(reg, e.empty)

    def lower_aggregate(self, e: ex.Agg, physical: int) -> int:
        assert self.registers is not None
        events = self.registers("events", e.stage, "")
        if e.fn == "count":
            return self.emit("count", I64, self.registers("values", e.stage, e.column), 0, events)
        if e.fn == "avg":
            total = self.registers("sum", e.stage, e.column)
            values = self.registers("sum_values", e.stage, e.column)
            return self.emit("avg", F64, total, values, events, int(physical == I64))
        value = self.registers(e.fn, e.stage, e.column)
        values = self.registers("sum_values" if e.fn == "sum" else "values", e.stage, e.column)
        return self.emit("agg", physical, value, values, events, physical)

    def with_empty(self, reg: int, empty: int | float) -> int:
        if self.types[reg] == I64 and isinstance(empty, float):
            reg = self.as_float(reg)
        other = self.constant(self.types[reg], empty)
        return self.emit("empty", self.types[reg], reg, other, 0, self.types[reg])

    def lower_unary(self, e: ex.Unary) -> int:
        arg = self.condition(e.arg) if e.op == "not" else self.lower(e.arg)
        if e.op == "neg":
            return self.emit("neg_" + SUFFIX[self.types[arg]], self.types[arg], arg, arg)
        return self.emit(e.op, BOOL, arg, arg)

    def lower_binary(self, e: ex.Binary) -> int:
        if e.op in ("and", "or"):
            return self.emit(e.op, BOOL, self.condition(e.left), self.condition(e.right))
        left, right = self.lower(e.left), self.lower(e.right)
        if e.op in MIRRORED:
            left, right = right, left
        op = MIRRORED.get(e.op, e.op)
        if op == "truediv":
            return self.emit("div_f", F64, self.as_float(left), self.as_float(right))
        if {self.types[left], self.types[right]} == {I64, F64}:
            left, right = self.as_float(left), self.as_float(right)
        physical = self.types[left]
        result = physical if op in ex.ARITHMETIC else BOOL
        return self.emit(f"{op}_{SUFFIX[physical]}", result, left, right)

    def lower_is_in(self, e: ex.IsIn) -> int:
        arg = self.lower(e.arg)
        if self.types[arg] == BOOL or not e.values:
            found = self.constant(BOOL, 0)
            for v in e.values:
                found = self.emit("or", BOOL, found, self.emit("eq_b", BOOL, arg, self.constant(BOOL, int(bool(v)))))
            return found
        pairs = [literal_value(v) for v in e.values]
        if self.types[arg] == I64 and any(p == F64 for p, _ in pairs):
            arg = self.as_float(arg)
        physical = self.types[arg]
        values = sorted({float(v) if physical == F64 else v for _, v in pairs if v == v})
        first = self.shared.constant_block(physical, values)
        if len(values) > 0xFFFF:
            raise ExpressionError(f"{e!r:.80}: a set of {len(values)} values; at most 65535 are allowed")
        return self.emit("in_" + SUFFIX[physical], BOOL, arg, len(values), first)

    def lower_str(self, e: ex.StrOp) -> int:
        if e.op != "matches":
            return self.emit(e.op, BOOL, self.lower(e.arg), 0, self.shared.constant(STR, e.pattern.encode()))
        if not isinstance(e.arg, ex.Column | ex.Prev | ex.Agg):
            raise ExpressionError(f"{e!r}: a regular expression is matched against a column")
        name = e.arg.column if isinstance(e.arg, ex.Agg) else e.arg.name
        self.shared.column(name)
        hidden = self.shared.hidden("regex", "bool", ex.StrOp("matches", ex.Column(name), e.pattern))
        found = self.lower_value(e.arg, hidden)
        return self.emit("defined", BOOL, found, found) if isinstance(e.arg, ex.Agg) else found

    def lower_func(self, e: ex.Func) -> int:
        args = [self.lower(a) for a in e.args]
        if e.fn in ("least", "greatest"):
            if len({self.types[a] for a in args}) > 1:
                args = [self.as_float(a) for a in args]
            physical = self.types[args[0]]
            op = ("min_" if e.fn == "least" else "max_") + SUFFIX[physical]
            reg = args[0]
            for other in args[1:]:
                reg = self.emit(op, physical, reg, other)
            return reg
        if e.fn == "abs":
            return self.emit("abs_" + SUFFIX[self.types[args[0]]], self.types[args[0]], args[0], args[0])
        floats = [self.as_float(a) for a in args]
        return self.emit(e.fn, F64, floats[0], floats[-1])

    # -- the end

    def finish(self) -> Program:
        """Map virtual registers onto as few real ones as their lifetimes allow."""
        code = gather_thresholds(self.code, self.shared.tables)
        last = {r: at for at, i in enumerate(code) for r in _operands(i)}
        real: dict[int, int] = {}
        free: list[int] = []
        n = 0
        out: list[Instruction] = []
        for at, i in enumerate(code):
            operands = _operands(i)
            a = real[i.a] if operands else i.a
            b = real[i.b] if len(operands) == 2 else i.b
            dst = 0
            if i.op not in EFFECTS:
                if free:
                    dst = free.pop()
                else:
                    dst, n = n, n + 1
                real[i.dst] = dst
                if i.dst not in last:
                    free.append(dst)
            free += [real[r] for r in set(operands) if last[r] == at]
            out.append(Instruction(i.op, i.flags, dst, a, b, i.imm))
        return Program(n, tuple(out))


def _operands(i: Instruction) -> tuple[int, ...]:
    """The registers that an instruction reads."""
    if i.op in ("load", "const", "agg", "avg", "count"):
        return ()
    return (i.a,) if i.op.startswith(("in_", "thresholds_")) else (i.a, i.b)


__all__ = ["PHYSICAL", "Builder", "Registers", "Shared", "literal_value"]
