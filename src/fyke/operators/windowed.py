"""Aggregates over windows: the operator behind `keyed.window(...).aggregate(...)`.

The semantics and the state are the kernel's, csrc/windows.h; here definitions become its bytes, and what it finds
becomes columns: the key, window_start, window_end, revision, final, then the aggregates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke._core import RowStore, Segment, WindowCore, WindowFound
from fyke.agg import Aggregate
from fyke.aggplan import compile_aggregates
from fyke.batches import Encoder, Payloads
from fyke.duration import DurationLike, to_ns
from fyke.errors import DefinitionError, SchemaError
from fyke.expr import Expr
from fyke.operator import Batch, Output, State
from fyke.operators.aggregates import result_arrays
from fyke.operators.keys import key_array, key_parts, named_keys
from fyke.operators.python_aggregates import PythonAggregates
from fyke.operators.window_spec import check_together, is_sliced, spec_bytes, waits
from fyke.operators.windowed_state import export_windows, restore_windows
from fyke.plan import NONE
from fyke.schema import Schema, typecheck
from fyke.trigger import Trigger
from fyke.window import CountWindow, GlobalWindow, Session, Window

__all__ = ["RESULT_COLUMNS", "Panes", "Windowed"]

RESULT_COLUMNS: Final = ("window_start", "window_end", "revision", "final")
"""The columns of every result between the key and the aggregates."""

_TIME: Final = pa.timestamp("ns", "UTC")
# Why a row came into no window, as in csrc/windows.h.
_LATE, _NO_WINDOW, _NULL_KEY, _NO_GAP = range(4)
_ERRORS: Final = {_NULL_KEY: "a part of the key is null", _NO_GAP: "the gap of its session is null, zero or negative"}


class Panes(Protocol):
    """What follows the kernel's log of what happens to its windows (csrc/agg_log.h), a pane a window."""

    def replay(self, log: npt.NDArray[Any], segments: Mapping[int, Segment]) -> list[pa.Array]:
        """Do what the log says; gives more columns of the results, a row a FIRE."""
        ...

    def export(self, panes: Sequence[int]) -> dict[str, Any]:
        """Give these panes as sections of a snapshot; a pane is named by its place in the list."""
        ...

    def restore(self, state: Mapping[str, Any], panes: Sequence[int]) -> None:
        """Take over what export gave; raises StateError."""
        ...


class Windowed:
    """Sums up the rows of each key and window; an operator with one input.

    Side outputs: late (all windows of the row are gone), no_window (it lies between windows), errors (a part of the key
    is null, or the row's own gap is none).

    Args:
        window: which rows belong together.
        aggregates: by the name of the result's column.
        schema: the columns of the input.
        keys: the parts of the key, by name if they are no plain columns; none: all rows are of one key.
        trigger: when results come out; None: the window's own.
        allowed_lateness: for how long after its end a window takes rows.
        emit_rest: what a count window or a count trigger has not told when the window goes, or the input ends, comes
            out as final.
        panes: what else is kept of the windows; None: the aggregates that the kernel does not keep.
        sliced: whether windows that overlap are put together from slices where that can be, which gives the same
            results; None: where it is cheaper.

    Raises:
        DefinitionError: a window and a trigger that do not go together, or names that are there twice.
        SchemaError: an expression and the schema do not meet.
    """

    def __init__(
        self,
        window: Window,
        aggregates: Mapping[str, Aggregate],
        schema: pa.Schema,
        keys: Mapping[str, Expr] | Sequence[Expr] = (),
        *,
        trigger: Trigger | None = None,
        allowed_lateness: DurationLike = 0,
        emit_rest: bool = False,
        panes: Panes | None = None,
        sliced: bool | None = None,
    ) -> None:
        self.window, self.trigger = window, trigger
        self.lateness = 0 if allowed_lateness == 0 else to_ns(allowed_lateness)
        self.emit_rest = emit_rest
        check_together(window, trigger, emit_rest)
        self.input = pa.schema([pa.field(field.name, field.type) for field in schema])
        known = Schema.from_arrow(self.input)
        named = named_keys(keys)
        gap = window.gap if isinstance(window, Session) and isinstance(window.gap, Expr) else None
        if gap is not None and (kind := typecheck(gap, known, "session")) not in ("int64", "duration"):
            raise SchemaError(f"{window!r}: {gap!r} is {kind}; a gap is a duration, or an integer of ns")
        self.plan = compile_aggregates(known, list(named.values()), aggregates, [] if gap is None else [gap])
        self.keys = key_parts(named, self.plan.rows.key_types, known)
        self._fields = _result_fields(self.keys, self.plan.fields)
        read = {c.name for c in self.plan.rows.plan.columns if c.kind == "input"}
        # Rows of no columns are no rows: one is kept even if nothing is read.
        keep = self.plan.payload if read else self.input.names[:1]
        self.kept = pa.schema([field for field in self.input if field.name in read or field.name in keep])
        self.encoder = Encoder(self.plan.rows.plan, "", None, keep)
        self.rows = RowStore(self.plan.rows.plan.tables, Payloads)
        gap_column = self.plan.others[0] if self.plan.others else NONE
        sliced = is_sliced(window) if sliced is None else sliced
        spec = spec_bytes(window, trigger, self.lateness, emit_rest, gap_column, sliced)
        self.panes = PythonAggregates(self.plan) if panes is None else panes
        self.logged = panes is not None or self.plan.has_python
        self.core = WindowCore(self.rows, spec, self.plan.tables, self.logged)
        self.arrived = 0

    @property
    def definition(self) -> dict[str, str]:
        """What it sums up, in words: state belongs to one definition."""
        return {
            "window": repr(self.window),
            "trigger": repr(self.trigger),
            "allowed_lateness": f"{self.lateness}ns",
            "emit_rest": repr(self.emit_rest),
            "aggregates": repr([(column.name, column.aggregate) for column in self.plan.columns]),
            "rows": self.plan.rows.plan.definition,
        }

    @property
    def schema(self) -> pa.Schema:
        """The columns of its results."""
        return self._fields

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks. O(1) a row and window that it is in, O(log n) a window that fires."""
        (batch,) = inputs
        numbers = np.arange(self.arrived, self.arrived + len(batch), dtype=np.uint64)
        self.arrived += len(batch)
        segment = self.encoder.with_times(batch.rows, np.ascontiguousarray(batch.times, np.int64), numbers)
        marks = batch.marks
        found = self.core.step(
            segment,
            np.ascontiguousarray(batch.origins, np.uint64),
            np.ascontiguousarray(marks.origins, np.uint64),
            np.ascontiguousarray(marks.times, np.int64),
        )
        python = self._replay(found)
        side = self._side(batch, found) if len(found.asides) else {}
        if len(found.rows) == 0:
            return Output(Batch.empty(self.schema, marks), side)
        rows = pa.RecordBatch.from_arrays(self._columns(found, python), schema=self.schema)
        times, origins = np.ascontiguousarray(found.rows["time"]), np.ascontiguousarray(found.rows["origin"])
        return Output(Batch(rows, times, origins, marks), side)

    def _replay(self, found: WindowFound) -> list[pa.Array]:
        """Let the aggregates that Python keeps follow; gives their columns."""
        if not self.logged:
            return []
        try:
            return self.panes.replay(found.log, found.segments)
        except Exception as error:
            self.core.stop(f"an aggregate raised {type(error).__name__}")
            raise

    def _columns(self, found: WindowFound, python: Sequence[pa.Array]) -> list[pa.Array]:
        rows = found.rows
        n = len(rows)
        columns = [key_array(part, *taken, n) for part, taken in zip(self.keys, found.keys, strict=True)]
        if isinstance(self.window, CountWindow | GlobalWindow):
            columns += [pa.nulls(n, _TIME)] * 2
        else:
            columns += [pa.array(np.ascontiguousarray(rows[name])).view(_TIME) for name in ("start", "end")]
        columns.append(pa.array(rows["revision"].astype(np.int64)))
        columns.append(pa.array(rows["final"].astype(np.bool_)))
        return columns + result_arrays(self.plan, found.values, found.segments, python)

    def _side(self, batch: Batch, found: WindowFound) -> dict[str, pa.Table]:
        out = {}
        rows, why = found.asides["row"], found.asides["why"]
        for name, kinds in (("late", [_LATE]), ("no_window", [_NO_WINDOW]), ("errors", list(_ERRORS))):
            here = np.isin(why, kinds)
            if here.any():
                table = pa.Table.from_batches([batch.rows.take(pa.array(rows[here]))])
                if name == "errors":
                    table = table.append_column("error", pa.array([_ERRORS[int(kind)] for kind in why[here]]))
                out[name] = table
        return out

    def statistics(self) -> dict[str, int]:
        """Give counts since the start, and what is held.

        rows, late, no_window, null_keys, no_gaps, results, opened (windows), overflows (sums of integers beyond int64);
        windows, keys, bytes and the watermark of now.
        """
        counters = self.core.counters()
        store = self.rows.counters()
        counters["held_rows"] = store["rows"]
        counters["bytes"] += store["bytes"] + store["payload_bytes"]
        counters["watermark"] = self.core.watermark
        return counters

    def export(self) -> State:
        """Give the whole state, by (key, start, end) of the windows. O(n log n)."""
        return export_windows(self)

    def restore(self, state: State) -> None:
        """Take over what export gave, in a fresh operator of the same definition.

        Raises:
            StateError: it is damaged or of something else; the operator has then stopped.
        """
        restore_windows(self, state)

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        reason = self.core.check()
        assert reason is None, reason

    def describe(self) -> str:
        """Say what waits for what."""
        keys = ", ".join(part.name for part in self.keys)
        names = ", ".join(column.name for column in self.plan.columns)
        title = f"windows{f' by {keys}' if keys else ''}: {self.window!r}: {names}"
        return "\n".join([title, *(f"  {line}" for line in waits(self.window, self.trigger, self.lateness))])


def _result_fields(keys: Sequence[Any], aggregates: Sequence[pa.Field]) -> pa.Schema:
    types = (_TIME, _TIME, pa.int64(), pa.bool_())
    fields = [pa.field(part.name, part.arrow) for part in keys]
    fields += [pa.field(name, kind) for name, kind in zip(RESULT_COLUMNS, types, strict=True)]
    fields += aggregates
    names = [field.name for field in fields]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise DefinitionError(
                f'two columns of the result have the name "{name}": those of the key, of {", ".join(RESULT_COLUMNS)} '
                "and of the aggregates must differ"
            )
    return pa.schema(fields)
