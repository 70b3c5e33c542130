"""Plan: the flat tables that an engine runs, and what Python needs to know beside them.

The bytes are what csrc/plan.c loads; their layout is docs/formats.md's. Everything is little-endian; an array is its
length (u32) and then its records without padding.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fyke.expr import Expr

MAGIC: Final = 0x34504B46  # "FKP4"
NONE: Final = 0xFFFFFFFF

I64, F64, BOOL, STR = 0, 1, 2, 3
PHYSICAL: Final = {
    "int64": I64, "timestamp": I64, "duration": I64, "date": I64, "float64": F64, "bool": BOOL, "string": STR,
    "bytes": STR, "any": STR, "opaque": BOOL,
}  # fmt: skip

# The order is the enum's in csrc/plan.h.
OPS: Final = {
    name: code
    for code, name in enumerate(
        """load const agg avg count empty i2f
        add_i sub_i mul_i floordiv_i mod_i neg_i abs_i min_i max_i
        add_f sub_f mul_f div_f floordiv_f mod_f neg_f abs_f min_f max_f atan2
        sqrt sin cos asin acos atan exp log floor ceil radians
        eq_i ne_i lt_i le_i eq_f ne_f lt_f le_f eq_s ne_s lt_s le_s eq_b ne_b
        and or not is_null defined in_i in_f in_s starts_with ends_with contains bit result store
        thresholds_i thresholds_f thresholds_s""".split()  # noqa: SIM905
    )
}


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column that conditions or keys read.

    kind: "input" (a column of the data), "computed" (a key expression), "regex" or "call" (a condition that Arrow or
    Python judges for a whole batch); `source` is the expression behind the last three.
    """

    name: str
    type: str
    kind: str = "input"
    source: Expr | None = None

    @property
    def physical(self) -> int:
        return PHYSICAL[self.type]


@dataclass(frozen=True, slots=True)
class Instruction:
    op: str
    flags: int
    dst: int
    a: int
    b: int
    imm: int

    def pack(self) -> bytes:
        return struct.pack("<BBHHHI", OPS[self.op], self.flags, self.dst, self.a, self.b, self.imm)


@dataclass(frozen=True, slots=True)
class Program:
    n_registers: int
    instructions: tuple[Instruction, ...]

    def pack(self) -> bytes:
        body = b"".join(i.pack() for i in self.instructions)
        return struct.pack("<II", self.n_registers, len(self.instructions)) + body


def array(code: str, rows: list[tuple[int, ...]]) -> bytes:
    """Pack records of one struct code, with their number in front."""
    packer = struct.Struct("<" + code)
    return struct.pack("<I", len(rows)) + b"".join(packer.pack(*row) for row in rows)


@dataclass
class Tables:
    """The arrays of a plan while it is being compiled; the field order is that of the bytes."""

    mask_words: int = 1
    row_program: int = NONE
    computed_program: int = NONE
    columns: list[ColumnPlan] = field(default_factory=list)
    constants: list[bytes] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)
    programs: list[Program] = field(default_factory=list)
    conditions: list[tuple[int, ...]] = field(default_factory=list)
    guard_steps: list[tuple[int, ...]] = field(default_factory=list)
    guards: list[tuple[int, ...]] = field(default_factory=list)
    edges: list[tuple[int, ...]] = field(default_factory=list)
    states: list[tuple[int, ...]] = field(default_factory=list)
    cares: list[int] = field(default_factory=list)
    updates: list[tuple[int, ...]] = field(default_factory=list)
    stages: list[tuple[int, ...]] = field(default_factory=list)
    key_columns: list[int] = field(default_factory=list)
    keyspaces: list[tuple[int, ...]] = field(default_factory=list)
    patterns: list[tuple[int, ...]] = field(default_factory=list)
    compacts: list[tuple[int, ...]] = field(default_factory=list)
    compact_conditions: list[int] = field(default_factory=list)
    compact_states: list[tuple[int, ...]] = field(default_factory=list)
    compact_sets: list[int] = field(default_factory=list)
    compact_cells: list[tuple[int, ...]] = field(default_factory=list)
    compact_takes: list[tuple[int, ...]] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        return b"".join(
            [
                struct.pack("<IIII", MAGIC, self.mask_words, self.row_program, self.computed_program),
                struct.pack("<I", len(self.columns)) + bytes(c.physical for c in self.columns),
                struct.pack("<I", len(self.constants)) + b"".join(self.constants),
                struct.pack("<I", len(self.text)) + bytes(self.text),
                struct.pack("<I", len(self.programs)) + b"".join(p.pack() for p in self.programs),
                array("III", self.conditions),
                array("II", self.guard_steps),
                array("III", self.guards),
                array("IIIIIIq", self.edges),
                array("IIqIIIIII", self.states),
                array("Q", [(c,) for c in self.cares]),
                array("IIII", self.updates),
                array("II", self.stages),
                array("I", [(c,) for c in self.key_columns]),
                array("IIII", self.keyspaces),
                array("IIIIIIIIqIIIIIIIIII", self.patterns),
                array("IIIII", self.compacts),
                array("I", [(c,) for c in self.compact_conditions]),
                array("II", self.compact_states),
                array("Q", [(s,) for s in self.compact_sets]),
                array("II", self.compact_cells),
                array("II", self.compact_takes),
            ]
        )


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage; `repeats`: a match can hold several of its events, `negated`: it holds none."""

    name: str
    repeats: bool
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PatternPlan:
    """What results and snapshots need of a pattern; of one that is not compiled yet: its name, stages and key.

    `state_places`: of each state, its stage, and which of how many states of that it is; `registers`: what each holds,
    as (kind, stage, column); `has_lag`: whether the latest events of its keys are held, for prev.
    """

    name: str | None
    stages: tuple[StagePlan, ...]
    key: tuple[Expr, ...]
    key_types: tuple[str, ...] = ()
    key_columns: tuple[int, ...] = ()
    n_registers: int = 0
    node_registers: tuple[int, ...] = ()
    state_names: tuple[str, ...] = ()
    has_window: bool = False
    state_places: tuple[tuple[str | None, int, int], ...] = ()
    registers: tuple[tuple[str, str, str], ...] = ()
    keyspace: int = 0
    has_lag: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What `compile` makes of patterns and a schema.

    Attributes:
        tables: the bytes for the compiled core.
        columns: what conditions and keys read, in the order of column numbers.
        patterns: per pattern, what results need.
        callables: Python conditions on partial matches, by number, each with its pattern's.
        types: (name, type) of every column that a pattern names, also where its condition was folded away.
        definition: canonical text of patterns and column types; its digest is the fingerprint.
        notes: lines for `explain`.
    """

    tables: bytes
    columns: tuple[ColumnPlan, ...]
    patterns: tuple[PatternPlan, ...]
    callables: tuple[tuple[int, Callable[..., Any]], ...]
    types: tuple[tuple[str, str], ...]
    definition: str
    notes: tuple[str, ...]
    serialisable: bool

    @property
    def fingerprint(self) -> str:
        """Give a digest that is equal for equal patterns over equal column types."""
        return hashlib.sha256(self.definition.encode()).hexdigest()
