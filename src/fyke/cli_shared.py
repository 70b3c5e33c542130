"""What the commands share: options, the names of patterns, and what becomes of errors."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import pyarrow as pa
import typer

from fyke.errors import DefinitionError, FykeError
from fyke.io.files import split_name
from fyke.pattern import Pattern

TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "time": pa.timestamp("ns", tz="UTC"),
}


class Format(StrEnum):
    """What a log is written in."""

    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    parquet = "parquet"


class Unit(StrEnum):
    """What a time that is a number counts."""

    s = "s"
    ms = "ms"
    us = "us"
    ns = "ns"


class Policy(StrEnum):
    """What is done where a bound is reached."""

    error = "error"
    drop_oldest = "drop_oldest"
    drop_newest = "drop_newest"


Checkpoint = Annotated[
    str | None,
    typer.Option(metavar="PLACE", help="Keep checkpoints in a folder, .sqlite file or URL, and go on from the last."),
]
Every = Annotated[int | None, typer.Option(metavar="ROWS", min=1, help="Rows between checkpoints. Default: 1000000.")]
OpenEnd = Annotated[
    bool, typer.Option("--open-end", help="Do not end with the log: more rows, or a live engine, go on from there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no closing line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
PatternName = Annotated[
    str, typer.Argument(metavar="MODULE:NAME", help="Where the pattern is, e.g. fyke.patterns.fraud:card_testing.")
]


def say(message: str) -> None:
    """Write a line about what is going on, where it does not mix with results."""
    print(message, file=sys.stderr)


@contextlib.contextmanager
def clear_errors(debug: bool) -> Iterator[None]:
    """Turn what can go wrong in a run into a line on standard error and an exit status."""
    try:
        yield
    except BrokenPipeError:
        # The reader of our output has seen enough. Standard output goes nowhere from here on, or the interpreter
        # would fail on it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except KeyboardInterrupt:
        say("fyke: interrupted")
        raise typer.Exit(130) from None
    except (FykeError, OSError) as error:
        if debug:
            raise
        text = str(error)
        if isinstance(error, OSError) and error.strerror:  # Arrow's name the file in the text
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        say(f"fyke: error: {text}")
        raise typer.Exit(2 if isinstance(error, DefinitionError) else 1) from None


def resolve(name: str) -> Pattern:
    """Return the pattern that MODULE:NAME means: a Pattern, or a function that returns one without being told more.

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
            known = ", ".join(key for key, value in vars(found).items() if _may_be_pattern(key, value, found))
            raise typer.BadParameter(f"{module_name!r} has no {attribute!r}; it has {known or 'no pattern'}")
        found = getattr(found, part)
    if callable(found) and not isinstance(found, Pattern):
        try:
            found = found()
        except TypeError as error:
            raise typer.BadParameter(f"{name}: cannot be called without arguments: {error}") from error
    if not isinstance(found, Pattern):
        raise typer.BadParameter(f"{name} is no Pattern and returns none, but {type(found).__name__}")
    return found


def _may_be_pattern(key: str, value: object, module: object) -> bool:
    if key.startswith("_"):
        return False
    is_own_function = callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", "")
    return isinstance(value, Pattern) or is_own_function


def parse_types(pairs: list[str]) -> dict[str, pa.DataType]:
    """Return --type column=type options as Arrow types."""
    types = {}
    for pair in pairs:
        column, _, kind = pair.partition("=")
        if not column or kind not in TYPES:
            raise typer.BadParameter(f"{pair!r} is not COLUMN=TYPE with a type of {', '.join(TYPES)}")
        types[column] = TYPES[kind]
    return types


def output(path: str | None) -> str | None:
    """Check the name of an output before anything is read, not after an hour."""
    if path is not None and path != "-" and "://" not in path and split_name(path)[0] is None:
        raise typer.BadParameter(f"{path!r} does not say a format; end it in .jsonl, .csv or .parquet")
    return path
