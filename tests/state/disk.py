"""A medium that keeps only what was synced, loses power between any two system calls, fills up, and refuses.

`Disk` stands for the module `os` in a store of files. Until the power goes, files are as they were written. Then each
file holds what was synced, and of what was written later nothing, a part, or garbage; and of the names changed since
the folder was synced, any may be the old ones. So a store that forgets a sync loses data here, sooner or later.
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path


class PowerCut(BaseException):
    """No error that a program could see: it does not go on."""


class Disk:
    """`os`, for one folder.

    Args:
        folder: where the store is; it exists.
        rng: decides what survives.
        cut_at: the power goes before this system call, counted from 0.
        fail_at: this system call fails.
        failure: with which error number.
        lasts: whether every later call of the kind fails as well.
    """

    def __init__(self, folder, rng, *, cut_at=None, fail_at=None, failure=None, lasts=False, syncs=True):
        self._folder = Path(folder)
        self._rng = rng
        self._cut_at = cut_at
        self._fail_at = fail_at
        self._failure = failure
        self._lasts = lasts
        self._syncs = syncs
        self._is_off = False
        self._failing = None
        self.n_calls = 0
        self._files = {}  # name -> file; a file is [what it holds, what of it was synced]
        self._synced_names = {}
        self._changes = []  # of names, since the folder was synced: (name, file or None)
        self._open = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def _call(self, kind, path):
        """Count a system call; perhaps it fails, perhaps the power goes before it."""
        if self._is_off or self.n_calls == self._cut_at:
            self._is_off = True
            raise PowerCut
        is_due = self.n_calls == self._fail_at
        self.n_calls += 1
        if is_due or (self._lasts and self._failing == kind):
            self._failing = kind
            raise OSError(self._failure, os.strerror(self._failure), path)

    def _named(self, *changes):
        """Change names, all at once as far as the medium is concerned."""
        for name, file in changes:
            if file is None:
                self._files.pop(name, None)
            else:
                self._files[name] = file
        self._changes.append(changes)

    # ------------------------------------------------------------------------------------------------- system calls

    def open(self, path, flags, mode=0o777):
        self._call("open", path)
        real = os.open(path, flags, mode)
        name = os.path.basename(path)
        if os.path.isdir(path):
            self._open[real] = None
            return real
        if name not in self._files:
            self._named((name, [b"", None]))
        elif flags & os.O_TRUNC:
            self._files[name][0] = b""
        self._open[real] = self._files[name]
        return real

    def write(self, real, data):
        with contextlib.ExitStack() as stack:
            try:
                self._call("write", None)
            except OSError:
                data = data[: self._rng.randrange(len(data))]  # as much as there was room for
                if data:
                    self._write(real, data)
                raise
            stack.pop_all()
        return self._write(real, data[: self._rng.choice([len(data), 1 + self._rng.randrange(len(data))])])

    def _write(self, real, data):
        self._open[real][0] += bytes(data)
        assert os.write(real, data) == len(data)
        return len(data)

    def fsync(self, real):
        self._call("fsync", None)
        if not self._syncs:
            return
        if self._open[real] is None:
            self._synced_names = dict(self._files)
            self._changes = []
        else:
            self._open[real][1] = self._open[real][0]

    def close(self, real):
        del self._open[real]
        os.close(real)  # also when the power is gone: this process goes on

    def rename(self, source, target):
        self._call("rename", target)
        os.rename(source, target)
        name = os.path.basename(source)
        self._named((os.path.basename(target), self._files[name]), (name, None))

    def unlink(self, path):
        self._call("unlink", path)
        os.unlink(path)
        self._named((os.path.basename(path), None))

    def listdir(self, path):
        self._call("listdir", path)
        return os.listdir(path)

    # ---------------------------------------------------------------------------------------------------- the power

    def cut_power(self):
        """Leave in the folder what the medium holds."""
        self._is_off = True
        names = dict(self._synced_names)
        for changes in self._changes:
            if self._rng.random() < 0.5:
                for name, file in changes:
                    if file is None:
                        names.pop(name, None)
                    else:
                        names[name] = file
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        for name, (held, synced) in names.items():
            (self._folder / name).write_bytes(held if held == synced else self._remains(held, synced))

    def _remains(self, held, synced):
        cut = self._rng.randrange(len(held) + 1)
        return self._rng.choice([synced or b"", held, held[:cut], held[:cut] + bytes(len(held) - cut), b""])


FAILURES = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT, errno.EROFS]
