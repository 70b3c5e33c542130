"""A store in one SQLite file: a blob a transaction.

Blobs are cut into rows, so that none is larger than SQLite allows. Each call has a connection of its own: nothing is
locked between calls, and another process can take the file over. The rollback journal is used, not the write-ahead log,
so that at rest there is one file; `synchronous=EXTRA` syncs the folder, too, when the journal is removed.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator

import xxhash

from fyke.errors import StateError
from fyke.state import Data, checked_name, parts_of
from fyke.state.local import make_folder, sync_folder

ROW_BYTES = 16 << 20
APPLICATION = int.from_bytes(b"fyke", "big")  # in the header of the file: whose it is
# Each row has a checksum of its own name, so that a name that was damaged does not look like somebody else's.
_TABLE = "CREATE TABLE part (id INTEGER PRIMARY KEY, name TEXT, number INTEGER, mark INTEGER, data BLOB)"
# The last is for what SQLite says of a damaged file, quoting from it.
_FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)


class SqliteStore:
    """Keep blobs in a SQLite database of their own, which is made when the first is saved.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)

    @property
    def name(self) -> str:
        return self._path

    def save(self, name: str, data: Data) -> None:
        checked_name(name)
        what = f"`{name}` cannot be written to it"
        if not os.path.exists(self._path):
            self._create(what)
        with self._connection(what) as connection:
            self._check(connection)
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT 1 FROM part WHERE name = ?", (name,)).fetchone():
                raise StateError(f"{self._path}: `{name}` is there already; a blob is written once")
            for number, part in enumerate(_rows(data)):
                row = (name, number, _mark(name, number), part)
                connection.execute("INSERT INTO part (name, number, mark, data) VALUES (?, ?, ?, ?)", row)
            connection.execute("COMMIT")

    def load(self, name: str) -> bytes:
        checked_name(name)
        parts: list[bytes] = []
        if os.path.exists(self._path):
            with self._connection(f"`{name}` cannot be read from it") as connection:
                self._check(connection)
                found = connection.execute("SELECT data FROM part WHERE name = ? ORDER BY number", (name,))
                parts = [data for (data,) in found]
        if not parts:
            raise StateError(f"{self._path}: has no `{name}`")
        if not all(type(part) is bytes for part in parts):
            raise StateError(f"{self._path}: damaged: `{name}` is not made of bytes")
        return b"".join(parts)

    def list(self) -> list[str]:
        if not os.path.exists(self._path):
            return []
        with self._connection("cannot be listed") as connection:
            self._check(connection)
            # A damaged page could hide the latest names; then it is better to say so than to go back in time.
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise StateError(f"{self._path}: damaged: {verdict}")
            names = set()
            for name, number, mark in connection.execute("SELECT name, number, mark FROM part"):
                if type(name) is not str or type(number) is not int or mark != _mark(name, number):
                    raise StateError(f"{self._path}: damaged: the name {name!r:.80} does not verify")
                names.add(name)
            return sorted(names)

    def delete(self, name: str) -> None:
        checked_name(name)
        if os.path.exists(self._path):
            with self._connection(f"`{name}` cannot be deleted from it") as connection:
                self._check(connection)
                connection.execute("DELETE FROM part WHERE name = ?", (name,))

    def close(self) -> None:
        pass

    def _create(self, what: str) -> None:
        """Make the file, with nothing in it yet, so that it is there as a whole or not at all."""
        part = self._path + ".part"
        folder = os.path.dirname(os.path.abspath(self._path))
        with self._failing(what):
            make_folder(folder)
            for left_behind in (part, part + "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(left_behind)
            with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN")
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(_TABLE)
                connection.execute("COMMIT")
            os.rename(part, self._path)
            sync_folder(folder)

    @contextlib.contextmanager
    def _connection(self, what: str) -> Iterator[sqlite3.Connection]:
        with self._failing(what):
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = EXTRA")
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                connection.close()

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Let errors of the medium say what could not be done with which file."""
        try:
            yield
        except _FAILURES as error:
            raise StateError(f"{self._path}: {what}: {error}") from error

    def _check(self, connection: sqlite3.Connection) -> None:
        """Make sure that this is a store, not something else, and not what is left of one.

        A file without anything in it was a store, or will never be: to begin anew is for a person to decide.
        """
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not n_tables:
            raise StateError(f"{self._path}: empty, so damaged; to begin anew, remove it")
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        if owner != APPLICATION:
            raise StateError(f"{self._path}: is the database of something else")


def _mark(name: str, number: int) -> int:
    """Return a checksum of what identifies a row, as an integer that SQLite holds."""
    return xxhash.xxh3_64_intdigest(f"{number} {name}".encode(errors="replace")) >> 1


def _rows(data: Data) -> Iterator[bytes | memoryview]:
    """Yield a blob in pieces that are as long as a row may be, but for the last; one for an empty blob."""
    piece, is_empty = bytearray(), True
    for part in parts_of(data):
        is_empty = False
        while part:
            if not piece and len(part) >= ROW_BYTES:
                yield part[:ROW_BYTES]
                part = part[ROW_BYTES:]
                continue
            room = ROW_BYTES - len(piece)
            piece += part[:room]
            part = part[room:]
            if len(piece) == ROW_BYTES:
                yield bytes(piece)
                piece.clear()
    if piece or is_empty:
        yield bytes(piece)


__all__ = ["SqliteStore"]
