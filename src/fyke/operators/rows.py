"""Operators that handle each row by itself: filter, select and with_columns, map.

They keep nothing but counts. Watermarks pass through, and a row keeps its time, whatever becomes of its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke import expr as ex
from fyke._core import RowProgram, Segment
from fyke.batches import Encoder, as_arrow
from fyke.columns import Columns, readable
from fyke.errors import DataError, StateError
from fyke.expr import Expr
from fyke.nodes import Filter, Finals, Map, Project, widened
from fyke.operator import Batch, Output, State
from fyke.rowplan import compile_rows
from fyke.schema import Schema, arrow_type

__all__ = ["FilterRows", "MapRows", "ProjectRows", "TakeFinals"]


class Program:
    """Conditions and values of rows over one schema, ready to run over batches.

    Args:
        schema: of the rows.
        values, conditions: expressions over a row; they may name a field of a struct, as col["probe.amount"].
        keys: the values are parts of a key.

    Raises:
        SchemaError, DefinitionError: schema and expressions do not meet.
    """

    def __init__(
        self, schema: pa.Schema, values: Sequence[Expr] = (), conditions: Sequence[Expr] = (), *, keys: bool = False
    ) -> None:
        self._wide = widened(schema, [*values, *conditions])
        self._paths = self._wide.names[len(schema) :]
        known = Schema.from_arrow(self._wide)
        self._values = tuple(values)
        self._plan = compile_rows(known, values, (), ()) if keys else compile_rows(known, (), values, conditions)
        self._encoder = Encoder(self._plan.plan, "", None, None)
        self._program = RowProgram(self._plan.plan.tables)
        self._places = self._plan.key if keys else self._plan.values
        types = self._plan.key_types if keys else self._plan.value_types
        self.fields = [
            self._wide.field(e.name) if isinstance(e, ex.Column) else pa.field(repr(e), arrow_type(kind))
            for e, kind in zip(self._values, types, strict=True)
        ]

    def widen(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Give the rows with the fields of structs that are read as columns of their own."""
        if not self._paths:
            return rows
        inner = [pc.struct_field(rows.column(p.split(".")[0]), p.split(".")[1:]) for p in self._paths]
        return pa.RecordBatch.from_arrays([*rows.columns, *inner], schema=self._wide)

    def run(self, rows: pa.RecordBatch) -> Segment:
        """Give a segment whose masks and computed columns are filled; rows as `widen` gives them."""
        n = len(rows)
        numbers = np.arange(n, dtype=np.uint64)
        segment = self._encoder.with_times(rows, numbers.view(np.int64), numbers)
        self._program.run(segment)
        return segment

    def columns(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """Give all values as columns; plain ones as they are."""
        wide = self.widen(rows)
        is_plain = [isinstance(e, ex.Column) for e in self._values]
        segment = None if all(is_plain) else self.run(wide)
        return [
            wide.column(field.name) if plain else self.value(segment, i, field.type)  # type: ignore[arg-type]
            for i, (plain, field) in enumerate(zip(is_plain, self.fields, strict=True))
        ]

    def value(self, segment: Segment, i: int, type_: pa.DataType) -> pa.Array:
        """Give computed value i as a column."""
        column = as_arrow(segment.columns[self._places[i]], len(segment))
        if pa.types.is_boolean(type_):
            return column.cast(pa.bool_())
        if pa.types.is_date(type_):
            return column.cast(pa.int32()).cast(type_)
        return column.cast(type_)


class _RowOperator:
    """What the operators of this file share: no state, two counts."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows = 0
        self.given = 0

    def step(self, inputs: Sequence[Batch]) -> Output:
        (batch,) = inputs
        if not len(batch):
            return Output(Batch.empty(self.schema, batch.marks))
        made = self.one(batch)
        self.rows += len(batch)
        self.given += len(made)
        return Output(made)

    def one(self, batch: Batch) -> Batch:
        raise NotImplementedError

    def statistics(self) -> dict[str, int]:
        """Give the rows taken and those given."""
        return {"rows": self.rows, "results": self.given}

    def export(self) -> State:
        """Give the counts."""
        return {"counts": self.statistics()}

    def restore(self, state: State) -> None:
        """Take over the counts."""
        counts = state.get("counts")
        if not isinstance(counts, dict) or not all(type(counts.get(k)) is int for k in ("rows", "results")):
            raise StateError(f"the counts of rows are {counts!r:.80}")
        self.rows, self.given = counts["rows"], counts["results"]

    def check(self) -> None:
        """There is nothing to be wrong."""


class FilterRows(_RowOperator):
    """Passes the rows for which the node's condition holds; O(rows), without Python unless a condition is Python."""

    def __init__(self, node: Filter, schema: pa.Schema) -> None:
        super().__init__(schema)
        self._program = Program(schema, (), node.conditions)
        n = len(node.conditions)
        # The first bit must be set, if there is a condition, and none of the others.
        self._cared = _bits(range(n))
        self._wanted = _bits(range(1 if node.condition is not None else 0), len(self._cared))

    def one(self, batch: Batch) -> Batch:
        segment = self._program.run(self._program.widen(batch.rows))
        assert segment.masks is not None
        holds = ((segment.masks & self._cared) == self._wanted).all(axis=1)
        return batch if holds.all() else batch.take(np.flatnonzero(holds))


def _bits(which: Any, words: int = 0) -> npt.NDArray[np.uint64]:
    """A mask with these bits."""
    bits = list(which)
    mask = [0] * max(words, 1 + max(bits, default=0) // 64)
    for bit in bits:
        mask[bit // 64] |= 1 << bit % 64
    return np.array(mask, np.uint64)


class ProjectRows(_RowOperator):
    """Computes the node's columns; plain columns are not copied."""

    def __init__(self, node: Project, schema: pa.Schema) -> None:
        typed = node.typed([schema])
        super().__init__(typed)
        self._columns = dict(node.columns)
        self._computed = {
            name: i for i, name in enumerate(n for n, e in node.columns if not isinstance(e, ex.Column | ex.Literal))
        }
        self._program = Program(schema, [self._columns[name] for name in self._computed])
        wide = widened(schema, node.expressions)
        self._paths = Program(schema, [ex.Column(n) for n in wide.names[len(schema) :]])

    def one(self, batch: Batch) -> Batch:
        rows = self._paths.widen(batch.rows)
        segment = self._program.run(self._program.widen(batch.rows)) if self._computed else None
        arrays = []
        for field in self.schema:
            e = self._columns.get(field.name)
            if e is None:
                arrays.append(rows.column(field.name))
            elif isinstance(e, ex.Column):
                arrays.append(rows.column(e.name))
            elif isinstance(e, ex.Literal):
                arrays.append(pa.repeat(pa.scalar(e.value, field.type), len(rows)))
            else:
                assert segment is not None
                arrays.append(self._program.value(segment, self._computed[field.name], field.type))
        made = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return Batch(made, batch.times, batch.origins, batch.marks)


class TakeFinals(_RowOperator):
    """Passes the results of windows that are their last word."""

    def __init__(self, node: Finals, schema: pa.Schema) -> None:
        super().__init__(schema)

    def one(self, batch: Batch) -> Batch:
        final = batch.rows.column("final").to_numpy(zero_copy_only=False)
        return batch if final.all() else batch.take(np.flatnonzero(final))


class MapRows(_RowOperator):
    """Calls a Python function with each row; what it gives has the row's time.

    Raises:
        DataError: it gave something else than a row, rows or None, or values of other types than before. What the
            function itself raises comes through with a note that says for which row.
    """

    def __init__(self, node: Map, schema: pa.Schema) -> None:
        super().__init__(node.given)
        self._fn: Callable[[Mapping[str, Any]], Any] = node.fn
        self._path = node.path
        self._columns = Columns(node.given, node.path)

    def one(self, batch: Batch) -> Batch:
        made: list[Mapping[str, Any]] = []
        places: list[int] = []
        for i, row in enumerate(readable(batch.rows)):
            try:
                given = self._fn(row)
            except Exception as error:
                error.add_note(f"in {self._path}, with the row {row!r:.400}")
                raise
            for each in self._rows_of(given, row):
                made.append(each)
                places.append(i)
        rows = self._columns.of_rows(made, self.given)
        if self._columns.schema is None:
            return Batch.empty(pa.schema([]), batch.marks)
        self.schema = self._columns.schema
        taken = np.array(places, np.intp)
        return Batch(rows, batch.times[taken], batch.origins[taken], batch.marks)

    def _rows_of(self, given: Any, row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if given is None:
            return ()
        if isinstance(given, Mapping):
            return (given,)
        if isinstance(given, Sequence) and not isinstance(given, str | bytes):
            if all(isinstance(each, Mapping) for each in given):
                return given
            given = next(each for each in given if not isinstance(each, Mapping))
        raise DataError(
            f"{self._path}: the function gave {type(given).__name__} {given!r:.60} for the row {row!r:.200}: "
            "a row (a mapping), a list of rows, or None is expected"
        )

    def step(self, inputs: Sequence[Batch]) -> Output:
        (batch,) = inputs
        if not len(batch) and self.schema is None:
            return Output(Batch.empty(pa.schema([]), batch.marks))
        return super().step(inputs)

    def export(self) -> State:
        """Give the counts, and the schema if the first rows have told it."""
        state = super().export()
        if self.schema is not None:
            state["schema"] = pa.RecordBatch.from_pylist([], schema=self.schema)
        return state

    def restore(self, state: State) -> None:
        """Take over counts and schema."""
        super().restore(state)
        if "schema" in state:
            told = state["schema"]
            if isinstance(told, dict):
                raise StateError("the schema of a map is no table")
            self.schema = self._columns.schema = told.schema
