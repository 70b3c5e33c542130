"""The stored form of stages and skip strategies: plain dicts, lists and scalars for JSON. Patterns add the version.

A change of this form needs a new version, and a reader of the old one: patterns are stored for long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fyke import expr as ex
from fyke.stage import Quantifier, Skip, Stage

__all__ = ["JSON_VERSION", "skip_from_json", "skip_to_json", "stage_from_json", "stage_to_json"]

# A reader refuses every other version.
JSON_VERSION: Final = 1


def stage_to_json(stage: Stage) -> dict[str, Any]:
    """Give a stage, and the stages in it if it is a group, as dicts."""
    quantifier = stage.quantifier
    return {
        "name": stage.name,
        "contiguity": stage.contiguity,
        "where": None if stage.where is None else ex.to_json(stage.where),
        "quantifier": {
            "kind": quantifier.kind,
            "min": quantifier.min,
            "max": quantifier.max,
            "optional": quantifier.optional,
            "greedy": quantifier.greedy,
            "inner": quantifier.inner,
            "within": quantifier.within,
        },
        "until": None if stage.until is None else ex.to_json(stage.until),
        "within": stage.within,
        "group": None if stage.group is None else [stage_to_json(inner) for inner in stage.group],
    }


def stage_from_json(node: Mapping[str, Any], callables: bool) -> Stage:
    """Read a stage that `stage_to_json` wrote; `callables`: import the Python functions it names."""
    where, until, group = node["where"], node["until"], node["group"]
    return Stage(
        node["name"],
        node["contiguity"],
        None if where is None else ex.from_json(where, callables=callables),
        Quantifier(**node["quantifier"]),
        None if until is None else ex.from_json(until, callables=callables),
        node["within"],
        None if group is None else tuple(stage_from_json(inner, callables) for inner in group),
    )


def skip_to_json(strategy: Skip) -> dict[str, Any]:
    """Give a skip strategy as a dict."""
    return {"kind": strategy.kind, "stage": strategy.stage, "throw": strategy.throw}


def skip_from_json(node: Mapping[str, Any]) -> Skip:
    """Read a skip strategy that `skip_to_json` wrote."""
    return Skip(node["kind"], node["stage"], node["throw"])
