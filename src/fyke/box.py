"""A box of a graph while it runs: its operator, made as soon as the columns of its inputs are known, and what idle
inputs mean for it.

Until the columns of all inputs are known, what comes on the others waits here, with its arrival numbers: nothing comes
out otherwise than if they had been known from the start.

An operator with several inputs waits for the least of their watermarks. An input that is idle is told the least
watermark of the others as its own, so it holds nothing up; when it wakes, rows behind that are late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fyke.errors import StateError
from fyke.nodes import Node
from fyke.operator import END, START, Batch, Int64s, Marks, Operator, Output, State, UInt64s
from fyke.operators.build import operator_for
from fyke.operators.merge import Merge
from fyke.upgrade import Upgrade

__all__ = ["Box"]

EMPTY = pa.schema([])


class Box:
    """Runs a node.

    Attributes:
        operator: None: the columns of an input are not known yet.
        side_schemas: the columns of its side outputs, by name, as far as they are known.
    """

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.operator: Operator | None = None
        self.side_schemas: dict[str, pa.Schema] = {}
        n = len(node.inputs)
        self._own = [START] * n  # the watermarks that the inputs have
        self._told = [START] * n  # those that the operator was told, or will be when it is made
        self._schemas: list[pa.Schema] = []
        self._pending: list[list[Batch]] = [[] for _ in range(n)]  # what came before the operator was made

    def make(self, schemas: Sequence[pa.Schema | None]) -> bool:
        """Make the operator if all columns are known; raises SchemaError."""
        known = [each for each in schemas if each is not None]
        if len(known) < len(schemas):
            return False
        self.operator = operator_for(self.node, known)
        self._schemas = known
        for name in self.node.sides:
            schema = self.node.side_schema(name, known, self.operator.schema)
            if schema is not None:
                self.side_schemas[name] = schema
        return True

    @property
    def has_pending_rows(self) -> bool:
        """Whether rows wait for the columns of another input."""
        return self.operator is None and any(len(batch) for batches in self._pending for batch in batches)

    def pending_schema(self, i: int) -> pa.Schema | None:
        """Give the columns of the rows of an input that wait."""
        return next((batch.rows.schema for batch in self._pending[i] if len(batch)), None)

    # -- the step

    def step(
        self, batches: Sequence[Batch | None], is_idle: Sequence[bool], origin: int | None = None
    ) -> Output | None:
        """Take what the inputs give; None: nothing at all came of it.

        Args:
            batches: per input; None: nothing.
            is_idle: per input, where there are several.
            origin: of the call, if it brings no rows.
        """
        marks = [Marks.none() if batch is None else batch.marks for batch in batches]
        before = list(self._told)
        told = self._raised(marks, is_idle, origin)
        is_new = any(map(len, told)) or any(batch is not None and len(batch) for batch in batches)
        if self.operator is None:
            return self._wait(batches, told, before) if is_new else None
        if not is_new and not any(self._pending):
            return None
        inputs = [
            Batch.empty(schema, m) if each is None or not len(each) else Batch(each.rows, each.times, each.origins, m)
            for each, m, schema in zip(batches, told, self._schemas, strict=True)
        ]
        if any(self._pending):
            inputs = [_together([*early, late]) for early, late in zip(self._pending, inputs, strict=True)]
            self._pending = [[] for _ in inputs]
        output = self.operator.step(inputs)
        for name, rows in output.side.items():
            self.side_schemas.setdefault(name, rows.schema if isinstance(rows, pa.Table) else rows.rows.schema)
        return output

    def _wait(self, batches: Sequence[Batch | None], told: Sequence[Marks], before: list[int]) -> Output | None:
        """Keep what comes until the operator can be made; watermarks pass as long as there is no row behind them."""
        had_rows = self.has_pending_rows
        for i, (batch, marks) in enumerate(zip(batches, told, strict=True)):
            if batch is not None and len(batch):
                self._pending[i].append(Batch(batch.rows, batch.times, batch.origins, marks))
            elif len(marks):
                self._pending[i].append(Batch.empty(EMPTY, marks))
        if self.has_pending_rows:
            return None
        # Of watermarks alone the last says it all.
        self._pending = [
            [Batch.empty(EMPTY, Marks(b[-1].marks.origins[-1:], b[-1].marks.times[-1:]))] if b else []
            for b in self._pending
        ]
        assert not had_rows
        merge = Merge(len(before))
        merge.watermarks = before
        passed = merge.step([Batch.empty(EMPTY, each) for each in told]).marks
        return Output(Batch.empty(EMPTY, passed)) if len(passed) else None

    def _raised(self, marks: Sequence[Marks], is_idle: Sequence[bool], origin: int | None) -> list[Marks]:
        """The watermarks that the operator is told: those of the inputs, raised for idle ones."""
        n = len(marks)
        if not any(is_idle) and self._own == self._told:
            for i, each in enumerate(marks):
                if len(each):
                    self._own[i] = self._told[i] = int(each.times[-1])
            return list(marks)
        call = np.array([] if origin is None else [origin], np.uint64)
        origins = np.unique(np.concatenate([call, *(each.origins for each in marks)]))
        if not len(origins):
            return list(marks)
        reached = [_after(each, own, origins) for each, own in zip(marks, self._own, strict=True)]
        self._own = [int(each[-1]) for each in reached]
        active = [i for i in range(n) if not is_idle[i]]
        if 0 < len(active) < n:
            least = np.minimum.reduce([reached[i] for i in active])
            reached = [np.maximum(each, least) if is_idle[i] else each for i, each in enumerate(reached)]
        told = []
        for i, path in enumerate(reached):
            highest = np.maximum.accumulate(np.concatenate([np.array([self._told[i]], np.int64), path]))
            rises = np.flatnonzero(highest[1:] > highest[:-1])
            told.append(Marks(origins[rises], highest[1:][rises]))
            self._told[i] = int(highest[-1])
        return told

    # -- state

    def statistics(self) -> dict[str, int]:
        """Give what the operator counts; before it is made, the rows that wait for it."""
        if self.operator is not None:
            return self.operator.statistics()
        return {"waiting": sum(len(batch) for batches in self._pending for batch in batches)}

    def explain(self) -> list[str]:
        """Say how it runs."""
        if self.operator is None:
            return [f"{self.name}:", "  how it runs is known when the columns of its inputs are: by schema= or rows"]
        told: Any = getattr(self.operator, "explain", None) or getattr(self.operator, "describe", None)
        if told is None:
            return []
        lines = told()
        lines = lines.split("\n") if isinstance(lines, str) else lines
        return [f"{self.name}:", *(f"  {line}" for line in lines)]

    def check(self) -> None:
        """Walk all invariants of the operator."""
        assert all(own <= told for own, told in zip(self._own, self._told, strict=True)), self.name
        if self.operator is not None:
            self.operator.check()

    def export(self) -> State:
        """Give its state and the operator's."""
        state: State = {
            "graph": {
                "own": self._own,
                "told": self._told,
                "is_made": self.operator is not None,
            }
        }
        for i, pending in enumerate(self._pending):
            if pending:
                batch = _together(pending)
                state[f"pending/{i}/rows"] = batch.rows
                state[f"pending/{i}/places"] = pa.record_batch({"time": batch.times, "origin": batch.origins})
                state[f"pending/{i}/marks"] = pa.record_batch(
                    {"time": batch.marks.times, "origin": batch.marks.origins}
                )
        for name, schema in self.side_schemas.items():
            state[f"side/{name}"] = pa.RecordBatch.from_pylist([], schema=schema)
        if self.operator is not None:
            state |= {f"operator/{name}": each for name, each in self.operator.export().items()}
        return state

    def restore(self, state: State, schemas: Sequence[pa.Schema | None], upgrade: Upgrade | None = None) -> None:
        """Take over what export gave, into a fresh box.

        Args:
            state: the sections.
            schemas: of the inputs.
            upgrade: the patterns of a matcher changed: what becomes of what is open.

        Raises:
            StateError: it is something else.
        """
        given = state.get("graph")
        n = len(self.node.inputs)
        if not isinstance(given, dict) or not (_are_times(given.get("own"), n) and _are_times(given.get("told"), n)):
            raise StateError(f"snapshot, {self.name}: the watermarks of {n} inputs are missing")
        if any(own > told or (own < told and n == 1) for own, told in zip(given["own"], given["told"], strict=True)):
            raise StateError(f"snapshot, {self.name}: an input is ahead of what the operator was told")
        if given.get("is_made"):
            if self.operator is None and not self.make(schemas):
                raise StateError(f"snapshot, {self.name}: the columns of its inputs are missing")
            assert self.operator is not None
            prefix = "operator/"
            own = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
            operator: Any = self.operator
            if upgrade is None:
                operator.restore(own)
            else:
                operator.upgrade(own, upgrade)
        self._own, self._told = list(given["own"]), list(given["told"])
        for i in range(n):
            if f"pending/{i}/rows" in state:
                rows, places, marks = (state[f"pending/{i}/{name}"] for name in ("rows", "places", "marks"))
                if isinstance(rows, dict) or len(rows) != len(places):
                    raise StateError(f"snapshot, {self.name}: the rows that wait are damaged")
                self._pending[i] = [Batch(rows, *_times_and_origins(places), Marks(*_times_and_origins(marks)[::-1]))]
        for name, each in state.items():
            if upgrade is None and name.startswith("side/") and not isinstance(each, dict):
                self.side_schemas[name.removeprefix("side/")] = each.schema


def _after(marks: Marks, before: int, origins: UInt64s) -> Int64s:
    """The watermark after each origin."""
    known = np.maximum.accumulate(np.concatenate([np.array([before], np.int64), marks.times]))
    return known[np.searchsorted(marks.origins, origins, side="right")]


def _together(batches: Sequence[Batch]) -> Batch:
    """Batches of one input one after the other; those without rows bring only their watermarks."""
    filled = [batch for batch in batches if len(batch)]
    if len(filled) > 1:
        rows = pa.Table.from_batches([batch.rows for batch in filled]).combine_chunks().to_batches()[0]
    else:
        rows = (filled or batches)[-1].rows
    return Batch(
        rows,
        np.concatenate([batch.times for batch in batches]),
        np.concatenate([batch.origins for batch in batches]),
        Marks(
            np.concatenate([batch.marks.origins for batch in batches]),
            np.concatenate([batch.marks.times for batch in batches]),
        ),
    )


def _times_and_origins(records: Any) -> tuple[Int64s, UInt64s]:
    if records.schema != pa.schema({"time": pa.int64(), "origin": pa.uint64()}) or records.num_columns != 2:
        raise StateError("snapshot: places of rows that wait are damaged")
    return records.column(0).to_numpy(), records.column(1).to_numpy()


def _are_times(given: Any, n: int) -> bool:
    return isinstance(given, list) and len(given) == n and all(type(t) is int and START <= t <= END for t in given)
