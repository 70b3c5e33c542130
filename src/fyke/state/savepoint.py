"""Savepoints: states with names, kept until they are deleted, and carried from place to place.

A savepoint is a blob like a checkpoint (`fyke.state.checkpoint`), with the name that it was given instead of a number,
so that a task that trims its checkpoints leaves it alone. What it holds depends on no machine and no folder.
"""

from typing import Any

from fyke.errors import StateError
from fyke.state import Data, Store, checked_name
from fyke.state.checkpoint import Checkpoint, is_json, verified, written

SUFFIX = ".savepoint"


class Savepoints:
    """The savepoints of a store.

    Args:
        store: where to; may hold checkpoints, too.

    >>> from fyke.state.remote import RemoteStore
    >>> savepoints = Savepoints(RemoteStore("memory://savepoints"))
    >>> savepoints.save("before-v2", b"state", position={"row": 120})
    >>> savepoints.names(), savepoints.load("before-v2").payload
    (['before-v2'], b'state')
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self) -> list[str]:
        """Return the names of the savepoints that are there, ascending."""
        return [name.removesuffix(SUFFIX) for name in self._store.list() if name.endswith(SUFFIX)]

    def save(self, name: str, payload: Data, *, position: Any = None, fingerprint: str = "") -> None:
        """Keep a state under a name.

        Args:
            payload: the state, as an engine gave it.
            position: what the sources go on from; whatever JSON holds.

        Raises:
            StateError: the name is taken or is none, or it could not be kept.
        """
        full = checked_name(name + SUFFIX)
        if not is_json(position):
            raise StateError(f"{self._store.name}: {name}: the position {position!r:.80} would not come back from JSON")
        manifest = {"version": 1, "name": full, "position": position, "fingerprint": fingerprint}
        self._store.save(full, written(payload, manifest))

    def load(self, name: str) -> Checkpoint:
        """Return a savepoint; its number is 0.

        Raises:
            StateError: there is none of this name, or it is damaged; names it.
        """
        full = checked_name(name + SUFFIX)
        manifest, payload = verified(self._store.load(full), full, f"{self._store.name}: {full}")
        return Checkpoint(0, manifest["position"], manifest["fingerprint"], payload)

    def delete(self, name: str) -> None:
        """Remove a savepoint; one that is not there is no error."""
        self._store.delete(checked_name(name + SUFFIX))


__all__ = ["Savepoints"]
