"""Replays that go on where they were, whenever they died: checkpoints by input position, each result written once.

A run is cut after each so many rows of its input. At a cut, files are brought to the medium, then a checkpoint is
saved: the engine's state, the place in the inputs, and where each file ends. Last the databases commit the rows
together with the number of the cut. Whoever goes on takes the last checkpoint that verifies and that no database is
behind of, cuts the files back to what it knows, and runs on; a database that is ahead passes over what it has. Cuts
depend on the rows alone, so what is written twice is the same, byte for byte.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from fyke.errors import DefinitionError, StateError
from fyke.io.exact import ExactSink, Rewindable, open_exact_sink
from fyke.state import Store, open_store
from fyke.state.checkpoint import Checkpoint, Checkpoints
from fyke.state.local import LocalStore, make_folder

__all__ = ["DEFAULT_EVERY", "Cut", "Resumable", "Run", "read_partitions", "write_partitions"]

DEFAULT_EVERY = 1_000_000


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a run, after a step, where it can go on: what the run's `position` was, and whether it is the end."""

    position: Any
    is_end: bool


def write_partitions(states: Mapping[Any, bytes]) -> bytes:
    """Give the states of several engines, each with the value that it is for, as Arrow's stream of one batch."""
    keys = pa.array(list(states))
    rows = pa.record_batch([keys, pa.array(list(states.values()), pa.large_binary())], ["partition", "state"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def read_partitions(data: bytes) -> list[tuple[Any, bytes]]:
    """Read what write_partitions wrote.

    Raises:
        StateError: it is something else.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            table = reader.read_all()
        table.validate(full=True)
        return list(zip(table["partition"].to_pylist(), table["state"].to_pylist(), strict=True))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise StateError(f"the state of a replay's partitions: {error}") from None


class Run(Protocol):
    """A replay, as seen from here."""

    @property
    def definition(self) -> Any:
        """What is run, as JSON: two runs of equal definitions over the same logs give the same."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it can give."""

    @property
    def logs(self) -> list[str]:
        """The names of what it reads."""

    def resume(self, state: bytes | None, position: Any) -> None:
        """Go to the beginning (None, None), or to where a `Cut` was."""

    def steps(self, every: int, open_end: bool) -> Iterator[Any]:
        """Run on; after each `every` rows, and at the end, give a Cut between the results."""

    def table(self, step: Any, output: str) -> pa.Table:
        """Give of a step what belongs to an output."""

    def state(self) -> bytes:
        """Give the state of now."""

    def engine(self, state: bytes) -> Any:
        """Make an engine that goes on from a state."""


class Resumable:
    """A replay with checkpoints; made by `fyke.replay(checkpoint=...)`.

    Args:
        run: the replay.
        checkpoint: where checkpoints are kept: a folder, a file of SQLite, a URL, a store, or Checkpoints.
        outputs: names of the run's outputs mapped to files, folders, databases, or sinks.
        every: rows of input from one checkpoint to the next.
        open_end: nothing ends with the log: what is open stays so, and more rows, or a live engine, go on from there.

    Attributes:
        replay: the replay under way, for its progress and statistics.
        resumed_at: where the last run went on, None where it began at the beginning.

    Raises:
        DefinitionError: an option is wrong, or there is no such output.
        StateError: the state of the run cannot be written: a pattern holds a lambda.
    """

    def __init__(
        self,
        run: Run,
        checkpoint: str | os.PathLike[str] | Store | Checkpoints,
        outputs: Mapping[str, str | os.PathLike[str] | ExactSink],
        *,
        every: int = DEFAULT_EVERY,
        open_end: bool = False,
    ) -> None:
        if type(every) is not int or every < 1:
            raise DefinitionError(f"every={every!r}: expected a number of rows, at least 1")
        if not outputs:
            raise DefinitionError("a replay with checkpoints needs outputs: results that are only looked at come twice")
        for name in outputs:
            if name not in run.outputs:
                raise DefinitionError(f'outputs: there is no "{name}"; there are {", ".join(run.outputs)}')
        self._folder: str | None = None
        if isinstance(checkpoint, str | os.PathLike):
            checkpoint = open_store(os.fspath(checkpoint))
            self._folder = checkpoint.name if isinstance(checkpoint, LocalStore) else None
        if not isinstance(checkpoint, Checkpoints):
            checkpoint = Checkpoints(checkpoint, task="replay")
        self._checkpoints = checkpoint
        self.replay = run
        self._every = every
        self._open_end = open_end
        self._sinks = {
            name: open_exact_sink(each, default_table=name) if isinstance(each, str | os.PathLike) else each
            for name, each in outputs.items()
        }
        text = json.dumps([run.definition, every, sorted(outputs)], sort_keys=True)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        run.resume(None, None)
        run.state()  # says now, not after the first million rows, what cannot be written
        self._cut = 0
        self.resumed_at: Any = None

    def run(self, on_step: Callable[[], object] | None = None) -> bool:
        """Run from the last checkpoint to the end; False if it was at the end already.

        Args:
            on_step: called after each step, to show progress.

        Raises:
            StateError: no checkpoint can be restored, or it is of another definition; or another replay is at work with
                the same folder of checkpoints. DataError: an output is not what
                the checkpoint knows, or the log is damaged.
        """
        with _locked(self._folder):
            try:
                return self._go_on(on_step)
            finally:
                for sink in self._sinks.values():
                    sink.close()

    def _go_on(self, on_step: Callable[[], object] | None) -> bool:
        databases = [sink for sink in self._sinks.values() if not isinstance(sink, Rewindable)]
        found = self._latest(min((sink.resume(self.fingerprint) for sink in databases), default=None))
        position = None if found is None else self._checked(found)
        self._cut = 0 if position is None else position["cut"]
        for name, sink in self._sinks.items():
            if isinstance(sink, Rewindable):
                sink.resume(None if position is None else position["outputs"][name])
        if position is not None and position["is_end"]:
            return False
        self.resumed_at = None if position is None else position["run"]
        self.replay.resume(None if found is None else found.payload, self.resumed_at)
        for step in self.replay.steps(self._every, self._open_end):
            if isinstance(step, Cut):
                self._save(step)
            else:
                for name, sink in self._sinks.items():
                    sink.write(self.replay.table(step, name))
            if on_step is not None:
                on_step()
        return True

    def engine(self) -> Any:
        """Make the engine that goes on live from the last checkpoint; with partition=, one for each of its values.

        Raises:
            StateError: as `run`; there is no checkpoint yet, or the replay has ended, and with it all that was open.
        """
        found = self._latest(None)
        if found is None:
            raise StateError("no checkpoint yet to go on from: run the replay first")
        if self._checked(found)["is_end"]:
            raise StateError("the replay has ended, and with it all that was open: replay with open_end=True to go on")
        return self.replay.engine(found.payload)

    def _latest(self, limit: int | None) -> Checkpoint | None:
        """Return the last checkpoint that verifies and lies at or before the cut that every database has."""
        found = self._checkpoints.latest()
        if found is not None and found.fingerprint != self.fingerprint:
            raise StateError(
                f"checkpoint {found.number} is of another replay: patterns or streams, their options, every= and the "
                "names of outputs must be what they were; keep the checkpoints of a new one in another place"
            )
        if found is None or limit is None or found.position["cut"] <= limit:
            return found
        for number in reversed([each for each in self._checkpoints.numbers() if each < found.number]):
            try:
                found = self._checkpoints.load(number)
            except StateError as error:
                warnings.warn(str(error), RuntimeWarning, stacklevel=3)
                continue
            if found.position["cut"] <= limit:
                return found
        if limit == 0:
            return None  # from the start: the files are cut back to nothing, and the databases hold nothing
        raise StateError(
            f"a database has the results up to cut {limit}, and no checkpoint of that cut or before is left: "
            "drop its table and its row of fyke_progress to write all of it again"
        )

    def _checked(self, found: Checkpoint) -> Any:
        """Return what a checkpoint's position says, if it is of the same logs."""
        position = found.position
        if position["logs"] != self.replay.logs:
            raise StateError(
                f"the checkpoint is of {', '.join(position['logs'])}, not of {', '.join(self.replay.logs)}: "
                "give each replay a place of its own"
            )
        return position

    def _save(self, cut: Cut) -> None:
        """Files first, so that what the checkpoint knows is there; databases last, so that it is there for them."""
        self._cut += 1
        files = {
            name: sink.cut(is_last=cut.is_end) for name, sink in self._sinks.items() if isinstance(sink, Rewindable)
        }
        position = {
            "cut": self._cut,
            "is_end": cut.is_end,
            "logs": self.replay.logs,
            "run": cut.position,
            "outputs": {name: files.get(name) for name in self._sinks},
        }
        self._checkpoints.save(self.replay.state(), position=position, fingerprint=self.fingerprint)
        for sink in self._sinks.values():
            if not isinstance(sink, Rewindable):
                sink.commit(self._cut, is_last=cut.is_end)


@contextlib.contextmanager
def _locked(folder: str | None) -> Iterator[None]:
    """Keep other replays away from a folder of checkpoints; the lock goes with the process, however that ends.

    Raises:
        StateError: another replay is at work there.
    """
    if folder is None:  # of a database or a URL whoever starts replays sees to it
        yield
        return
    make_folder(folder)
    with open(os.path.join(folder, ".lock"), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"{folder}: another replay is at work with these checkpoints") from None
        yield
