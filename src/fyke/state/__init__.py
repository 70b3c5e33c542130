"""Where checkpoints are kept: the protocol of stores, and the stores that fulfil it.

A store keeps blobs by name and knows nothing of what is in them; `checkpoint` says what a checkpoint is, verifies it
when it is loaded, and goes back to the one before where the last is damaged. One kind of store per file: `local` a
folder, `sqlite` one file, `remote` whatever fsspec reaches; `open_store` picks one of them by its name.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

from fyke.errors import StateError

Data: TypeAlias = "bytes | bytearray | memoryview | Iterable[bytes | bytearray | memoryview]"
"""A blob: bytes, or an iterable of parts of it, so that a large one need not be in memory as one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@runtime_checkable
class Store(Protocol):
    """Blobs by name, each written once.

    Whatever interrupts `save`, what was saved before stays as it was. A blob that was cut short may be seen under its
    name only where the medium has no way to write it whole; so whoever loads one checks it. One writer at a time.

    Every failure is a `StateError` that names the file; nothing is retried.
    """

    @property
    def name(self) -> str:
        """What error messages call this store."""

    def save(self, name: str, data: Data) -> None:
        """Keep a blob; when this returns it has reached the medium.

        Raises:
            StateError: the name is taken or is none, or the medium failed.
        """

    def load(self, name: str) -> bytes:
        """Return a blob.

        Raises:
            StateError: there is none of this name, or the medium failed.
        """

    def list(self) -> list[str]:
        """Return the names of all blobs, ascending; none where the store was never written to."""

    def delete(self, name: str) -> None:
        """Remove a blob; one that is not there is no error."""

    def close(self) -> None:
        """Let go of connections. May be called again."""


def open_store(where: str, **options: Any) -> Store:
    """Return the store that a path or URL means.

    Args:
        where: a folder, which need not be there yet; a file that ends in .sqlite or .db; or a URL that fsspec knows,
            such as s3://bucket/checkpoints, which needs `fyke[fsspec]` and what fsspec needs for it.
        options: of a URL: what fsspec wants to know, such as credentials.

    >>> open_store("checkpoints").name
    'checkpoints'
    """
    from fyke.state.local import LocalStore
    from fyke.state.remote import RemoteStore
    from fyke.state.sqlite import SqliteStore

    if "://" in where:
        return RemoteStore(where, **options)
    if options:
        raise StateError(f"{where}: a path takes no options, got {', '.join(options)}")
    return SqliteStore(where) if where.endswith((".sqlite", ".db")) else LocalStore(where)


def checked_name(name: str) -> str:
    """Return a name that every store can hold.

    Raises:
        StateError: it is none.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise StateError(
            f"{name!r} is no name of a blob: letters, digits, `.`, `_` and `-`, the first a letter or digit, up to 200"
        )
    return name


def is_name(name: str) -> bool:
    """Say whether a file in a store's place is a blob; others, such as unfinished ones, are not ours to see."""
    return _NAME.fullmatch(name) is not None


def parts_of(data: Data) -> Iterator[memoryview]:
    """Yield a blob's parts as bytes, without copying; empty ones are left out."""
    try:
        whole = [memoryview(data)]  # type: ignore[arg-type]
    except TypeError:
        parts: Iterable[Any] = data
    else:
        parts = whole
    for part in parts:
        view = memoryview(part)
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        if view:
            yield view


@contextlib.contextmanager
def naming(path: str, what: str, failures: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Turn a failure of the medium into an error that says what could not be done with which file."""
    try:
        yield
    except StateError:
        raise
    except failures as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise StateError(f"{path}: cannot be {what}: {reason}") from error


__all__ = ["Data", "Store", "checked_name", "is_name", "naming", "open_store", "parts_of"]
