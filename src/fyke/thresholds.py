"""Many comparisons of one value with constants, made one: hundreds of patterns often differ in a number only.

    lt_f v 10 -> bit 0,  lt_f v 20 -> bit 1,  lt_f v 30 -> bit 2 ...     thresholds_f v, lt, {10: 0, 20: 1, 30: 2 ...}

The constants are sorted, so a row pays one comparison with the outermost, and where that holds a search and a step per
bit set, instead of a comparison per condition.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from fyke.plan import F64, I64, STR, Instruction, Tables

FEWEST: Final = 8
"""So many comparisons of one value and kind are worth it; a few are faster over whole columns."""

KINDS: Final = ("lt", "le", "gt", "ge", "eq")
"""In the order of enum threshold_kind in csrc/plan.h; of the value, against the constant."""

_TYPES: Final = {"i": I64, "f": F64, "s": STR}
_MIRRORED: Final = {"lt": "gt", "le": "ge", "eq": "eq"}

Rung = tuple[int | float | bytes, bytes, int]
"""A constant's value, the constant as packed, and the bit that is set where the comparison with it holds."""


def gather_thresholds(code: Sequence[Instruction], tables: Tables) -> list[Instruction]:
    """Give the program with each large group of comparisons made one instruction, and without constants nobody reads.

    Args:
        code: in static single assignment form; a comparison is taken only if nothing but bits reads it.
        tables: of the plan; holds the constants.
    """
    made_by = {i.dst: i for i in code if i.op not in ("bit", "result", "store")}
    bits: dict[int, list[int]] = defaultdict(list)
    otherwise_read: set[int] = set()
    for i in code:
        if i.op == "bit":
            bits[i.a].append(i.imm)
        elif i.op not in ("load", "const", "agg", "avg", "count"):
            otherwise_read |= {i.a, i.b}
    groups: dict[tuple[int, str, str], list[tuple[int, Rung]]] = defaultdict(list)
    for register, numbers in bits.items():
        found = None if register in otherwise_read else _rung(made_by[register], made_by, tables)
        if found is not None:
            value, kind, suffix, constant, packed = found
            groups[value, kind, suffix] += [(register, (constant, packed, bit)) for bit in numbers]
    gone: set[int] = set()
    added: list[Instruction] = []
    for (value, kind, suffix), members in groups.items():
        if FEWEST <= len(members) <= 0xFFFF:
            gone |= {register for register, _ in members}
            first = _write_rungs(sorted((rung for _, rung in members), key=lambda r: (r[0], r[2])), tables)
            added.append(Instruction(f"thresholds_{suffix}", KINDS.index(kind), 0, value, len(members), first))
    kept = [i for i in code if (i.a if i.op == "bit" else i.dst) not in gone or i.op in ("result", "store")]
    return _without_unread_constants(kept + added)


def _rung(
    i: Instruction, made_by: dict[int, Instruction], tables: Tables
) -> tuple[int, str, str, int | float | bytes, bytes] | None:
    """A comparison with a constant: the value's register, the kind, the type, the constant; None if it is none."""
    kind, _, suffix = i.op.rpartition("_")
    if kind not in _MIRRORED or suffix not in _TYPES or (suffix == "s" and kind != "eq"):
        return None
    left, right = made_by[i.a], made_by[i.b]
    if (left.op == "const") == (right.op == "const"):
        return None
    constant, value, kind = (right, i.a, kind) if right.op == "const" else (left, i.b, _MIRRORED[kind])
    packed = tables.constants[constant.imm]
    number = _unpacked(packed, suffix, tables)
    return (value, kind, suffix, number, packed) if number == number else None  # nothing compares with NaN


def _unpacked(packed: bytes, suffix: str, tables: Tables) -> int | float | bytes:
    if suffix == "s":
        at, size = struct.unpack("<QQ", packed)
        return bytes(tables.text[at : at + size])
    number: int | float = struct.unpack("<dQ" if suffix == "f" else "<qQ", packed)[0]
    return number


def _write_rungs(rungs: Sequence[Rung], tables: Tables) -> int:
    """Append the constants, ascending, and then the numbers of their bits; give the place of the first."""
    first = len(tables.constants)
    tables.constants += [packed for _, packed, _ in rungs]
    tables.constants += [struct.pack("<qQ", bit, 0) for _, _, bit in rungs]
    return first


def _without_unread_constants(code: Sequence[Instruction]) -> list[Instruction]:
    read: set[int] = set()
    for i in code:
        if i.op not in ("load", "const", "agg", "avg", "count"):
            read |= {i.a} if i.op.startswith(("in_", "thresholds_")) else {i.a, i.b}
    return [i for i in code if i.op != "const" or i.dst in read]
