"""Turn a pattern of the conformance corpora (JSON, times in milliseconds) into a fyke Pattern by the public builder.

The fields of their events are t, type, v and id. One corpus millisecond becomes one nanosecond, the engine's tick.
"""

from __future__ import annotations

from typing import Any

import fyke
from fyke import Expr, Pattern, col, lit, ref

TICK_NS = 1


def to_pattern(case_pattern: dict[str, Any]) -> Pattern:
    """Build the pattern; raises what the builder or `check()` raises."""
    pattern = _sequence(case_pattern["stages"])
    if case_pattern["within"] is not None:
        pattern = pattern.within(_ticks(case_pattern["within"]))
    strategy = case_pattern["skip"]
    if strategy["kind"] in ("to_first", "to_last"):
        pattern = pattern.skip(getattr(fyke.skip, strategy["kind"])(strategy["stage"], throw=strategy["throw"]))
    elif strategy["kind"] != "no_skip":
        pattern = pattern.skip(getattr(fyke.skip, strategy["kind"])())
    pattern.check()
    return pattern


def _sequence(stages: list[dict[str, Any]]) -> Pattern:
    pattern: Pattern | None = None
    for stage in stages:
        group = stage.get("group")
        what = _sequence(group["stages"]) if group else stage["name"]
        pattern = fyke.begin(what) if pattern is None else getattr(pattern, stage["contiguity"])(what)
        if stage.get("where") is not None:
            pattern = pattern.where(to_expr(stage["where"]))
        pattern = _quantified(pattern, stage["quantifier"])
        if stage["until"] is not None:
            pattern = pattern.until(to_expr(stage["until"]))
        if stage["within"] is not None:
            pattern = pattern.within(gap=_ticks(stage["within"]))
    assert pattern is not None
    return pattern


def _quantified(pattern: Pattern, quantifier: dict[str, Any]) -> Pattern:
    within = None if quantifier.get("within") is None else _ticks(quantifier["within"])
    match quantifier["kind"]:
        case "one_or_more":
            pattern = pattern.one_or_more(within)
        case "times_or_more":
            pattern = pattern.times_or_more(quantifier["min"], within)
        case "times" if quantifier["min"] == quantifier["max"]:
            pattern = pattern.times(quantifier["min"], within=within)
        case "times":
            pattern = pattern.times(quantifier["min"], quantifier["max"], within)
    match quantifier["inner"]:
        case "strict":
            pattern = pattern.consecutive()
        case "combinations":
            pattern = pattern.allow_combinations()
    if quantifier["optional"]:
        pattern = pattern.optional()
    if quantifier["greedy"]:
        pattern = pattern.greedy()
    return pattern


def _ticks(milliseconds: int) -> str:
    return f"{milliseconds * TICK_NS}ns"


COMPARISONS = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def to_expr(node: dict[str, Any]) -> Expr:
    """Build a condition of the corpora."""
    op = node["op"]
    match op:
        case "true":
            return lit(True)
        case "false":
            return lit(False)
        case "not":
            return ~to_expr(node["arg"])
        case "and" | "or":
            joined = [to_expr(arg) for arg in node["args"]]
            result = joined[0]
            for part in joined[1:]:
                result = result & part if op == "and" else result | part
            return result
        case "in":
            return col[node["field"]].is_in(node["values"])
    if "left" in node:
        return COMPARISONS[op](_number(node["left"]), _number(node["right"]))
    right = _number(node["ref"]) if "ref" in node else node["value"]
    return COMPARISONS[op](col[node["field"]], right)


def _number(node: Any) -> Expr:
    if not isinstance(node, dict):
        return lit(node)
    if "const" in node:
        return lit(node["const"])
    if "agg" in node:
        return getattr(ref(node["stage"])[node["field"]], node["agg"])(empty=node.get("empty"))
    if "field" in node:
        return col[node["field"]]
    (op, args), *_ = node.items()
    result = _number(args[0])
    for arg in args[1:]:
        result = result + _number(arg) if op == "add" else result * _number(arg)
    return result
