"""Where the states of tasks are kept, by checkpoint id: in a folder of the instance, or in a store that all share.

changelog.py keeps them in a topic.

What is kept counts only once offsets were committed that name it. So saving comes before the commit, dropping what went
before comes after, and what a crash leaves in between is dropped with the next one. Two instances never save under the
same name, since an id has a UUID in it.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from fyke.errors import StateError
from fyke.kafka.offsets import number_of
from fyke.state import Store

__all__ = ["Backend", "StoreBackend"]

_NAME: Final = re.compile(r"task-(\d+)\.((\d+)-[0-9a-f]{32})")


class Backend(Protocol):
    """Keeps the blobs of tasks."""

    def save(self, task: int, cid: str, blob: bytes) -> None:
        """Keep a blob for good; called before the commit that names it.

        Raises:
            StateError: it cannot be kept.
        """
        ...

    def load(self, task: int, cid: str) -> bytes:
        """Give the blob that a commit named.

        Raises:
            StateError: it is not there; says where it may be.
        """
        ...

    def drop(self, task: int, kept: str) -> None:
        """Let go of what no commit names any more; called after the commit that names `kept`."""
        ...

    def forget(self, task: int) -> None:
        """Hear that another instance has the task now."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class StoreBackend:
    """Keeps a blob a task and checkpoint in a store.

    Args:
        store: where.
        is_shared: whether all instances have it in common. If not, a partition that moved is an error.
        part: of the app, where several have their states in one store: what their names begin with.
    """

    def __init__(self, store: Store, *, is_shared: bool, part: str = "") -> None:
        self._store = store
        self._is_shared = is_shared
        self._part = part

    def save(self, task: int, cid: str, blob: bytes) -> None:
        self._store.save(self._name(task, cid), blob)

    def load(self, task: int, cid: str) -> bytes:
        name = self._name(task, cid)
        if name not in self._store.list():
            elsewhere = (
                "it was removed, or this is another store than the one it was saved in"
                if self._is_shared
                else "another instance has it, which had this partition before. Let partitions move with a store that "
                'all instances share, state="s3://...", or with state="changelog"'
            )
            raise StateError(f"{self._store.name}: the state {name} of partition {task} is not here: {elsewhere}")
        return self._store.load(name)

    def drop(self, task: int, kept: str) -> None:
        # One with a higher number may be what another instance is about to commit, if we are a zombie.
        for name in self._store.list():
            found = _NAME.fullmatch(name.removeprefix(self._part)) if name.startswith(self._part) else None
            if found and int(found[1]) == task and int(found[3]) <= number_of(kept) and found[2] != kept:
                self._store.delete(name)

    def forget(self, task: int) -> None:
        pass

    def close(self) -> None:
        self._store.close()

    def _name(self, task: int, cid: str) -> str:
        return f"{self._part}task-{task}.{cid}"
