"""The plan's bytes: their layout, its agreement with the C header, and what the core says to damaged ones."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fyke import Schema, StateError, begin, col, prev, ref, skip
from fyke._core import Core
from fyke.batches import Encoder, Payloads, RowView
from fyke.compiler import compile_plan
from fyke.errors import FykeError
from fyke.plan import NONE, OPS, PHYSICAL, ColumnPlan, Instruction, Plan, Program, Tables, array
from tests.unit.plan_tables import read_plan

HEADER = (Path(__file__).parents[2] / "csrc" / "plan.h").read_text()
SCHEMA = Schema.of(x="float64", n="int64", k="string", b="bool")
PATTERNS = [
    begin("a", col.x > 0)
    .one_or_more()
    .greedy()
    .followed_by("b", (col.n > ref("a").n.sum()) & (col.k != ref("a").k) & (prev.n < col.n))
    .followed_by("c", col.k.is_in(["x", "y"]))
    .not_followed_by("d", col.b == True)  # noqa: E712
    .within("10s")
    .by("k"),
    begin("s", col.x.sqrt() > 0)
    .next("t", ~col.k.starts_with("x") & (ref("s").x.max() >= col.x))
    .within(gap="5s")
    .by(col.n % 3),
    begin("p", col.n > 0)
    .next("q", (col.x != prev.x) | ~(col.n < 3))
    .next("r")
    .within("8s")
    .by("k")
    .skip(skip.to_last("q")),
]
ROWS = [{"t": i, "x": float(i % 3), "n": i % 5, "k": "xyz"[i % 3], "b": i % 2 == 0} for i in range(40)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_plan(PATTERNS, SCHEMA)


# --- layout ---------------------------------------------------------------------------------------------------------


def enum(name: str) -> list[str]:
    """The names of a C enum, in order."""
    found = re.search(rf"enum {name} {{(.*?)}}", HEADER, re.DOTALL)
    assert found
    without_comments = re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)
    return [word.split("=")[0].strip() for word in without_comments.split(",") if word.strip()]


def test_operations_are_numbered_as_in_the_header() -> None:
    """Two lists of one order: a new operation goes into both."""
    names = [name for name in enum("vm_op") if name != "OP_COUNT_OF_OPS"]
    assert names == [f"OP_{name.upper()}" for name in OPS]


def test_tables_that_are_empty_are_counts_of_zero() -> None:
    """Magic, mask words, no row program, no computed program, then fifteen arrays."""
    assert Tables().to_bytes() == b"FKP4" + b"\1\0\0\0" + b"\xff" * 8 + bytes(4) * 21


def test_the_bytes_are_as_documented() -> None:
    """A record of each array, every field with a value of its own."""
    t = Tables(
        mask_words=2,
        row_program=0,
        computed_program=NONE,
        columns=[ColumnPlan("x", "float64"), ColumnPlan("k", "any")],
        constants=[b"constant" + bytes(8)],
        text=bytearray(b"abc"),
        programs=[Program(3, (Instruction("lt_f", 1, 2, 3, 4, 5),))],
        conditions=[(0, 1, 2)],
        guard_steps=[(1, 2)],
        guards=[(4, 5, 6)],
        edges=[(0, 1, 2, 3, 4, 1, 2**40)],
        states=[(1, 2, -1, 3, 4, 1, 6, 0, 0)],
        cares=[2**63],
        updates=[(1, 2, 3, 4)],
        stages=[(5, 6)],
        key_columns=[7],
        keyspaces=[(0, 1, 1, NONE)],
        patterns=[(1, 2, 3, 4, 5, 0, 7, 1, 2**33, 10, 1, 12, 13, 1, 1, 1, 0, 3, NONE)],
        compacts=[(0, 1, 2, 3, 4)],
        compact_conditions=[6],
        compact_states=[(0, 1)],
        compact_sets=[2**32],
        compact_cells=[(1, 2)],
        compact_takes=[(3, NONE)],
    )
    expected = """
        464b5034 02000000 00000000 ffffffff
        02000000 0103
        01000000 636f6e7374616e74 0000000000000000
        03000000 616263
        01000000 03000000 01000000 2c 01 0200 0300 0400 05000000
        01000000 00000000 01000000 02000000
        01000000 01000000 02000000
        01000000 04000000 05000000 06000000
        01000000 00000000 01000000 02000000 03000000 04000000 01000000 0000000000010000
        01000000 01000000 02000000 ffffffffffffffff 03000000 04000000 01000000 06000000 00000000 00000000
        01000000 0000000000000080
        01000000 01000000 02000000 03000000 04000000
        01000000 05000000 06000000
        01000000 07000000
        01000000 00000000 01000000 01000000 ffffffff
        01000000 01000000 02000000 03000000 04000000 05000000 00000000 07000000 01000000
                 0000000002000000 0a000000 01000000 0c000000 0d000000 01000000 01000000 01000000 00000000
                 03000000 ffffffff
                    01000000 00000000 01000000 02000000 03000000 04000000
            01000000 06000000
            01000000 00000000 01000000
            01000000 0000000001000000
            01000000 01000000 02000000
            01000000 03000000 ffffffff
    """
    assert t.to_bytes().hex() == "".join(expected.split())


def test_an_array_is_its_length_and_its_records() -> None:
    """Without padding between fields of different size."""
    assert array("Iq", [(1, -1)]) == b"\1\0\0\0" + b"\1\0\0\0" + b"\xff" * 8


def test_every_column_type_has_a_physical_one(plan: Plan) -> None:
    """What expressions tell apart, the core does not."""
    assert set(PHYSICAL.values()) == {0, 1, 2, 3}
    assert [c.physical for c in plan.columns] == [PHYSICAL[c.type] for c in plan.columns]


def test_a_compiled_plan_reads_back(plan: Plan) -> None:
    """By a reader that was written from the documentation."""
    tables = read_plan(plan.tables)
    assert [p.n_states for p in tables.patterns] == [len(p.state_names) for p in plan.patterns]
    assert [p.n_registers for p in tables.patterns] == [p.n_registers for p in plan.patterns]
    assert tables.patterns[0].window == 10_000_000_000
    assert len(tables.stages) == sum(len(p.stages) for p in plan.patterns)


# --- damaged bytes --------------------------------------------------------------------------------------------------


def core(plan: Plan, tables: bytes) -> Any:
    names = tuple(tuple(s.name for s in p.stages) for p in plan.patterns)
    options = {"timeouts": True, "max_partials": 50, "max_partials_policy": 1}
    return Core(tables, (), names, lambda s, row: RowView(s.source, row), Payloads, 2_000_000_000, options)


def run(plan: Plan, tables: bytes) -> str:
    """Load the bytes; if the core takes them, push rows through them."""
    try:
        loaded = core(plan, tables)
    except StateError:
        return "refused"
    encoder = Encoder(plan, "t", "s", None)
    try:
        for i in range(0, len(ROWS), 20):
            loaded.push(encoder.from_rows(ROWS[i : i + 20], np.arange(i, i + 20, dtype=np.uint64)))
        loaded.compact()
        loaded.flush()
    except (FykeError, IndexError):
        return "stopped"
    return "ran"


def test_a_sound_plan_runs(plan: Plan) -> None:
    """Otherwise what follows proves nothing."""
    assert run(plan, plan.tables) == "ran"


def test_a_plan_that_is_cut_short_is_refused(plan: Plan) -> None:
    """Wherever it is cut; and one that goes on too long."""
    for n in range(0, len(plan.tables), 3):
        with pytest.raises(StateError, match="plan: "):
            core(plan, plan.tables[:n])
    with pytest.raises(StateError, match="left over"):
        core(plan, plan.tables + b"\0")


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [(0, 0, "not a plan"), (4, 0, "mask words"), (7, 255, "mask words"), (20, 9, "unknown type")],
)
def test_the_reason_says_what_is_wrong(plan: Plan, at: int, value: int, reason: str) -> None:
    """In words."""
    damaged = bytearray(plan.tables)
    damaged[at] = value
    with pytest.raises(StateError, match=reason):
        core(plan, bytes(damaged))


@pytest.mark.parametrize("seed", range(200))
def test_a_plan_with_other_bytes_is_refused_or_harmless(plan: Plan, seed: int) -> None:
    """Every index is checked when the plan is loaded: whatever is taken runs inside its bounds."""
    numbers = random.Random(seed)
    damaged = bytearray(plan.tables)
    for _ in range(numbers.choice([1, 1, 2, 8])):
        damaged[numbers.randrange(len(damaged))] = numbers.choice([0, 1, 2, 3, 4, 7, 254, 255, numbers.randrange(256)])
    assert run(plan, bytes(damaged)) in ("refused", "stopped", "ran")
