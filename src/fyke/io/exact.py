"""Outputs that hold each row once, however often their writer dies: what a resumable replay writes to.

Two kinds. Files can be cut back: a checkpoint knows where they ended, and what stands behind that goes (`Rewindable`).
A database cannot, so it keeps the number of the last cut in the transaction that brought the rows, and whoever goes on
asks for it first (`Transactional`). `open_exact_sink` picks one of them by its name.
"""

import os
from typing import Protocol, runtime_checkable

from fyke.errors import DataError
from fyke.io import Position, Sink
from fyke.io.files import COMPRESSIONS, split_name
from fyke.io.parquet_folder import ParquetFolder
from fyke.io.sinks import CsvSink, JsonLinesSink


@runtime_checkable
class Rewindable(Sink, Protocol):
    """A sink that can go back to where it once was."""

    def resume(self, position: Position) -> None:
        """Open at a position that `cut` gave; what was written behind it goes. None: at the beginning, empty.

        Raises:
            DataError: what stands before the position is not there any more.
        """

    def cut(self, *, is_last: bool) -> Position:
        """Bring what was written to the medium, and return where it ends, as JSON has it."""


@runtime_checkable
class Transactional(Sink, Protocol):
    """A sink that takes the rows between two cuts, and the number of the later one, together or not at all."""

    def resume(self, task: str) -> int:
        """Open, and return the number of the last cut that is in; 0: none.

        Args:
            task: what the rows are results of.

        Raises:
            DataError: the sink holds those of another task.
        """

    def commit(self, cut: int, *, is_last: bool) -> None:
        """Let the rows written since the cut before come in, with this one's number.

        Args:
            cut: its number; where it is in already, the rows are, and nothing is done.
            is_last: whether it is the end.
        """


ExactSink = Rewindable | Transactional


def open_exact_sink(target: str | os.PathLike[str], *, default_table: str = "matches") -> ExactSink:
    """Return the sink that a name means; nothing is opened yet.

    Args:
        target: a file that ends in .jsonl, .csv or .tsv, also compressed; a folder that ends in .parquet; or the URL of
            a database as SQLAlchemy has them, with `#table` behind it.
        default_table: the table, where the URL names none.

    Raises:
        DataError: the name says none of that, or means what cannot be cut back.

    >>> open_exact_sink("matches.jsonl.gz").name, open_exact_sink("sqlite:///out.db#found").name
    ('matches.jsonl.gz', 'sqlite:///out.db#found')
    """
    name = os.fspath(target)
    if name == "-":
        raise DataError("standard output cannot be cut back to a checkpoint: name a file, a folder or a database")
    if "://" in name:
        from fyke.io.sql import SqlSink

        url, _, table = name.partition("#")
        return SqlSink(url, table or default_table)
    kind, compression = split_name(name)
    if kind == "parquet" and compression is None:
        return ParquetFolder(name)
    if kind == "jsonl":
        return JsonLinesSink(name)
    if kind == "csv":
        return CsvSink(name, delimiter="\t" if ".tsv" in name.lower() else ",")
    known = f".jsonl, .csv, .tsv (also .{', .'.join(COMPRESSIONS)}), .parquet (a folder), or a database's URL"
    raise DataError(f"{name}: the name does not say what to write; end it in {known}")


__all__ = ["ExactSink", "Rewindable", "Transactional", "open_exact_sink"]
