"""What the commands share: options, and what becomes of errors."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import pyarrow as pa
import typer

from fyke.errors import DefinitionError, FykeError
from fyke.io.files import split_name

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
    return None if path is None else checked_file(path)


def checked_file(path: str) -> str:
    """Check the name of a file to write."""
    if path != "-" and "://" not in path and split_name(path)[0] is None:
        raise typer.BadParameter(f"{path!r} does not say a format; end it in .jsonl, .csv or .parquet")
    return path
