"""Every ready pattern on a small log beside this file: the expected matches name rows by their column n."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import fyke
from fyke import Pattern, patterns
from fyke.patterns import flights, fraud, iot, security, shop, trading

HERE = Path(__file__).parent


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read a log; its times are ISO 8601."""
    rows = [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]
    return [row | {"ts": datetime.fromisoformat(row["ts"])} for row in rows]


def told(match: Any) -> str:
    """Write a match as "stage=n,n stage=n"."""
    stages: dict[str, list[str]] = {}
    for stage, event in match.events:
        stages.setdefault(stage, []).append(str(event["n"]))
    return " ".join(f"{stage}={','.join(numbers)}" for stage, numbers in stages.items())


def matches_of(pattern: Pattern, rows: list[dict[str, Any]], batch: int, out_of_order: str = "0s") -> list[str]:
    """Run a log through an engine, in batches, and to its end."""
    engine = fyke.Engine(pattern, time="ts", out_of_order=out_of_order)
    found: list[Any] = []
    for start in range(0, len(rows), batch):
        found += engine.push(rows[start : start + batch])
    found += engine.flush()
    return [told(match) for match in found]


CASES: list[tuple[Callable[..., Pattern], dict[str, Any], list[str]]] = [
    (fraud.card_testing, {}, ["probe=1 spree=4", "probe=0 spree=6", "probe=5 spree=6", "probe=8 spree=9"]),
    (
        fraud.card_testing,
        {"country": None, "within": "11m"},
        [
            "probe=0 spree=3", "probe=1 spree=4", "probe=5 spree=6", "probe=8 spree=9", "probe=10 spree=11",
            "probe=14 spree=15",
        ],
    ),
    (fraud.card_testing, {"spree_above": 850.0}, ["probe=0 spree=7", "probe=5 spree=7"]),
    (fraud.impossible_travel, {}, ["here=0 there=2", "here=9 there=10", "here=11 there=12"]),
    (fraud.impossible_travel, {"faster_than_kmh": 300.0, "within": "8h"}, [
        "here=0 there=2", "here=3 there=4", "here=9 there=10", "here=11 there=12",
    ]),
    (security.brute_force, {"failures": 3}, ["failure=1,3,4 success=5"]),
    (security.brute_force, {"failures": 1, "within": "20s"}, [
        "failure=4 success=5", "failure=7 success=8", "failure=12 success=13",
    ]),
    (shop.abandoned_cart, {}, ["added=1", "added=8", "added=11"]),
    (shop.abandoned_cart, {"patience": "2h"}, ["added=1", "added=11"]),
    (trading.v_shape, {}, ["top=0 down=1,3 up=5 back=7", "top=18 down=19,20,21 up=22,23 back=24"]),
    (trading.v_shape, {"depth": 0.05, "rises": 3}, ["top=18 down=19,20,21 up=22,23 back=24"]),
    (iot.rising_out_of_range, {}, ["rise=3,5,7 out=8"]),
    (iot.rising_out_of_range, {"rises": 1}, ["rise=7 out=8", "rise=13 out=14", "rise=18 out=19"]),
    (iot.missing_heartbeat, {}, ["last=1", "last=5", "last=8"]),
    (iot.missing_heartbeat, {"silence": "2m"}, ["last=5", "last=8"]),
    (flights.delay_propagation, {}, [
        "late=1 knock_on=3", "late=3 knock_on=5", "late=4 knock_on=8", "late=9 knock_on=11",
    ]),
    (flights.delay_propagation, {"within": "13h", "minutes": 80.0}, ["late=5 knock_on=10"]),
]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize(("make", "parameters", "expected"), CASES)
def test_ready_pattern_finds_exactly_these(
    make: Callable[..., Pattern], parameters: dict[str, Any], expected: list[str], batch: int
) -> None:
    """In the order of their ends, whatever the size of the batches."""
    assert matches_of(make(**parameters), rows_of(make.__name__), batch) == expected


@pytest.mark.parametrize(("make", "parameters", "expected"), CASES)
def test_ready_pattern_finds_the_same_in_disorder(
    make: Callable[..., Pattern], parameters: dict[str, Any], expected: list[str]
) -> None:
    """The last event first; events of equal time keep their order, as they must."""
    rows = sorted(rows_of(make.__name__), key=lambda row: row["ts"], reverse=True)
    assert matches_of(make(**parameters), rows, 3, out_of_order="2d") == expected


def _ready_patterns() -> list[Callable[..., Pattern]]:
    names = [found.name for found in pkgutil.iter_modules(patterns.__path__)]
    modules = [importlib.import_module(f"fyke.patterns.{name}") for name in names]
    return [
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and inspect.signature(function).return_annotation == "Pattern"
    ]


@pytest.mark.parametrize("make", _ready_patterns())
def test_every_ready_pattern_has_a_test_and_a_line_in_the_readme(make: Callable[..., Pattern]) -> None:
    """A new one is not forgotten."""
    module = make.__module__.rpartition(".")[2]
    assert any(case[0] is make for case in CASES)
    assert f"`{module}.{make.__name__}`" in (Path(patterns.__path__[0]) / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("make", _ready_patterns())
def test_every_ready_pattern_explains_each_parameter(make: Callable[..., Pattern]) -> None:
    """With defaults for all of them, so that the command line can run it, and a form as JSON."""
    pattern = make()
    assert Pattern.from_json(pattern.to_json()) == pattern
    assert pattern.name is not None
    assert pattern.key
    documentation = inspect.getdoc(make) or ""
    for parameter in inspect.signature(make).parameters:
        assert f"    {parameter}: " in documentation
    for stage in pattern.all_stages():
        assert str(stage.name) in documentation


def test_ready_patterns_use_public_names_only() -> None:
    """They are examples to copy."""
    for path in Path(patterns.__path__[0]).glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("from fyke", "import fyke")):
                assert line.startswith(("import fyke", "from fyke import ")), f"{path.name}: {line}"
