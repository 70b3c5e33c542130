"""StreamEngine: a stream graph in an application. Push rows into its sources, get what its outputs give.

One step a push: every box takes what its inputs gave, in the order of the graph, and gives its own. Rows and watermarks
carry the arrival number of the row (or of the call) that they come from, so how rows are cut into pushes changes
nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa

from fyke._core import count_from
from fyke.box import Box
from fyke.errors import DataError, DefinitionError, EngineStopped, FykeError, SchemaError, StateError
from fyke.eventtime import watermark_ns
from fyke.flowchart import box_names, drawn
from fyke.graph_upgrade import Graph, MovedBoxes, Place, difference_of_graphs, places_of
from fyke.intake import Intake
from fyke.nodes import SIDES, Node, Side, Source, Union, order_of
from fyke.operator import END, START, Batch, Int64s, Marks, Output
from fyke.operators.processor import Processor
from fyke.outcome import Records, StreamResults
from fyke.snapshot import read_container, write_container
from fyke.stateview import StateView
from fyke.streams import KeyedStream, Stream, Table, WindowedStream
from fyke.table_nodes import Aggregated, Tabled, TableJoined
from fyke.timed_nodes import Processing
from fyke.upgrade import Upgrade

__all__ = ["InputStatistics", "StreamEngine", "StreamStatistics", "Streams"]

Streams: TypeAlias = "Stream | Table | Mapping[str, Stream | Table]"


@runtime_checkable
class ReadableTable(Protocol):
    """A table while it runs."""

    def get(self, *key: Any) -> dict[str, Any] | None:
        """Give the row of a key, or None.

        Raises:
            DataError: it is no key of this table.
        """
        ...

    def items(self) -> Iterator[dict[str, Any]]:
        """Give the rows, in the order of the arrival of what they are made of."""
        ...

    def to_arrow(self) -> pa.RecordBatch:
        """Give all rows."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """Of a source: rows pushed; its watermark in ns, None before the first; whether it is idle."""

    rows: int
    watermark: int | None
    is_idle: bool


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Counts since the start, and what is held now.

    Attributes:
        rows: rows pushed. late, null_keys: summed over the boxes that judged them.
        bytes: held by all boxes together, as far as they count it.
        watermark: the least of the inputs', ns; None before each has one.
        inputs: by the name of the source. boxes: what each box counts, by its name.
    """

    rows: int
    late: int
    null_keys: int
    bytes: int
    watermark: int | None
    inputs: Mapping[str, InputStatistics]
    boxes: Mapping[str, Mapping[str, int]]


class StreamEngine:
    """Runs a stream, or several that share what they have in common.

    Args:
        streams: a Stream, or a mapping of names to Streams: the outputs.

    Raises:
        DefinitionError: no streams, or two boxes of one name.

    What a push costs is what its boxes cost: no Python per row unless a box is Python.

    >>> from fyke import col, stream
    >>> payments = stream("payments", time="ts", unit="s")
    >>> engine = StreamEngine(payments.filter(col.amount > 500).select("card"))
    >>> list(engine.push([{"ts": 0, "card": "x", "amount": 0.5}, {"ts": 60, "card": "y", "amount": 900.0}]))
    [{'card': 'y'}]
    """

    def __init__(self, streams: Streams) -> None:
        outputs = dict(streams) if isinstance(streams, Mapping) else {"results": streams}
        if not outputs or not all(isinstance(name, str) and name for name in outputs):
            raise DefinitionError("Engine: expected a Stream, or names mapped to Streams")
        given: Mapping[str, object] = outputs  # which callers without a type checker may get wrong
        for name, each in given.items():
            if not isinstance(each, Stream | Table):
                hint = "; say what comes out: aggregate(...)" if isinstance(each, WindowedStream) else ""
                hint = "; say what is done by key: window, match, join, ..." if isinstance(each, KeyedStream) else hint
                raise DefinitionError(f'Engine: output "{name}" is {each!r:.80}, not a Stream{hint}')
        self._outputs = {name: each.node for name, each in outputs.items()}
        self._order = order_of(list(self._outputs.values()))
        self._names = box_names(self._order)
        names = list(self._names.values())
        for name in names:
            if names.count(name) > 1:
                raise DefinitionError(f'two boxes of the graph are named "{name}": give each a name of its own')
        self._intakes = {node.name: Intake(node) for node in self._order if isinstance(node, Source)}
        self._boxes = {
            node: Box(node, self._names[node]) for node in self._order if not isinstance(node, Source | Side)
        }
        self._sources_of = _sources_of(self._order)
        self._no_rows: dict[Node, Batch] = {}  # of each output, once its columns are known
        self._arrivals = 1  # 0: watermarks that a box was given before it was made
        # The watermark behind the rows of each output, as told since this engine was made or restored.
        self.reached: dict[str, int] = {}
        self._stopped: str | None = None
        self.moved: MovedBoxes | None = None
        self._is_busy = False
        self._settle()

    # -- input

    def push(self, data: Any, to: str | None = None) -> StreamResults:
        """Take rows in arrival order and give what they bring about.

        Args:
            data: a row (dict, dataclass, msgspec Struct), an iterable of rows, a NumPy structured array, or anything
                with the Arrow C interface (pyarrow, polars, pandas). Arrow data without rows tells the columns.
            to: the name of the source; can be left out where there is only one.

        Raises:
            DataError: a value is missing or of the wrong type. SchemaError: the first data and the stream do not meet.
                In both cases nothing of this push has been taken.
            LimitError, SkipError, or what a Python function raised: the engine is then stopped.
        """
        intake = self._intake(to)
        self._enter()
        try:
            before = intake.schema
            rows, times = intake.decode(data)
            if before is None and intake.schema is not None:
                try:
                    self._settle()
                except FykeError:
                    intake.columns.schema = before
                    raise
            if not len(rows):
                return self._step({})
            first = self._arrivals
            batch = intake.take(rows, times, count_from(first, len(rows)))
            self._arrivals += len(rows)
            return self._step({intake.node: batch})
        finally:
            self._is_busy = False

    def push_under(self, rows: pa.RecordBatch, watermarks: Int64s, to: str | None = None) -> StreamResults:
        """Take rows that were put in order elsewhere, with the watermark that holds before each.

        Args:
            rows: of the source's columns.
            watermarks: ns, ascending, one a row; one that is below that of the source changes nothing.
            to: the name of the source.

        Raises:
            DataError: a value or a time is wrong; nothing is taken then.
        """
        intake = self._intake(to)
        self._enter()
        try:
            taken, times = intake.decode(rows)
            self._settle()
            first = self._arrivals
            self._arrivals += 2 * len(taken)
            return self._step({intake.node: intake.take_under(taken, times, watermarks, first)} if len(taken) else {})
        finally:
            self._is_busy = False

    def push_merged(self, data: Mapping[str, Any], order: Any) -> StreamResults:
        """Take rows of several sources in one step, in an order of arrival of their own.

        Args:
            data: rows by the name of the source, as push takes them.
            order: for each row of all, in the order of arrival, the place of its source in `data`.

        Raises:
            DataError, SchemaError: as push.
        """
        places = np.asarray(order)
        self._enter()
        try:
            taken = []
            for i, (name, rows) in enumerate(data.items()):
                intake = self._intake(name)
                batch, times = intake.decode(rows)
                mine = np.flatnonzero(places == i)
                if len(mine) != len(batch):
                    raise DataError(f'order: {len(mine)} rows of "{name}", {len(batch)} given')
                taken.append((intake, batch, times, mine))
            self._settle()
            first = self._arrivals
            self._arrivals += len(places)
            return self._step(
                {
                    intake.node: intake.take(batch, times, (mine + first).astype(np.uint64))
                    for intake, batch, times, mine in taken
                    if len(mine)
                }
            )
        finally:
            self._is_busy = False

    @property
    def sources(self) -> dict[str, Source]:
        """The sources by name."""
        return {name: intake.node for name, intake in self._intakes.items()}

    def advance(self, watermark: int | dt.datetime, input: str | None = None) -> StreamResults:
        """Move the watermark from outside: no more rows with a time at or before it.

        Args:
            watermark: ns since the epoch, or a datetime.
            input: the name of a source; None: of all.

        Raises:
            DataError: it is neither, or outside the range of times (years 1677 to 2262).
        """
        return self._advance(watermark_ns(watermark), input)

    def flush(self) -> StreamResults:
        """End of input: all watermarks go to infinity, everything open comes out, later rows are late.

        Raises:
            SchemaError: rows of a join wait for the columns of an input that has had none; nothing has ended then.
        """
        return self._advance(END, None)

    def _advance(self, ns: int, name: str | None) -> StreamResults:
        intakes = list(self._intakes.values()) if name is None else [self._intake(name)]
        self._enter()
        try:
            if all(intake.watermark == END or (ns == END and intake in intakes) for intake in self._intakes.values()):
                self._require_schemas()
            origin = self._arrivals
            self._arrivals += 1
            marks = {intake.node: intake.advance(ns, origin) for intake in intakes}
            return self._step(
                {node: Batch.empty(pa.schema([]), each) for node, each in marks.items() if len(each)}, origin
            )
        finally:
            self._is_busy = False

    def idle(self, name: str) -> StreamResults:
        """Leave an input out of account where boxes wait for the least of their inputs' watermarks.

        It counts again from its next row on, which may then be late. If all inputs of a box are idle, it waits.

        Args:
            name: the name of the source.
        """
        intake = self._intake(name)
        self._enter()
        try:
            origin = self._arrivals
            self._arrivals += 1
            intake.is_idle = True
            return self._step({}, origin)
        finally:
            self._is_busy = False

    def _intake(self, name: str | None) -> Intake:
        if name is None and len(self._intakes) == 1:
            return next(iter(self._intakes.values()))
        found = None if name is None else self._intakes.get(name)
        if found is None:
            given = "it must be said which" if name is None else f'there is no "{name}"'
            raise DefinitionError(f"the graph takes rows from {', '.join(self._intakes)}: {given}")
        return found

    def _enter(self) -> None:
        if self._stopped is not None:
            raise FykeError(f"this engine has stopped: {self._stopped}")
        if self._is_busy:
            raise FykeError("this engine is in use by another thread; give each thread an engine of its own")
        self._is_busy = True

    # -- the step

    def _settle(self) -> None:
        """Make every box whose inputs' columns are known; raises SchemaError, and has made none then."""
        made: list[Box] = []
        try:
            for node, box in self._boxes.items():
                if box.operator is None and box.make([self._schema(each) for each in node.inputs]):
                    made.append(box)
        except FykeError:
            for box in made:
                box.operator = None
            raise

    def _schema(self, node: Node) -> pa.Schema | None:
        if isinstance(node, Source):
            return self._intakes[node.name].schema
        if isinstance(node, Side):
            return self._boxes[node.inputs[0]].side_schemas.get(node.output)
        box = self._boxes[node]
        return None if box.operator is None else box.operator.schema

    def _require_schemas(self) -> None:
        """At the end of the input: rows that wait for columns of others would wait for ever."""
        for node, box in self._boxes.items():
            if not box.has_pending_rows:
                continue
            known = [box.pending_schema(i) or self._schema(each) for i, each in enumerate(node.inputs)]
            if isinstance(node, Union):  # what never came changes nothing
                box.make([each or next(other for other in known if other is not None) for each in known])
            else:
                unknown = next(each for each, schema in zip(node.inputs, known, strict=True) if schema is None)
                raise SchemaError(
                    f"{node.path}: no rows of {unknown.path} have come, so its columns are not known: give it a "
                    "schema= where it is written, or push Arrow data without rows"
                )

    def _step(self, given: Mapping[Node, Batch], idle_origin: int | None = None) -> StreamResults:
        """Let every box take what its inputs give."""
        outputs: dict[Node, Output] = {node: Output(batch) for node, batch in given.items()}
        try:
            for node in self._order:
                if isinstance(node, Source):
                    continue
                if isinstance(node, Side):
                    output = _of_side(outputs.get(node.inputs[0]), node.output)
                else:
                    batches = [outputs[each].results if each in outputs else None for each in node.inputs]
                    is_idle = [self._is_idle(each) for each in node.inputs] if len(node.inputs) > 1 else ()
                    box = self._boxes[node]
                    if box.operator is None and any(batch is not None and len(batch) for batch in batches):
                        box.make([
                            batch.rows.schema if batch is not None and len(batch)
                            else box.pending_schema(i) or self._schema(each)
                            for i, (batch, each) in enumerate(zip(batches, node.inputs, strict=True))
                        ])  # fmt: skip
                    output = box.step(batches, is_idle, idle_origin)
                if output is not None:
                    outputs[node] = output
        except BaseException as error:
            self._stopped = f"{type(error).__name__}: {error}"
            if isinstance(error, EngineStopped):
                if isinstance(error.results, Output):
                    outputs[node] = error.results
                error.results = self._collected(outputs)
            raise
        return self._collected(outputs)

    def _is_idle(self, node: Node) -> bool:
        return all(self._intakes[name].is_idle for name in self._sources_of[node])

    def _collected(self, outputs: Mapping[Node, Output]) -> StreamResults:
        given: dict[str, Records] = {}
        for name, node in self._outputs.items():
            if node in outputs:
                self._no_rows.setdefault(node, Batch.empty(outputs[node].results.rows.schema))
            rows = outputs[node].results if node in outputs else self._no_rows.get(node)
            given[name] = Records([] if rows is None else [(self._names[node], rows)])
        for name, node in self._outputs.items():
            if node in outputs and len(outputs[node].results.marks):
                self.reached[name] = int(outputs[node].results.marks.times[-1])
        sides: dict[str, list[tuple[str, Batch | pa.Table]]] = {}
        for node, output in outputs.items():
            for name, aside in output.side.items():
                sides.setdefault(name, []).append((self._names[node], aside))
        return StreamResults(given, {name: Records(parts) for name, parts in sides.items()})

    # -- state

    def table(self, name: str = "results") -> ReadableTable:
        """Give a table to read, as it is now; it changes with the next push.

        Args:
            name: of an output that is a table, or of the box of one.

        Raises:
            DefinitionError: there is no such table, or it has had no rows yet.
        """
        named = {self._names[node]: node for node in self._boxes} | self._outputs
        node = named.get(name)
        found: Any = None if node is None or node not in self._boxes else self._boxes[node].operator
        if not isinstance(found, ReadableTable):
            tables = [n for n, each in named.items() if isinstance(each, Aggregated | Tabled | TableJoined)]
            if name in tables:
                raise DefinitionError(
                    f'table "{name}" has had no rows yet, so its columns are not known: give its stream a schema='
                )
            raise DefinitionError(f'there is no table "{name}"; the tables are {", ".join(tables) or "none"}')
        return found

    def state_of(self, box: str, key: Any = None) -> dict[str, Any]:
        """Give what a process keeps for a key: its states by name, and its timers (ns) by name under "timers".

        Args:
            box: the name of the process.
            key: a value, or a tuple of them; None: a process without a key.

        Raises:
            DefinitionError: there is no such process, or it has had no rows yet.
        """
        found: Any = next((b.operator for node, b in self._boxes.items() if self._names[node] == box), None)
        if not isinstance(found, Processor):
            known = [self._names[node] for node in self._boxes if isinstance(node, Processing)]
            if box in known:
                raise DefinitionError(f'process "{box}" has had no rows yet')
            raise DefinitionError(f'there is no process "{box}"; there are {", ".join(known) or "none"}')
        return found.state_of(key)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(self._intakes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(self._outputs)

    @property
    def sides(self) -> tuple[str, ...]:
        """The names of what boxes put aside: late, errors, ..., those of one side of a join, those of processes."""
        names = dict.fromkeys(name for node in self._boxes for name in node.sides)
        whole = [each for each in SIDES if any(name == each or name.startswith(f"{each}_") for name in names)]
        return tuple(dict.fromkeys([*whole, *names]))

    def input_schema(self, name: str) -> pa.Schema | None:
        """Give the columns of a source, once they are known."""
        return self._intake(name).schema

    def describe(self, style: str = "text") -> str:
        """Draw the graph with its outputs; see Stream.describe."""
        return drawn(list(self._outputs.values()), list(self._outputs), style)

    @property
    def watermark(self) -> int | None:
        """The least of the inputs' watermarks, ns since the epoch; None before each of them has one."""
        least = min(intake.watermark for intake in self._intakes.values())
        return None if least == START else least

    def statistics(self) -> StreamStatistics:
        """Give the counts of now, as an immutable record."""
        boxes = {self._names[node]: box.statistics() for node, box in self._boxes.items()}
        inputs = {
            name: InputStatistics(i.position, None if i.watermark == START else i.watermark, i.is_idle)
            for name, i in self._intakes.items()
        }

        def total(what: str) -> int:
            return sum(counts.get(what, 0) for counts in boxes.values())

        return StreamStatistics(
            sum(each.rows for each in inputs.values()),
            total("late"),
            total("null_keys"),
            total("bytes"),
            self.watermark,
            inputs,
            boxes,
        )

    def explain(self) -> str:
        """Draw the graph, and say of each box how it runs and what waits for what."""
        lines = [self.describe(), ""]
        for box in self._boxes.values():
            lines += box.explain()
        return "\n".join(lines)

    def check(self) -> None:
        """Walk all invariants of all boxes; raises AssertionError with the broken one. For tests."""
        for box in self._boxes.values():
            box.check()

    @property
    def fingerprint(self) -> str:
        """A digest that is equal for equal graphs, schemas that were given included."""
        return hashlib.sha256(self.definition.encode()).hexdigest()

    @property
    def definition(self) -> str:
        """The graph as JSON text: [name, definition, places of the inputs] of each box, and the outputs' places."""
        numbers = {node: i for i, node in enumerate(self._order)}
        graph = [[self._names[n], n.definition(), [numbers[each] for each in n.inputs]] for n in self._order]
        outputs = {name: numbers[node] for name, node in self._outputs.items()}
        return json.dumps([graph, outputs], sort_keys=True)

    @property
    def state(self) -> StateView:
        """What is held now, to look into: `engine.state.get(key)`. Each time it is made of a snapshot."""
        return StateView(self.snapshot())

    def snapshot(self) -> bytes:
        """Give the whole state as bytes; see StreamEngine.restore.

        Raises:
            StateError: a box holds a lambda or a local function, which no snapshot can name.
        """
        self._enter()
        try:
            for node in self._order:
                if not node.is_serialisable:
                    raise StateError(
                        f"{self._names[node]} holds a lambda or local function: "
                        "name it at module level to take snapshots"
                    )
            sections: dict[str, Any] = {
                "meta": {
                    "kind": "stream",
                    "fingerprint": self.fingerprint,
                    "definition": self.definition,
                    "arrivals": self._arrivals,
                    "inputs": {name: intake.export() for name, intake in self._intakes.items()},
                    "boxes": [self._names[node] for node in self._boxes],
                }
            }
            for i, intake in enumerate(self._intakes.values()):
                if intake.schema is not None:
                    sections[f"schema/{i}"] = pa.RecordBatch.from_pylist([], schema=intake.schema)
            for i, box in enumerate(self._boxes.values()):
                sections |= {f"box/{i}/{name}": section for name, section in box.export().items()}
            return write_container(sections)
        finally:
            self._is_busy = False

    @classmethod
    def restore(cls, state: bytes, streams: Streams, *, upgrade: Upgrade | None = None) -> StreamEngine:
        """Make an engine that goes on where the snapshot was taken.

        Args:
            state: what StreamEngine.snapshot gave; may come from an untrusted place: no code in it is run.
            streams: the streams the snapshot was taken with; with upgrade=, others.
            upgrade: what becomes of what boxes hold that changed: Upgrade("map") takes over all that has a place, and
                with rest="drop" lets go of the rest; Upgrade("drop") lets go of what changed. `moved` names the boxes.
                None: other streams are an error, which shows what changed.

        Raises:
            StateError: damaged, of another version, or of other streams.
        """
        engine = cls(streams)
        sections = read_container(state)
        meta = sections.get("meta")
        if not isinstance(meta, dict) or meta.get("kind") != "stream":
            raise StateError("the snapshot is not one of streams")
        arrivals, inputs = meta.get("arrivals"), meta.get("inputs")
        if type(arrivals) is not int or not 1 <= arrivals < 2**63 or not isinstance(inputs, dict):
            raise StateError("snapshot, section meta: arrivals or inputs are missing")
        engine._arrivals = arrivals
        names = [engine._names[node] for node in engine._boxes]
        places = {name: Place(i) for i, name in enumerate(names)}
        sources = list(engine._intakes)
        if meta.get("fingerprint") != engine.fingerprint:
            told = meta.get("definition")
            if upgrade is None:
                changes = difference_of_graphs(Graph(told), Graph(engine.definition)) if told else []
                raise StateError("\n".join(["the snapshot is of other streams than these", *changes]))
            old = Graph(told)
            boxes = [str(name) for name in meta.get("boxes") or []]
            places, engine.moved = places_of(old, boxes, sections, Graph(engine.definition), names, upgrade)
            sources = old.sources
        for i, name in enumerate(sources):
            told = sections.get(f"schema/{i}")
            if isinstance(told, dict):
                raise StateError(f"snapshot, section schema/{i}: is no table")
            if name in engine._intakes:
                engine._intakes[name].restore(inputs.get(name), None if told is None else told.schema)
        for node, box in engine._boxes.items():
            place = places.get(box.name)
            schemas = [engine._schema(each) for each in node.inputs]
            if place is None:
                box.make(schemas)
                continue
            prefix = f"box/{place.number}/"
            own = {name.removeprefix(prefix): each for name, each in sections.items() if name.startswith(prefix)}
            try:
                box.restore(own, schemas, upgrade if place.is_mapped else None)
            except (SchemaError, KeyError, TypeError, ValueError) as error:
                if isinstance(error, StateError):
                    raise
                raise StateError(f"snapshot, {engine._names[node]}: {error!r:.200}") from None
        return engine


def _sources_of(order: Sequence[Node]) -> dict[Node, tuple[str, ...]]:
    """The sources above each box."""
    found: dict[Node, tuple[str, ...]] = {}
    for node in order:
        above = (node.name,) if isinstance(node, Source) else ()
        found[node] = tuple(dict.fromkeys([*above, *(name for each in node.inputs for name in found[each])]))
    return found


def _of_side(output: Output | None, name: str) -> Output | None:
    """What a box put aside, as rows; those that have no place in time any more come at the end of the step."""
    if output is None:
        return None
    marks = output.results.marks
    side = output.side.get(name)
    if side is None or not len(side):
        return Output(Batch.empty(pa.schema([]), marks)) if len(marks) else None
    if isinstance(side, Batch):
        return Output(side)
    n = side.num_rows
    origin = int(marks.origins[-1]) if len(marks) else 0
    rows = side.combine_chunks().to_batches()[0]
    return Output(Batch(rows, np.full(n, START, np.int64), np.full(n, origin, np.uint64), Marks.none()))
