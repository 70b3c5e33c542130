"""Who this instance is: a UUID kept in the state folder, locked while it runs, and the transactional ids made of it.

A transactional id must be the same after a restart, so that the new producer ends at once what the dead one left open,
and must never be in use twice, since the later producer fences the earlier. A file gives the first, a lock on it the
second. Without a folder the id is given by whoever deploys, or random; then nobody can end what a crash left open, and
the start of a successor has to wait until the broker does (see `wait_s`).
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fyke.errors import DefinitionError, StateError

__all__ = ["Instance"]

FILE: Final = "instance"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(slots=True)
class Instance:
    """One running instance of an application. Close it, or use it in a with block, to let go of the folder.

    Attributes:
        app: the application's name, which is the group's too.
        id: the same at every start where there is a folder or a given id.
        is_stable: whether the id outlives the process.
    """

    app: str
    id: str
    is_stable: bool
    _lock: IO[str] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, app: str, folder: str | os.PathLike[str] | None = None, given: str | None = None) -> Instance:
        """Find out who we are.

        Args:
            app: letters, digits, dot, dash and underscore.
            folder: the state folder; made if need be.
            given: an id chosen by whoever deploys (a pod's stable name, say), instead of a UUID.

        Raises:
            DefinitionError: a name with other characters.
            StateError: another process that runs has the folder, or its id is not the given one.
        """
        for what, name in (("app", app), ("instance", given)):
            if name is not None and not _NAME.fullmatch(name):
                raise DefinitionError(
                    f"{what} {name!r:.80}: allowed are 1 to 200 letters, digits, dots, dashes and underscores"
                )
        if folder is None:
            return cls(app, given or uuid.uuid4().hex, given is not None)
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path, "a+", encoding="ascii")
        try:
            return cls(app, _locked_id(lock, path, given), True, lock)
        except BaseException:
            lock.close()
            raise

    def transactional_id(self, thread: int = 0) -> str:
        """Give the id of one thread's producer.

        >>> Instance("fraud", "pod-3", True).transactional_id(1)
        'fraud-pod-3-1'
        """
        return f"{self.app}-{self.id}-{thread}"

    def wait_s(self, transaction_timeout_s: float) -> float:
        """Give how long a start may have to wait for transactions that a predecessor left open.

        Nothing where the id is stable: the first producer of that id ends them.
        """
        return 0.0 if self.is_stable else transaction_timeout_s

    def close(self) -> None:
        """Let another process have the folder. May be called again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _locked_id(lock: IO[str], path: Path, given: str | None) -> str:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(
            f"{path.parent}: another process runs with this state folder; each instance needs one of its own"
        ) from None
    lock.seek(0)
    line = lock.read()
    known = line.rstrip("\n")
    if not line.endswith("\n"):  # new, or half a line of one that died before it used its id
        known = given or uuid.uuid4().hex
        lock.truncate(0)
        lock.write(known + "\n")
        lock.flush()
        os.fsync(lock.fileno())
    elif not _NAME.fullmatch(known):
        raise StateError(f"{path}: {known!r:.80} is no instance's id; the file is damaged")
    elif given is not None and given != known:
        raise StateError(
            f"{path}: this state folder belongs to instance {known}, not to {given}; give each instance its own"
        )
    return known
