"""Logs through streams: what would these streams have given?

The way of the data: logs -> merged by event time (merged_logs.py) -> engines, one a partition (partitions.py) ->
results, a step at a time. Nothing read or found is kept, so a replay takes the memory of a batch of each log and of
what the streams hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from fyke.errors import DefinitionError
from fyke.graph import Streams, StreamStatistics
from fyke.io import Idle, Sink, Source, Watermark
from fyke.io.bounded import Bounded, is_standard_input
from fyke.io.collect import CallSink
from fyke.io.files import open_log
from fyke.io.memory import Memory
from fyke.io.sinks import open_sink
from fyke.merged_logs import Ended, LogReader, Told, merged
from fyke.nodes import Source as Node
from fyke.operator import END
from fyke.outcome import StreamResults
from fyke.partitions import Partitions
from fyke.resumable import Cut

__all__ = ["StreamProgress", "StreamReplay"]

SinkLike: TypeAlias = "Sink | str | os.PathLike[str] | Callable[[dict[str, Any]], object]"


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How far a replay of streams is.

    Attributes:
        rows: rows read.
        results: rows that came out, by output.
        late, errors: rows put aside.
        partitions: engines at work.
        watermark: the lowest event time (ns) that is reached, None before each log has told one.
        fraction: of the logs that was read, 0 to 1, None if the end of one is unknown.
    """

    rows: int = 0
    results: Mapping[str, int] = field(default_factory=dict)
    late: int = 0
    errors: int = 0
    partitions: int = 0
    watermark: int | None = None
    fraction: float | None = None


class StreamReplay:
    """Logs and streams, ready to run; made by `fyke.replay`. Iterating runs them and gives the rows of the only output.

    Several logs are asked in turn: while a live source blocks, the others wait. Live input is for an Engine or an App.

    Args:
        logs: a log, or names of the streams' sources mapped to logs: paths, Arrow data, rows, `fyke.io.Source`.
        streams: what to run.
        batch_size: rows that are read at a time; changes nothing but speed.
        partition: a column of all logs: each of its values has an engine and watermarks of its own, as the partitions
            of a topic have. Rows of different values never meet.
        format, types: of logs that are paths; see `fyke.io.files.open_log`.

    Raises:
        DefinitionError: a source of the streams has no log, or a log no source.
    """

    def __init__(
        self,
        logs: Any,
        streams: Streams,
        *,
        batch_size: int = 65_536,
        partition: str | None = None,
        format: str | None = None,
        types: Mapping[str, pa.DataType] | None = None,
    ) -> None:
        if type(batch_size) is not int or batch_size < 1:
            raise DefinitionError(f"replay: batch_size must be at least 1, got {batch_size!r}")
        if partition is not None and not isinstance(partition, str):
            raise DefinitionError(f"replay: partition={partition!r:.80}: expected the name of a column")
        self._streams = streams
        self._partition = partition
        self._options = [str(types), str(format)] if partition is None else [str(types), str(format), partition]
        self._parts = Partitions(streams, partition)
        self._blank = self._parts.blank
        names = self._blank.inputs
        if isinstance(logs, Mapping):
            given = dict(logs)
        elif len(names) == 1:
            given = {names[0]: logs}
        else:
            raise DefinitionError(f"replay: the streams take rows from {', '.join(names)}: give a log for each by name")
        if set(given) != set(names):
            raise DefinitionError(
                f"replay: the streams take rows from {', '.join(names)}; "
                f"logs are {', '.join(map(str, given)) or 'none'}"
            )
        self._nodes = self._blank.sources
        self._logs = {name: _open(given[name], self._nodes[name], batch_size, format, types) for name in names}
        self._readers: list[LogReader] = []
        self._n_rows = self._late = self._errors = 0
        self._found = dict.fromkeys(self._blank.outputs, 0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for results in self.results():
            yield from results

    def results(self) -> Iterator[StreamResults]:
        """Run from the start and give what each step gives.

        Raises:
            DataError: a log is damaged; says where. SchemaError: log and streams do not meet.
        """
        self._restart(None, None)
        for step in self.steps(0, False):
            if not isinstance(step, Cut):
                yield step

    def steps(self, every: int, open_end: bool) -> Iterator[StreamResults | Cut]:
        """Run on from where this is; see `fyke.resumable.Run`.

        Args:
            every: rows of all logs from cut to cut; 0: no cuts.
            open_end: the end of a log ends nothing.
        """
        readers = [reader for reader in self._readers if not reader.is_over]
        for step in merged(readers, self._n_rows, every):
            if isinstance(step, Told):
                yield from self._counted(self._told(step))
            elif isinstance(step, Ended):
                if not open_end:
                    yield from self._counted(self._parts.advance(END, step.name))
            else:
                self._n_rows += len(step.order)
                yield from self._counted(self._parts.push(step))
                if every and self._n_rows % every == 0:
                    yield self._cut(open_end, is_end=False)
        if every:
            yield self._cut(open_end, is_end=not open_end)

    def _told(self, step: Told) -> Iterator[StreamResults]:
        if isinstance(step.item, Watermark):
            return self._parts.advance(step.item.ns, step.name)
        if isinstance(step.item, Idle):
            return self._parts.idle(step.name)
        return self._parts.tell_columns(step.name, step.item.rows.schema)

    def _counted(self, several: Iterable[StreamResults]) -> Iterator[StreamResults]:
        for results in several:
            for name, rows in results.outputs.items():
                self._found[name] += len(rows)
            self._late += len(results.late)
            self._errors += len(results.errors)
            yield results

    def _cut(self, open_end: bool, *, is_end: bool) -> Cut:
        counted = {"found": dict(self._found), "late": self._late, "errors": self._errors}
        logs = {reader.name: reader.position(open_end) for reader in self._readers}
        return Cut({"rows": self._n_rows, "counted": counted, "logs": logs}, is_end)

    def _restart(self, state: bytes | None, position: Any) -> None:
        self._n_rows = self._late = self._errors = 0
        self._found = dict.fromkeys(self._blank.outputs, 0)
        self._parts = Partitions(self._streams, self._partition)
        of_log: Mapping[str, Any] = {}
        if state is not None:
            of_log, counted = position["logs"], position["counted"]
            self._n_rows, self._found = position["rows"], dict(counted["found"])
            self._late, self._errors = counted["late"], counted["errors"]
            self._parts.resume(state, [name for name, each in of_log.items() if each["is_over"]])
        self._readers = [
            LogReader(name, log, self._nodes[name], of_log.get(name)) for name, log in self._logs.items()
        ]

    # -- what a resumable replay asks for

    @property
    def definition(self) -> Any:
        """What is run, as JSON."""
        return ["stream", self._blank.fingerprint, self._options]

    @property
    def outputs(self) -> tuple[str, ...]:
        """What there is to write: the outputs, and what is put aside."""
        return tuple(dict.fromkeys([*self._blank.outputs, *self._blank.sides]))

    @property
    def logs(self) -> list[str]:
        """The names of the logs."""
        return [f"{name}={log.name}" for name, log in self._logs.items()]

    def table(self, step: StreamResults, output: str) -> pa.Table:
        """Give of a step what belongs to an output."""
        return (step.outputs[output] if output in step.outputs else step.side(output)).to_arrow()

    def resume(self, state: bytes | None, position: Any) -> None:
        """Go to the beginning, or to where `state` and the position of a Cut were taken.

        Raises:
            StateError: the state is damaged, or of other streams. DefinitionError: a log cannot be read from a row on.
        """
        for log in self._logs.values():
            if not isinstance(log, Bounded) or is_standard_input(log):
                raise DefinitionError(f"{log.name} cannot be read again from where a checkpoint stands; give a file")
        self._restart(state, position)

    def state(self) -> bytes:
        """Give the state of now; see StreamEngine.snapshot."""
        return self._parts.snapshot()

    def engine(self, state: bytes) -> Any:
        """Make the engine that goes on from a state; with partitions, one for each."""
        engines = self._parts.restored(state)
        return engines[None] if self._partition is None else engines

    # -- what becomes of the results

    def run(
        self,
        sinks: SinkLike | Mapping[str, SinkLike] | None = None,
        *,
        on_step: Callable[[], object] | None = None,
    ) -> StreamStatistics:
        """Run from the start, write what comes out, and give the statistics.

        Args:
            sinks: where to: a sink, a path (JSONL, CSV or Parquet), or a function that is called with each row as a
                dict; or names of outputs and side outputs ("late", "errors", ...) mapped to such. What is not named
                is not kept. A sink is flushed at the end; a file opened here is closed.
            on_step: called after each step, as to look at `progress`.

        Raises:
            DefinitionError: there is no such output.

        >>> import fyke
        >>> big = fyke.stream(time="t", unit="s").filter(fyke.col.n > 5)
        >>> fyke.replay([{"t": 1, "n": 9}, {"t": 2, "n": 1}], big).run(print).rows
        {'t': 1, 'n': 9}
        2
        """
        one = {} if sinks is None or isinstance(sinks, Mapping) else {self._only_output(): sinks}
        named = dict(sinks) if isinstance(sinks, Mapping) else one
        self.check_outputs(named)
        opened: list[Sink] = []
        try:
            to: dict[str, Sink] = {}
            for name, each in named.items():
                to[name] = _sink(each)
                if to[name] is not each:
                    opened.append(to[name])
                to[name].open()
            for results in self.results():
                for name, sink in to.items():
                    sink.write(self.table(results, name))
                if on_step is not None:
                    on_step()
            for sink in to.values():
                sink.flush()
        finally:
            for sink in opened:
                sink.close()
        return self.statistics()

    def check_outputs(self, names: Iterable[str]) -> None:
        """Check that these are outputs or side outputs; raises DefinitionError that says which there are."""
        for name in names:
            if name not in self.outputs:
                raise DefinitionError(f'replay: there is no output "{name}"; there are {", ".join(self.outputs)}')

    def _only_output(self) -> str:
        if len(self.main_outputs) > 1:
            raise DefinitionError(
                f"replay: several outputs, {', '.join(self.main_outputs)}: give a sink for each by name"
            )
        return self.main_outputs[0]

    @property
    def main_outputs(self) -> tuple[str, ...]:
        """The names of the streams that are run."""
        return self._blank.outputs

    def collect(self) -> StreamResults:
        """Run from the start and keep everything; takes memory for it."""
        return StreamResults.together(list(self.results()))

    def to_arrow(self) -> pa.Table:
        """Run from the start and give all rows of the only output as a table."""
        name = self._only_output()
        tables = [self.table(results, name) for results in self.results()]
        filled = [table for table in tables if table.num_rows] or tables[-1:]
        return pa.concat_tables(filled, promote_options="permissive")

    def statistics(self) -> StreamStatistics:
        """Give the counts of the run under way, or of the last, summed over its partitions."""
        return self._parts.statistics()

    @property
    def progress(self) -> StreamProgress:
        """How far the run under way is. O(boxes)."""
        over = {reader.name for reader in self._readers if reader.is_over}
        fractions = [1.0 if name in over else log.fraction_read() for name, log in self._logs.items()]
        known = [each for each in fractions if each is not None]
        return StreamProgress(
            self._n_rows,
            dict(self._found),
            self._late,
            self._errors,
            len(self._parts.engines),
            self._parts.statistics().watermark,
            sum(known) / len(known) if len(known) == len(fractions) else None,
        )

    def explain(self) -> str:
        """Draw the streams, and say how they run."""
        return next(iter(self._parts.engines.values()), self._blank).explain()


def _open(
    log: Any, node: Node, batch_size: int, format: str | None, types: Mapping[str, pa.DataType] | None
) -> Source:
    if isinstance(log, str | os.PathLike):
        # What text looks like is not asked where the stream says what it is.
        given = {} if node.given is None else {f.name: f.type for f in node.given if f.name != node.time}
        return open_log(log, times=[node.time], batch_size=batch_size, format=format, types={**given, **(types or {})})
    return log if isinstance(log, Source) else Memory(log, batch_size=batch_size)


def _sink(given: SinkLike) -> Sink:
    if isinstance(given, str | os.PathLike):
        return open_sink(given)
    if isinstance(given, Sink):
        return given
    if not callable(given):
        raise DefinitionError(f"replay: {given!r:.80} is neither a sink nor a path nor a function")
    return CallSink(given, rows=True)
