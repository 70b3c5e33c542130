"""Plan bytes taken apart again, by docs/formats.md and not by the code that writes them."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from fyke.plan import OPS, PHYSICAL

NONE = 0xFFFFFFFF
OP_NAMES = {code: name for name, code in OPS.items()}
TYPES = {0: "i64", 1: "f64", 2: "bool", 3: "text"}
assert set(PHYSICAL.values()) == set(TYPES)

RECORDS = {
    "conditions": ("III", "program callable pattern"),
    "guard_steps": ("II", "op arg"),
    "guards": ("III", "kind arg n_steps"),
    "edges": ("IIIIIIq", "action target stage guard final_guard gap_guarded gap"),
    "states": ("IIqIIIIII", "kind stage gap first_edge n_edges quiet first_care zero1 zero2"),
    "cares": ("Q", "word"),
    "updates": ("IIII", "kind slot column count_slot"),
    "stages": ("II", "first n"),
    "key_columns": ("I", "column"),
    "keyspaces": ("IIII", "first_column n_columns needs_lag lag_program"),
    "patterns": (
        "IIIIIIIIqIIIIIIIIII",
        "first_state n_states first_stage n_stages keyspace skip_kind skip_stage skip_throws window n_registers "
        "every_row first_care first_start_care start_quiet has_gaps strategy compact "
        "index_column index_of",
    ),
    "compacts": ("IIIII", "first_condition n_conditions n_states first_state first_cell"),
    "compact_conditions": ("I", "guard"),
    "compact_states": ("II", "first_set n_sets"),
    "compact_sets": ("Q", "states"),
    "compact_cells": ("II", "first_take n_takes"),
    "compact_takes": ("II", "stage target"),
}


def read_plan(data: bytes) -> Any:
    """The header's numbers and every array, records as namespaces; fails if bytes are missing or left over."""
    at = 0

    def take(code: str) -> tuple[Any, ...]:
        nonlocal at
        values = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize("<" + code)
        return values

    plan = SimpleNamespace()
    magic, plan.mask_words, plan.row_program, plan.computed_program = take("IIII")
    assert magic == int.from_bytes(b"FKP4", "little")
    plan.columns = [TYPES[t] for t in take(f"{take('I')[0]}B")]
    plan.constants = [take("8sQ") for _ in range(take("I")[0])]
    plan.text = take(f"{take('I')[0]}s")[0]
    plan.programs = []
    for _ in range(take("I")[0]):
        n_registers, n = take("II")
        code = [(OP_NAMES[op], *rest) for op, *rest in (take("BBHHHI") for _ in range(n))]
        plan.programs.append(SimpleNamespace(n_registers=n_registers, code=code))
    for name, (code, fields) in RECORDS.items():
        rows = [take(code) for _ in range(take("I")[0])]
        setattr(plan, name, [SimpleNamespace(**dict(zip(fields.split(), row, strict=True))) for row in rows])
    assert at == len(data)
    return plan


def bits(plan: Any, first_care: int) -> set[int]:
    """The bits of the care words that start here."""
    words = [c.word for c in plan.cares[first_care : first_care + plan.mask_words]]
    return {64 * i + b for i, word in enumerate(words) for b in range(64) if word >> b & 1}


def ops(plan: Any, program: int) -> list[str]:
    """The names of a program's instructions."""
    return [] if program == NONE else [i[0] for i in plan.programs[program].code]


def guard(plan: Any, index: int) -> str:
    """A guard as text: always, never, a bit, or short-circuit code."""
    g = plan.guards[index]
    if g.kind < 4:
        return ["always", "never", f"bit {g.arg}", f"not bit {g.arg}"][g.kind]
    names = ["bit", "condition", "not", "false->", "true->", "true", "false"]
    steps = [(names[s.op], s.arg) for s in plan.guard_steps[g.arg : g.arg + g.n_steps]]
    return "; ".join(name if name in ("not", "true", "false") else f"{name} {arg}" for name, arg in steps)


def states(plan: Any, pattern: int = 0) -> list[Any]:
    """The states of one pattern."""
    p = plan.patterns[pattern]
    return plan.states[p.first_state : p.first_state + p.n_states]


def edges(plan: Any, state: Any) -> list[str]:
    """A state's edges: action, guard, target within the plan."""
    found = plan.edges[state.first_edge : state.first_edge + state.n_edges]
    return [f"{['take', 'ignore', 'stop'][e.action]} if {guard(plan, e.guard)} -> {e.target}" for e in found]
