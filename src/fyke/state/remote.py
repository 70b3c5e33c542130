"""A store at any URL that fsspec knows: s3://, gs://, abfs://, hdfs://, sftp://, memory://.

A blob is written under a name that is no blob's and then moved, so that it is never seen half written even where
writing is not atomic. How durable it is when `save` returns is the medium's affair: object stores are; for a folder of
this machine `local` says when it is synced, which fsspec does not.
"""

import contextlib
from typing import Any

from fyke.errors import StateError
from fyke.state import Data, checked_name, is_name, naming, parts_of

_PART = ".part"


class RemoteStore:
    """Keep blobs under a URL.

    Args:
        url: of the folder or prefix.
        options: what fsspec wants to know, such as credentials.

    >>> store = RemoteStore("memory://checkpoints")
    >>> store.save("one", b"state")
    >>> store.list(), store.load("one")
    (['one'], b'state')
    """

    def __init__(self, url: str, **options: Any) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise StateError(f'{url}: a URL needs fsspec: pip install "fyke[fsspec]"') from error
        self._url = url.rstrip("/")
        with self._naming(self._url, "reached"):
            self._fs, root = fsspec.core.url_to_fs(url, **options)
            self._root = root.rstrip("/")

    @property
    def name(self) -> str:
        return self._url

    def save(self, name: str, data: Data) -> None:
        path = self._path(name)
        part = f"{self._root}/.{name}{_PART}"
        with self._naming(f"{self._url}/{name}", "written"):
            self._fs.makedirs(self._root, exist_ok=True)
            if self._is_there(path):
                raise StateError(f"{self._url}/{name}: is there already; a blob is written once")
            try:
                self._fs.pipe_file(part, b"".join(parts_of(data)))
                self._fs.mv(part, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._fs.rm_file(part)
                raise

    def load(self, name: str) -> bytes:
        path = self._path(name)
        with self._naming(f"{self._url}/{name}", "read"):
            data: bytes = self._fs.cat_file(path)
            return data

    def list(self) -> list[str]:
        with self._naming(self._url, "listed"):
            self._fs.invalidate_cache(self._root)
            try:
                found = self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
            names = (path.rstrip("/").rpartition("/")[2] for path in found)
            return sorted(filter(is_name, names))

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._naming(f"{self._url}/{name}", "deleted"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def close(self) -> None:
        pass

    def _path(self, name: str) -> str:
        return f"{self._root}/{checked_name(name)}"

    def _is_there(self, path: str) -> bool:
        try:
            self._fs.info(path)
        except FileNotFoundError:
            return False
        return True

    def _naming(self, path: str, what: str) -> contextlib.AbstractContextManager[None]:
        # Each file system has exceptions of its own, which no common base but Exception tells from others.
        return naming(path, what, (Exception,))


__all__ = ["RemoteStore"]
