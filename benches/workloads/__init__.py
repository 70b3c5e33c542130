"""One file per workload: a file here is a workload of `python -m benches` (benches/case.py says what it defines)."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """Return the names of all workloads as the command line has them, in order of their files."""
    return [
        module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    ]


def load(name: str) -> ModuleType:
    """Import the workload of a name."""
    return importlib.import_module(f"benches.workloads.{name.replace('-', '_')}")
