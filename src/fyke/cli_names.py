"""What MODULE:NAME means on the command line: a pattern, a stream, several streams by name, or a function of these."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import typer

from fyke.pattern import Pattern
from fyke.streams import Stream, Table

__all__ = ["Named", "look_up", "resolve", "resolve_pattern"]

Named: TypeAlias = Pattern | Stream | Table | Mapping[str, Stream | Table]


def resolve(name: str, wanted: str = "Pattern or Stream") -> Named:
    """Return the pattern or the streams that MODULE:NAME means, or that a function gives without being told more.

    Args:
        name: as it was typed.
        wanted: "Pattern", "Stream", or either; for what errors say.

    Raises:
        BadParameter: there is none; says what is there instead.
    """
    found = look_up(name, _is_named, wanted)
    if isinstance(found, Pattern) and wanted == "Stream":
        raise typer.BadParameter(f"{name} is no {wanted} and returns none, but {type(found).__name__}")
    if not isinstance(found, Pattern) and wanted == "Pattern":
        raise typer.BadParameter(f"{name} is a Stream, which says all itself: fyke replay {name} --input NAME=FILE")
    named: Named = found
    return named


def look_up(name: str, is_wanted: Callable[[object], bool], wanted: str) -> Any:
    """Return what MODULE:NAME means, or what a function of that name gives without being told more.

    Args:
        is_wanted: whether it is what can be used. wanted: what that is, for what errors say.

    Raises:
        BadParameter: there is none; says what is there instead.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise typer.BadParameter(f"{name!r} is not MODULE:NAME, e.g. fyke.patterns.fraud:card_testing")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise typer.BadParameter(f"cannot import {module_name!r}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = ", ".join(key for key, value in vars(found).items() if _may_be_meant(key, value, found, is_wanted))
            raise typer.BadParameter(f"{module_name!r} has no {attribute!r}; it has {known or f'no {wanted}'}")
        found = getattr(found, part)
    if callable(found) and not is_wanted(found):
        try:
            found = found()
        except TypeError as error:
            raise typer.BadParameter(f"{name}: cannot be called without arguments: {error}") from error
    if not is_wanted(found):
        raise typer.BadParameter(f"{name} is no {wanted} and returns none, but {type(found).__name__}")
    return found


def resolve_pattern(name: str) -> Pattern:
    """Return the pattern that MODULE:NAME means; see resolve."""
    found = resolve(name, "Pattern")
    assert isinstance(found, Pattern)
    return found


def _is_named(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(each, Stream | Table) for each in value.values())
    return isinstance(value, Pattern | Stream | Table)


def _may_be_meant(key: str, value: object, module: object, is_wanted: Callable[[object], bool]) -> bool:
    if key.startswith("_"):
        return False
    is_own_function = callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", "")
    return is_wanted(value) or is_own_function
