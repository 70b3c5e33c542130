"""Many comparisons of one value with constants: made one instruction, with the answers of each alone."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import Expr, Schema, begin, col, prev
from fyke.compiler import compile_plan
from fyke.thresholds import FEWEST
from tests.unit.plan_tables import NONE, ops, read_plan

SCHEMA = Schema.of(t="int64", n="int64", x="float64", s="string")
COMPARISONS: list[Callable[[Any, Any], Any]] = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq]


def row_ops(conditions: list[Expr], prefix: str = "thresholds") -> list[str]:
    plan = read_plan(compile_plan([begin("a", c) for c in conditions], SCHEMA).tables)
    programs = [plan.row_program, *[k.lag_program for k in plan.keyspaces]]
    return [op for p in programs if p != NONE for op in ops(plan, p) if op.startswith(prefix)]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_of_a_value_with_many_constants_are_one_instruction(compare: Callable[[Any, Any], Expr]) -> None:
    many = range(FEWEST)
    assert row_ops([compare(col.n, i) for i in many]) == ["thresholds_i"]
    assert row_ops([compare(col.n, i + 0.5) for i in many]) == ["thresholds_f"]
    assert row_ops([compare(i, col.x * 2) for i in many]) == ["thresholds_f"]
    assert row_ops([compare(prev.n, i) for i in many]) == ["thresholds_i"]
    assert row_ops([compare(col.n, i) for i in many[1:]]) == []


def test_texts_are_gathered_for_equality_only() -> None:
    texts = [f"text {i}" for i in range(FEWEST)]
    assert row_ops([col.s == text for text in texts]) == ["thresholds_s"]
    assert row_ops([col.s < text for text in texts]) == []


def test_a_comparison_that_something_else_reads_stays() -> None:
    few = [col.n < i for i in range(FEWEST - 1)]
    assert row_ops([c & (col.x > 0) for c in few] + [(col.n < 90) & (col.x > 0)]) == []
    assert row_ops([*few, (col.n < 90) | (col.x > 0)]) == []
    assert row_ops([*few, col.n < 90, (col.n < 3) | (col.x > 0)]) == []
    assert row_ops([*few, col.n < 90, (col.n < 91) | (col.x > 0)]) == ["thresholds_i"]


def test_constants_that_nothing_reads_any_more_are_not_loaded() -> None:
    assert row_ops([col.n < i for i in range(FEWEST)], "const") == []
    assert row_ops([*[col.n < i for i in range(FEWEST)], col.n != 3], "const") == ["const"]


def found(conditions: list[Expr], rows: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """(condition, row) wherever one holds."""
    patterns = {f"p{i}": begin("a", c) for i, c in enumerate(conditions)}
    engine = fyke.Engine(patterns, time="t", unit="s", schema=SCHEMA)
    results = [engine.push(rows), engine.flush()]
    engine.check()
    return {(m.pattern or "", m.events[0][1].position) for result in results for m in result}


FLOATS = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, 1e300, -math.inf, math.inf, math.nan])
INTS = st.sampled_from([0, 1, -1, 2, 3, 2**62, -(2**63), 2**63 - 1])
TEXTS = st.sampled_from(["", "a", "ab", "b", "\u00e9", "\U0001f41f", "a\0b"])
KINDS = {
    "n": (INTS, INTS),
    "x": (FLOATS.filter(lambda x: not math.isnan(x)), FLOATS),
    "s": (TEXTS, TEXTS),
    "mixed": (st.sampled_from([-2.5, 0.0, 0.5, 1.0]), st.sampled_from([-3, 0, 1, 2])),  # floats against integers
}


@settings(max_examples=60)
@given(data=st.data(), kind=st.sampled_from(sorted(KINDS)))
def test_each_condition_gets_its_own_answer(data: st.DataObject, kind: str) -> None:
    """Also with null, NaN, infinities, both zeros, constants twice, and integers compared with floats."""
    constants, values = KINDS[kind]
    name = "n" if kind == "mixed" else kind
    compares = st.sampled_from(COMPARISONS if kind != "s" else [operator.eq])
    pairs = data.draw(st.lists(st.tuples(compares, constants), min_size=1, max_size=60))
    drawn = data.draw(st.lists(st.none() | values, min_size=1, max_size=12))
    rows: list[dict[str, Any]] = [
        {"t": i, "n": None, "x": None, "s": None} | {name: value} for i, value in enumerate(drawn)
    ]
    wanted = {
        (f"p{p}", i)
        for p, (compare, constant) in enumerate(pairs)
        for i, row in enumerate(rows)
        if row[name] is not None and compare(row[name], constant)
    }
    assert found([compare(col[name], constant) for compare, constant in pairs], rows) == wanted
