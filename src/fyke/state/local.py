"""A store in a folder: a file a blob, there as a whole or not at all, also after the power went.

A blob is written beside its place (`.name.part`), synced to the medium, renamed, and the folder is synced: when `save`
returns, both the bytes and the name have reached the medium. Cut off anywhere before the rename, only the part file is
left, which nobody reads; the next writer removes it.
"""

import contextlib
import os

from fyke.errors import StateError
from fyke.state import Data, checked_name, is_name, naming, parts_of

_PART = ".part"


class LocalStore:
    """Keep blobs as files of a folder, which is made when the first is saved.

    Args:
        folder: its path.
        is_shared: whether others write to it, too, under other names. Then what is left unfinished stays there, since
            it may be another's that is being written.

    >>> import tempfile
    >>> store = LocalStore(tempfile.mkdtemp())
    >>> store.save("one", b"state")
    >>> store.list(), store.load("one")
    (['one'], b'state')
    """

    def __init__(self, folder: str | os.PathLike[str], *, is_shared: bool = False) -> None:
        self._folder = os.fspath(folder) or os.curdir
        self._is_shared = is_shared
        self._is_tidy = False

    @property
    def name(self) -> str:
        return self._folder

    def save(self, name: str, data: Data) -> None:
        path = self._path(name)
        part = os.path.join(self._folder, f".{name}{_PART}")
        with naming(path, "written"):
            self._prepare()
            if os.path.lexists(path):
                raise StateError(f"{path}: is there already; a blob is written once")
            try:
                _write(part, data)
                os.rename(part, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part)
                raise
            sync_folder(self._folder)

    def load(self, name: str) -> bytes:
        path = self._path(name)
        with naming(path, "read"), open(path, "rb") as file:
            return file.read()

    def list(self) -> list[str]:
        with naming(self._folder, "listed"):
            try:
                return sorted(filter(is_name, os.listdir(self._folder)))
            except FileNotFoundError:
                return []

    def delete(self, name: str) -> None:
        path = self._path(name)
        with naming(path, "deleted"), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def close(self) -> None:
        pass

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, checked_name(name))

    def _prepare(self) -> None:
        """Make the folder, and remove what earlier writers left unfinished; once."""
        if self._is_tidy:
            return
        make_folder(self._folder)
        for name in () if self._is_shared else os.listdir(self._folder):
            if name.startswith(".") and name.endswith(_PART) and is_name(name[1:]):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._folder, name))
        self._is_tidy = True


def _write(path: str, data: Data) -> None:
    """Write a file and wait until its bytes have reached the medium."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        for part in parts_of(data):
            view = part
            while view:
                view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(folder: str) -> None:
    """Wait until the names in a folder have reached the medium."""
    directory = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def make_folder(folder: str) -> None:
    """Make a folder and those above it, each with its name synced."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(os.path.abspath(folder))
    make_folder(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    sync_folder(above)


__all__ = ["LocalStore", "make_folder", "sync_folder"]
