"""A thousand faults: whatever happens to the medium, the last good checkpoint comes back, or an error names a file.

Never another one, never one that was changed, never a fresh start where there was state. What counts as the last: a
checkpoint whose `save` returned, or one that was being saved, whole. After damage done to files at rest, which no
writer can prevent, an older one may come, but then it is told.
"""

import os
import random
import shutil
import signal
import sqlite3
import time
import uuid
import warnings

import pytest

from fyke.errors import StateError
from fyke.state import local, open_store, sqlite
from fyke.state.checkpoint import Checkpoints
from fyke.state.local import LocalStore
from fyke.state.remote import RemoteStore
from fyke.state.sqlite import SqliteStore
from tests.state.disk import FAILURES, Disk, PowerCut

PLAN = "5f1c"


class Run:
    """What was given to a store, and what it said of it.

    Attributes:
        given: by row of the position: the payload.
        done: the rows whose save returned, ascending.
    """

    def __init__(self, rng):
        self.rng = rng
        self.given = {}
        self.done = []

    def save(self, checkpoints, place, n_saves):
        """Save some checkpoints; an error of a save must name the place, and the next save is tried all the same."""
        for _ in range(n_saves):
            row = len(self.given) + 1
            payload = self.rng.randbytes(self.rng.choice([0, 1, 100, 5_000, 20_000]))
            self.given[row] = payload
            cut = self.rng.randrange(len(payload) + 1)
            failure = None
            try:
                checkpoints.save([payload[:cut], payload[cut:]], position={"row": row}, fingerprint=PLAN)
            except StateError as error:
                failure = str(error)
            if failure is None:
                self.done.append(row)
            else:
                assert place in failure

    def check(self, checkpoints, place, *, may_be_damaged=False):
        """The restore after it all."""
        found = failure = None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = checkpoints.latest(PLAN)
            except StateError as error:
                failure = str(error)
        if failure is not None:
            assert place in failure
            assert may_be_damaged, f"nothing was damaged, but: {failure}"
            return "error"
        if found is None:
            assert self.done == [], "a fresh start where there was state"
            return "none"
        row = found.position["row"]
        assert found.payload == self.given[row]
        if self.done and row < self.done[-1]:
            assert may_be_damaged, f"row {row}, although row {self.done[-1]} was saved"
            assert any(place in str(warning.message) for warning in told), "an older one, and nobody is told"
            return "older"
        return "last"


def damage(rng, path):
    """Change a file at rest: a bit, a block, its length."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data) or 1)
    kind = rng.randrange(4)
    if not data or kind == 0:
        data += b"\0"
    elif kind == 1:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[at : at + 512] = bytes(len(data[at : at + 512]))
    else:
        del data[at:]
    path.write_bytes(data)


def run_local(seed, folder, monkeypatch, *, syncs=True):
    """Saves on a medium that fails once; then the power goes, and some file may be damaged at rest."""
    rng = random.Random(seed)
    run, fault = Run(rng), rng.choice(["cut", "fail", "fail for good", "damage"])
    at = rng.randrange(60)
    disk = Disk(
        folder,
        rng,
        cut_at=at if fault == "cut" else None,
        fail_at=at if fault.startswith("fail") else None,
        failure=rng.choice(FAILURES),
        lasts=fault == "fail for good",
        syncs=syncs,
    )
    keep = rng.randrange(1, 4)
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old ones that could not be removed
        patch.setattr(local, "os", disk)
        try:
            run.save(Checkpoints(LocalStore(folder), keep=keep), str(folder), rng.randrange(1, 6))
            run.save(Checkpoints(LocalStore(folder), keep=keep), str(folder), rng.randrange(3))
        except PowerCut:
            pass
        disk.cut_power()
    files = sorted(folder.glob("checkpoint.*"))
    if fault == "damage" and files:
        damage(rng, rng.choice(files))
    outcome = run.check(Checkpoints(LocalStore(folder)), str(folder), may_be_damaged=fault == "damage")
    # Afterwards life goes on: a store that came back takes new checkpoints.
    if outcome != "error":
        checkpoints = Checkpoints(LocalStore(folder))
        run.save(checkpoints, str(folder), 1)
        assert run.check(checkpoints, str(folder)) == "last"
    return outcome


@pytest.mark.parametrize("block", range(12))
def test_a_folder_through_600_faults(block, tmp_path, monkeypatch):
    outcomes = []
    for seed in range(50 * block, 50 * block + 50):
        folder = tmp_path / str(seed)
        folder.mkdir()
        outcomes.append(run_local(seed, folder, monkeypatch))
    assert outcomes.count("last") >= 25
    print({outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))})


def test_every_cut_of_the_power_in_turn(tmp_path, monkeypatch):
    """Between any two system calls of three saves, each with several outcomes of what the medium kept."""
    for at in range(60):
        for luck in range(5):
            folder = tmp_path / f"{at}-{luck}"
            folder.mkdir()
            run, disk = Run(random.Random(7)), Disk(folder, random.Random(luck), cut_at=at)
            with monkeypatch.context() as patch:
                patch.setattr(local, "os", disk)
                try:
                    run.save(Checkpoints(LocalStore(folder), keep=1), str(folder), 3)
                except PowerCut:
                    pass
                else:
                    assert disk.n_calls < at + 1
                disk.cut_power()
            run.check(Checkpoints(LocalStore(folder)), str(folder))


def test_a_store_that_forgot_to_sync_would_be_found_out(tmp_path, monkeypatch):
    n_wrong = 0
    for seed in range(100):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            run_local(seed, folder, monkeypatch, syncs=False)
        except AssertionError:
            n_wrong += 1
    assert n_wrong > 20


# ----------------------------------------------------------------------------------------------------------- SQLite


class Connection(sqlite3.Connection):
    """Fails before one of its statements, or copies the files as they are there, as a crash would leave them."""

    plan = None

    def execute(self, statement, *parameters):
        if Connection.plan is not None:
            Connection.plan(statement)
        return super().execute(statement, *parameters)


@pytest.mark.parametrize("block", range(4))
def test_a_database_through_200_faults(block, tmp_path, monkeypatch):
    outcomes = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Connection))
    for seed in range(50 * block, 50 * block + 50):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = folder / "state.sqlite"
        rng = random.Random(seed)
        run, fault, due = Run(rng), rng.choice(["crash", "full", "locked", "damage"]), [rng.randrange(60)]
        crashed = folder / "crashed"

        def plan(statement, due=due, fault=fault, folder=folder, run=run, crashed=crashed):
            due[0] -= 1
            if due[0] != 0 or fault == "damage":
                return
            if fault == "crash":
                crashed.mkdir()
                for file in folder.glob("state.sqlite*"):
                    shutil.copy(file, crashed)
                run.crashed_after = len(run.done)
            else:
                message = "database or disk is full" if fault == "full" else "database is locked"
                raise sqlite3.OperationalError(message)

        monkeypatch.setattr(Connection, "plan", staticmethod(plan))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run.save(Checkpoints(SqliteStore(path), keep=rng.randrange(1, 4)), str(path), rng.randrange(2, 7))
        monkeypatch.setattr(Connection, "plan", None)
        if crashed.exists():
            path = crashed / "state.sqlite"
            run.done = run.done[: run.crashed_after]
        if fault == "damage":
            damage(rng, path)
        outcomes.append(run.check(Checkpoints(SqliteStore(path)), str(path), may_be_damaged=fault == "damage"))
    assert outcomes.count("last") >= 25
    print({outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))})


def test_a_bit_anywhere_in_a_database_is_told_or_does_no_harm(tmp_path):
    """Pages hold names, lengths and pointers, which no checksum of ours covers unless the store looks at them."""
    path, run = tmp_path / "state.sqlite", Run(random.Random(5))
    run.save(Checkpoints(SqliteStore(path)), str(path), 4)
    data = path.read_bytes()
    names = [at for at in range(len(data)) if data.startswith((b"checkpoint.", b"CREATE TABLE"), at)]
    nearby = [bit for at in names for bit in range(8 * (at - 9), 8 * (at + 12))]
    anywhere = [run.rng.randrange(8 * len(data)) for _ in range(300)]
    for bit in [*range(8 * 100), *nearby, *anywhere]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        run.check(Checkpoints(SqliteStore(path)), str(path), may_be_damaged=True)
        path.with_name(path.name + "-journal").unlink(missing_ok=True)


def test_a_database_whose_writer_is_killed_has_the_last_that_was_saved(tmp_path):
    for seed in range(10):
        path = tmp_path / f"{seed}.sqlite"
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            checkpoints = Checkpoints(SqliteStore(path), keep=2)
            for row in range(1, 1_000):
                checkpoints.save(str(row).encode() * 5_000, position=row, fingerprint=PLAN)
                os.write(writer, row.to_bytes(4, "little"))
            os._exit(0)
        time.sleep(0.03 + 0.02 * seed)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(writer)
        said = b""
        while chunk := os.read(reader, 65_536):
            said += chunk
        os.close(reader)
        last = int.from_bytes(said[-4:], "little")
        found = Checkpoints(SqliteStore(path)).latest()
        assert (found is None and last == 0) or found.position in (last, last + 1)
        assert found is None or found.payload == str(found.position).encode() * 5_000


# ------------------------------------------------------------------------------------------------------ a remote place


class Flaky:
    """A file system of fsspec's that fails at one of its calls, before it does anything, half way, or after."""

    def __init__(self, real, rng, at):
        self._real = real
        self._rng = rng
        self._at = at

    def __getattr__(self, name):
        real = getattr(self._real, name)
        if name not in ("makedirs", "info", "pipe_file", "mv", "ls", "rm_file", "cat_file"):
            return real

        def call(*arguments, **options):
            self._at -= 1
            if self._at != 0:
                return real(*arguments, **options)
            how = self._rng.choice(["before", "half way", "after"])
            if how == "half way" and name == "pipe_file":
                path, data = arguments
                real(path, data[: self._rng.randrange(len(data))])
            elif how == "after":
                real(*arguments, **options)
            raise self._rng.choice([OSError("connection reset"), PermissionError(13, "denied"), RuntimeError("503")])

        return call


@pytest.mark.parametrize("block", range(4))
def test_a_remote_place_through_200_faults(block):
    outcomes = []
    for seed in range(50 * block, 50 * block + 50):
        rng = random.Random(seed)
        url, run = f"memory://{uuid.uuid4()}", Run(rng)
        store, real = open_store(url), open_store(url)
        store._fs = Flaky(store._fs, rng, rng.randrange(1, 40))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run.save(Checkpoints(store, keep=rng.randrange(1, 4)), url, rng.randrange(1, 6))
        is_damaged = rng.random() < 0.3 and bool(real.list())
        if is_damaged:
            path = f"{real._root}/{rng.choice(real.list())}"
            data = bytearray(real._fs.cat_file(path))
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            real._fs.pipe_file(path, bytes(data))
        outcomes.append(run.check(Checkpoints(RemoteStore(url)), url, may_be_damaged=is_damaged))
    assert outcomes.count("last") >= 25
    print({outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))})
