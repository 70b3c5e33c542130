"""A log through an engine: what would this pattern have found?

The way of the data: source -> (split by partition) -> engine -> results, a batch at a time. Nothing read or found is
kept, so a replay takes the memory of one batch and of what the engine holds open. With `partition=` each of its values
has an engine of its own, and so its own watermark, as the partitions of a topic have: what a replay finds is then what
the pattern finds on such a topic. Used by the command line, and by anyone who wants to back-test a pattern.
"""

import dataclasses
import difflib
import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np
import pyarrow as pa

from fyke.duration import DurationLike, to_ns
from fyke.engine import Engine, Statistics
from fyke.errors import DefinitionError, LimitError, SchemaError
from fyke.expr import Call, columns, walk
from fyke.graph import Streams
from fyke.io import Batch, Idle, Source, Watermark
from fyke.io.bounded import Bounded, is_standard_input
from fyke.io.exact import ExactSink
from fyke.io.files import open_log
from fyke.io.memory import Memory
from fyke.match import Match, Results, Rows
from fyke.matching import Limits, Patterns, normalise
from fyke.pattern import Pattern
from fyke.resumable import Cut, Resumable, read_partitions, write_partitions
from fyke.schema import infer_schema
from fyke.state import Store
from fyke.state.checkpoint import Checkpoints
from fyke.stream_replay import StreamReplay
from fyke.streams import KeyedStream, Stream, Table, WindowedStream


class EngineMaker(Protocol):
    """Makes an engine: a new one, or one that goes on from a state."""

    def __call__(self, state: bytes | None = None, /) -> Engine: ...


# No topic has more; a column that has is a key, and a key belongs into the pattern.
MAX_PARTITIONS = 4_096


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is.

    Attributes:
        rows: rows read.
        matches: matches found.
        timeouts: partial matches that timed out (counted only with timeouts=True).
        late: late events.
        partitions: engines at work.
        watermark: the lowest event time (ns) that an engine has reached, None before the first event.
        fraction: of the log that was read, 0 to 1, None if its end is unknown.
    """

    rows: int = 0
    matches: int = 0
    timeouts: int = 0
    late: int = 0
    partitions: int = 0
    watermark: int | None = None
    fraction: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a replay found, as tables; made by `Replay.collect`."""

    matches: pa.Table
    late: pa.Table
    statistics: Statistics


class Replay:
    """A log and patterns, ready to run; made by `fyke.replay`.

    Iterating runs it from the start and gives the matches as they are found; what else comes up is in `results()`, a
    batch at a time. A log that can be read once (standard input, an iterator) makes a replay that can be run once.
    """

    def __init__(
        self,
        source: Source,
        make_engine: EngineMaker,
        partition: str | None,
        with_timeouts: bool,
        definition: Callable[[], Any],
    ) -> None:
        self._source = source
        self._definition = definition
        self._make_engine = make_engine
        self._partition = partition
        self._with_timeouts = with_timeouts
        self._engines: dict[Hashable, Engine] = {}
        self._progress = Progress()
        self._outside: int | None = None

    def __iter__(self) -> Iterator[Match]:
        for results in self.results():
            yield from results

    def results(self) -> Iterator[Results]:
        """Run from the start and give each push's results: matches, timeouts, held and late events.

        Matches come in the order of their release within a partition; between partitions in the order in which the
        batches bring them.

        Raises:
            DataError: the log is damaged; says where. SchemaError: log and pattern do not meet.
        """
        self._engines = {}
        self._progress = Progress()
        self._outside = None
        for step in self.steps(0, False):
            if not isinstance(step, Cut):
                yield step

    def steps(self, every: int, open_end: bool) -> Iterator[Results | Cut]:
        """Run on from where this is; see `fyke.resumable.Run`.

        Args:
            every: rows from cut to cut; 0: no cuts.
            open_end: do not flush at the end of the log.
        """
        for item in self._source:
            if isinstance(item, Idle):
                continue  # there is no other source that it could hold back
            if isinstance(item, Watermark):
                yield from self._advanced(item.ns)
                continue
            for batch in _pieces(item, self._progress.rows, every):
                for engine, rows, positions in self._route(batch):
                    yield self._counted(engine.push(rows, positions))
                self._progress = dataclasses.replace(
                    self._progress,
                    rows=self._progress.rows + batch.rows.num_rows,
                    partitions=len(self._engines),
                    watermark=min(
                        (e.watermark for e in self._engines.values() if e.watermark is not None), default=None
                    ),
                    fraction=self._source.fraction_read(),
                )
                if every and batch.rows.num_rows and self._progress.rows % every == 0:
                    yield self._cut(is_end=False)
        if not self._engines:
            self._engines[None] = self._make_engine()
        if not open_end:
            for engine in self._engines.values():
                yield self._counted(engine.flush())
        if every:
            yield self._cut(is_end=not open_end)

    def _cut(self, *, is_end: bool) -> Cut:
        done = dataclasses.asdict(self._progress) | {"fraction": None}
        return Cut({"progress": done, "outside": self._outside}, is_end)

    def run(
        self,
        on_match: Callable[[Match], object] | None = None,
        *,
        on_timeout: Callable[[Match], object] | None = None,
        on_held: Callable[[Match], object] | None = None,
        on_late: Callable[[Rows], object] | None = None,
    ) -> Statistics:
        """Run from the start, call what is given for each result, and return the statistics.

        Args:
            on_match: called with each match.
            on_timeout: called with each partial match that timed out; wants timeouts=True.
            on_held: called with each match that a skip strategy held back until the end.
            on_late: called with the late rows of each batch that has any.
        """
        for results in self.results():
            if on_match is not None:
                for match in results:
                    on_match(match)
            if on_timeout is not None:
                for match in results.timeouts:
                    on_timeout(match)
            if on_held is not None:
                for match in results.held:
                    on_held(match)
            if on_late is not None and len(results.late):
                on_late(results.late)
        return self.statistics()

    def collect(self) -> Outcome:
        """Run from the start and keep all matches and late rows, as Arrow tables; takes memory for them."""
        matches, late = [], []
        for results in self.results():
            matches.append(results.to_arrow())
            late.append(results.late.to_arrow())
        return Outcome(_concat(matches), _concat(late), self.statistics())

    def to_arrow(self) -> pa.Table:
        """Run from the start and return all matches, a row each."""
        return _concat([results.to_arrow() for results in self.results()])

    def statistics(self) -> Statistics:
        """Return the counters of the last run, or of the one under way, summed over its partitions."""
        return _sum([engine.statistics() for engine in self._engines.values()] or [self._make_engine().statistics()])

    @property
    def progress(self) -> Progress:
        """How far the run under way is."""
        return self._progress

    def explain(self) -> str:
        """Return the plan by which the patterns run."""
        return (next(iter(self._engines.values()), None) or self._make_engine()).explain()

    # -- what a resumable replay asks for

    @property
    def definition(self) -> Any:
        """What is run, as JSON."""
        return self._definition()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What there is to write."""
        return ("matches", "late", "held", *(["timeouts"] if self._with_timeouts else []))

    @property
    def logs(self) -> list[str]:
        """The name of the log."""
        return [self._source.name]

    def table(self, step: Results, output: str) -> pa.Table:
        """Give of a step what belongs to an output."""
        part = step if output == "matches" else getattr(step, output)
        return part.to_arrow()

    def resume(self, state: bytes | None, position: Any) -> None:
        """Go to the beginning, or to where `state` and the position of a Cut were taken.

        Raises:
            StateError: the state is damaged, or of other patterns.
        DefinitionError: the log cannot be read from a row on.
        """
        if not isinstance(self._source, Bounded) or is_standard_input(self._source):
            name = self._source.name
            raise DefinitionError(f"{name} cannot be read again from where a checkpoint stands; give a file")
        self._engines = {}
        self._progress = Progress()
        self._outside = None
        if state is not None:
            self._progress = Progress(**position["progress"])
            self._outside = position["outside"]
            self._engines = {each: self._make_engine(part) for each, part in read_partitions(state)}
        self._source.seek(self._progress.rows)

    def state(self) -> bytes:
        """Give the state of all partitions; see Engine.snapshot."""
        if not self._engines:
            self._engines[None] = self._make_engine()
        return write_partitions({each: engine.snapshot() for each, engine in self._engines.items()})

    def engine(self, state: bytes) -> Engine | dict[Hashable, Engine]:
        """Make the engine that goes on from a state; with partitions, one for each."""
        engines = {each: self._make_engine(part) for each, part in read_partitions(state)}
        return engines[None] if self._partition is None else engines

    def _advanced(self, watermark: int) -> Iterator[Results]:
        """Let all partitions know a watermark of the source's, those that appear later too."""
        self._outside = watermark
        if self._partition is None:
            self._engine(None)
        for engine in self._engines.values():
            yield self._counted(engine.advance(watermark))

    def _counted(self, results: Results) -> Results:
        done = self._progress
        self._progress = dataclasses.replace(
            done,
            matches=done.matches + len(results),
            timeouts=done.timeouts + (len(results.timeouts) if self._with_timeouts else 0),
            late=done.late + len(results.late),
        )
        return results

    def _route(self, batch: Batch) -> Iterator[tuple[Engine, pa.RecordBatch, Any]]:
        """Yield (engine, its rows, their positions), in the order in which the partitions appear in the batch."""
        positions = np.arange(batch.first, batch.first + batch.rows.num_rows, dtype=np.int64)
        if self._partition is None:
            yield self._engine(None), batch.rows, positions
            return
        names = batch.rows.schema.names
        if self._partition not in names:
            near = difflib.get_close_matches(self._partition, names, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; the columns are {', '.join(names)}"
            raise SchemaError(f"partition column `{self._partition}` is not in {self._source.name}{hint}")
        encoded = batch.rows.column(self._partition).dictionary_encode(null_encoding="encode")
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        values = encoded.dictionary.to_pylist()
        if len(values) == 1:
            yield self._engine(values[0]), batch.rows, positions
            return
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(values)))
        for value, indexes in zip(values, np.split(order, ends[:-1]), strict=True):
            yield self._engine(value), batch.rows.take(pa.array(indexes)), positions[indexes]

    def _engine(self, partition: Hashable) -> Engine:
        engine = self._engines.get(partition)
        if engine is None:
            if len(self._engines) == MAX_PARTITIONS:
                raise LimitError(
                    f"partition column `{self._partition}` has more than {MAX_PARTITIONS:,} values; if it is a key, "
                    f'say pattern.by("{self._partition}") instead'
                )
            engine = self._engines[partition] = self._make_engine()
            if self._outside is not None:
                engine.advance(self._outside)
        return engine


@overload
def replay(
    source: Any,
    patterns: Any,
    *,
    checkpoint: str | os.PathLike[str] | Store | Checkpoints,
    outputs: Mapping[str, str | os.PathLike[str] | ExactSink],
    every: int = ...,
    open_end: bool = ...,
    **options: Any,
) -> Resumable: ...
@overload
def replay(
    source: Any,
    patterns: Streams,
    *,
    batch_size: int = 65_536,
    partition: str | None = None,
    format: str | None = None,
    types: Mapping[str, pa.DataType] | None = None,
) -> StreamReplay: ...
@overload
def replay(
    source: Any,
    patterns: Patterns,
    *,
    time: str,
    unit: str | None = None,
    out_of_order: DurationLike | int = 0,
    partition: str | None = None,
    timeouts: bool = False,
    keep: Sequence[str] | None = None,
    batch_size: int = 65_536,
    format: str | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    **limits: Any,
) -> Replay: ...
def replay(source: Any, patterns: Any, **options: Any) -> Any:
    """Run patterns over a log, as they would have run live.

    Args:
        source: a path ("-" is standard input), a `fyke.io.Source`, Arrow data, a frame, or an iterable of rows; rows
            in the order of their arrival.
            For streams also names of their sources mapped to such.
        patterns: one pattern, several, or several by name; or a Stream, or several by name: then a StreamReplay comes,
            and of the options for patterns only batch_size, partition, format and types are left, for the streams say
            the others.
        time: the column of the event time: timestamps, text in ISO 8601, or numbers with `unit`.
        unit: "s", "ms", "us" or "ns", the unit of a time that is a number.
        out_of_order: how far an event may lie behind one that arrived before it; what is further behind is late.
        partition: a column by whose values the log is split, each part with its own watermark.
        timeouts: give partial matches whose time ran out, too.
        keep: columns that a match shall hold beside those of its pattern. Default: all.
        batch_size: rows per push; changes nothing but speed.
        format: what the file is, if its name does not say it.
        types: types of columns that text should be read as.
        checkpoint: where checkpoints are kept, as `fyke.state.open_store` has them; then a Resumable comes, whose run()
            goes on where the last one was, however that ended.
        outputs: for that, what to write where: matches, late, held, timeouts, or the outputs and sides of streams,
            mapped to files (.jsonl, .csv), folders (.parquet) or URLs of databases; each result stands there once.
        every: for that, rows from checkpoint to checkpoint. Default: a million.
        open_end: for that, do not end with the log: what is open stays so, for a live engine to go on with.
        limits: bounds as `Engine` takes them: max_partials, max_memory, key_ttl and their policies.

    Raises:
        DefinitionError: a wrong pattern or option. Reading raises DataError and SchemaError.

    >>> import fyke
    >>> from fyke import col
    >>> rows = [{"ts": 1, "card": "a", "amount": 0.5}, {"ts": 9, "card": "a", "amount": 900.0}]
    >>> spree = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")
    >>> for match in fyke.replay(rows, spree, time="ts", unit="s"):
    ...     print(match.key, match["probe"]["amount"], match["spree"]["amount"])
    a 0.5 900.0
    """
    values = patterns.values() if isinstance(patterns, Mapping) else [patterns]
    own = {name: options.pop(name) for name in _OF_CHECKPOINTS if name in options}
    if any(isinstance(each, Stream | Table | KeyedStream | WindowedStream) for each in values):
        _check_options(options, _OF_STREAMS, "streams")
        run: StreamReplay | Replay = StreamReplay(source, patterns, **options)
    else:
        _check_options(options, _OF_PATTERNS, "patterns")
        normalise(patterns)
        if "time" not in options:
            raise DefinitionError("replay: patterns need time=, the column of the event time")
        run = _replay_patterns(source, patterns, **options)
    checkpoint = own.pop("checkpoint", None)
    if checkpoint is None:
        if own:
            raise DefinitionError(f"replay: {next(iter(own))}= is of a replay with checkpoints: say checkpoint=, too")
        return run
    return Resumable(run, checkpoint, own.pop("outputs", {}), **own)


_OF_CHECKPOINTS = ("checkpoint", "outputs", "every", "open_end")
_OF_STREAMS = ("batch_size", "partition", "format", "types")
_OF_PATTERNS = (
    *("time", "unit", "out_of_order", "partition", "timeouts", "keep", "batch_size", "format", "types", "strategy"),
    *(each.name for each in dataclasses.fields(Limits) if each.name != "timeouts"),
)


def _check_options(given: Mapping[str, Any], known: Sequence[str], of: str) -> None:
    for name in given:
        if name in known:
            continue
        if of == "streams" and name in _OF_PATTERNS:
            raise DefinitionError(f"replay: {name}= is said where the streams are written")
        near = difflib.get_close_matches(name, [*known, *_OF_CHECKPOINTS], 1)
        hint = f"did you mean {near[0]}=?" if near else f"the options for {of} are {', '.join(known)}"
        raise DefinitionError(f"replay: there is no {name}=; {hint}")


def _replay_patterns(
    source: Any,
    patterns: Patterns,
    *,
    time: str,
    unit: str | None = None,
    out_of_order: DurationLike | int = 0,
    partition: str | None = None,
    timeouts: bool = False,
    keep: Sequence[str] | None = None,
    batch_size: int = 65_536,
    format: str | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    **limits: Any,
) -> Replay:
    """Run patterns; see replay."""
    if batch_size < 1:
        raise DefinitionError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(patterns, Pattern):
        all_patterns = [patterns]
    else:
        all_patterns = list(patterns.values() if isinstance(patterns, Mapping) else patterns)
    wanted = _columns_needed(all_patterns, keep)
    if wanted is not None:
        wanted = [*dict.fromkeys([time, *([partition] if partition else []), *wanted])]
    found: Source
    if isinstance(source, str | os.PathLike):
        found = open_log(
            source,
            format=format,
            columns=wanted,
            types=types,
            times=[time],
            texts=_texts(all_patterns),
            batch_size=batch_size,
        )
    elif isinstance(source, Source):
        found = source
    else:
        found = Memory(source, columns=wanted, batch_size=batch_size)

    def make_engine(state: bytes | None = None) -> Engine:
        options: Any = {"time": time, "unit": unit, "out_of_order": out_of_order, "keep": keep, "timeouts": timeouts}
        if state is not None:
            return Engine.restore(state, patterns, **options, **limits)
        return Engine(patterns, **options, **limits)

    def definition() -> Any:
        """Say all that decides what is found."""
        named = patterns if isinstance(patterns, Mapping) else dict(enumerate(all_patterns))
        options = [time, unit, to_ns(out_of_order) if out_of_order else 0, partition, timeouts, wanted, str(limits)]
        return [[[name, each.to_dict()] for name, each in named.items()], options, str(types)]

    # Made once to see what is wrong with the definition here, not when the log is read, and told once, to the caller.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        make_engine()
    for warning in told:
        warnings.warn(warning.message, stacklevel=3)
    return Replay(found, _quietly(make_engine), partition, timeouts, definition)


def _quietly(make_engine: EngineMaker) -> EngineMaker:
    """Return what makes engines without the warnings that were given already."""

    def make(state: bytes | None = None) -> Engine:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make_engine(state)

    return make


def _pieces(batch: Batch, done: int, every: int) -> Iterator[Batch]:
    """Yield a batch in pieces that end where the rows of all batches are a multiple of `every`."""
    n, at = batch.rows.num_rows, 0
    while every and (to_cut := every - (done + at) % every) < n - at:
        yield Batch(batch.rows.slice(at, to_cut), batch.first + at)
        at += to_cut
    yield Batch(batch.rows.slice(at), batch.first + at) if at else batch


def _columns_needed(patterns: Iterable[Pattern], keep: Sequence[str] | None) -> list[str] | None:
    """Return what the patterns and their matches read, None if that is everything (all kept, or Python looks)."""
    if keep is None:
        return None
    names = list(keep)
    for pattern in patterns:
        for expression in [*(condition for _, condition in pattern.conditions()), *pattern.key]:
            if any(isinstance(node, Call) for node in walk(expression)):
                return None
            names += columns(expression)
    return names


def _texts(patterns: Iterable[Pattern]) -> list[str]:
    """Return the columns that the patterns use as text."""
    schemas = [infer_schema(pattern.conditions(), pattern.key) for pattern in patterns]
    return [field.name for schema in schemas for field in schema if field.type == "string"]


def _concat(tables: list[pa.Table]) -> pa.Table:
    """Return the tables one after the other; a column that came later is null before, int64 gives way to float64."""
    filled = [table for table in tables if table.num_rows] or tables[-1:]
    return pa.concat_tables(filled, promote_options="permissive")


def _sum(parts: list[Statistics]) -> Statistics:
    """Return the counters of several engines added up; their watermark is the lowest."""
    watermark = min((part.watermark for part in parts if part.watermark is not None), default=None)
    names = [field.name for field in dataclasses.fields(Statistics) if field.name != "watermark"]
    return Statistics(**{name: sum(getattr(part, name) for part in parts) for name in names}, watermark=watermark)
