"""Joins by window: the rows of two streams that lie in the same window of their key, as pairs or as two groups.

A join by window is a window over both streams together (operators/windowed.py) that keeps rows in place of aggregates:
the window kernel says in its log what happens to its panes, csrc/join_panes.h does it to their rows. So windows,
triggers, lateness, revisions and what is final are those of windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke import expr as ex
from fyke._core import Arrivals, PanesCore, PanesFound, Segment
from fyke.batches import as_arrow
from fyke.duration import DurationLike
from fyke.errors import DefinitionError, SchemaError, StateError
from fyke.expr import Expr
from fyke.join import check_how
from fyke.operator import Batch, Output, State
from fyke.operators.aggregates import from_physical
from fyke.operators.columns import Columns, converted
from fyke.operators.merge import Merged
from fyke.operators.sides import Side, Sides, natural, numbers_of, rows_of
from fyke.operators.window_spec import waits
from fyke.operators.windowed import RESULT_COLUMNS, Windowed
from fyke.schema import Field, Schema, arrow_of
from fyke.trigger import Trigger
from fyke.window import Session, Sliding, Window

__all__ = ["CoGroup", "WindowJoin"]

Keyed: TypeAlias = tuple[pa.Schema, "Sequence[Expr] | Mapping[str, Expr]"]
"""Of a side: the columns, and the parts of the key, by name if results shall have those that are no plain columns."""
_PLACE: Final = "place"
_PANES: Final = pa.schema([("pane", pa.uint32()), ("side", pa.uint8()), ("row", pa.uint32())])


class _Rows:
    """The rows of the panes of a join: what a windowed operator keeps instead of aggregates."""

    def __init__(self, sides: Sides, core: PanesCore) -> None:
        self.sides = sides
        self.core = core

    def replay(self, log: npt.NDArray[Any], segments: Mapping[int, Segment]) -> list[pa.Array]:
        self.core.replay(log)
        return []

    def export(self, panes: Sequence[int]) -> dict[str, Any]:
        held = self.core.held(panes)
        places = np.zeros(len(held), np.uint32)
        records = []
        for i, side in enumerate(self.sides.fed):
            own = held["side"] == i
            rows = held[own]
            numbers = numbers_of(side.store.segments, rows["segment"], rows["row"])
            _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
            places[own] = inverse.reshape(-1)
            once = np.zeros(len(first), [("segment", "u4"), ("row", "u4"), ("flag", "u1")])
            once["segment"], once["row"] = rows["segment"][first], rows["row"][first]
            records.append(once)
        meta, state = self.sides.export(records)
        counters = self.core.counters()
        meta |= {"pairs": counters["pairs"], "alone": counters["alone"]}
        columns = {"pane": held["pane"], "side": held["side"], "row": places}
        rows_of_panes = pa.RecordBatch.from_arrays([pa.array(columns[name]) for name in _PANES.names], schema=_PANES)
        return {"join": meta, "panes": rows_of_panes, **state}

    def restore(self, state: Mapping[str, Any], panes: Sequence[int]) -> None:
        meta, held = state["join"], state["panes"]
        counters = (natural(meta, "pairs"), natural(meta, "alone"))
        (left, left_flags), (right, right_flags) = self.sides.restore(meta, state)
        if left_flags.any() or right_flags.any():
            raise StateError("a row of a window has no flag")
        if not isinstance(held, pa.RecordBatch) or held.schema != _PANES or any(c.null_count for c in held.columns):
            raise StateError("section panes: other columns than expected, or nulls")
        pane, side, row = (column.to_numpy() for column in held.columns)
        if (pane >= len(panes)).any() or (side > 1).any() or (row >= np.where(side == 0, len(left), len(right))).any():
            raise StateError("section panes: a window or a row is not there")
        self.core.restore(left, right, np.array(panes, np.uint32)[pane], side, row, counters)


class _ByWindow:
    """What both joins by window share.

    Side outputs of each side: late_left and so on (all windows of the row are gone), no_window_left (it lies between
    windows), errors_left (a part of the key is null).
    """

    schema: pa.Schema
    """The columns of its results."""

    def __init__(
        self,
        window: Window,
        left: Keyed,
        right: Keyed,
        outer: tuple[bool, bool],
        cogroup: bool,
        trigger: Trigger | None,
        allowed_lateness: DurationLike,
        emit_rest: bool,
    ) -> None:
        if isinstance(window, Sliding) or (isinstance(window, Session) and isinstance(window.gap, Expr)):
            raise DefinitionError(f"{window!r} cannot join: its bounds belong to single rows; take another window")
        self.window = window
        keys = [dict(given[1]) if isinstance(given[1], Mapping) else list(given[1]) for given in (left, right)]
        parts = [list(each.values()) if isinstance(each, dict) else each for each in keys]
        self.sides = Sides((left[0], parts[0]), (right[0], parts[1]))
        stores = self.sides.left.store, self.sides.right.store
        self.core = PanesCore(*stores, *outer, cogroup)
        self.names = _key_names(keys[0])
        self.types = _key_types(self.sides.left)
        union = pa.schema([*((str(i), kind) for i, kind in enumerate(self.types)), (_PLACE, pa.int64())])
        self.windows = Windowed(
            window,
            {},
            union,
            {name or f"key {i}": ex.Column(str(i)) for i, name in enumerate(self.names)},
            trigger=trigger,
            allowed_lateness=allowed_lateness,
            emit_rest=emit_rest,
            panes=_Rows(self.sides, self.core),
        )
        self.said = [name for name in self.names if name is not None] + list(RESULT_COLUMNS)

    def step(self, inputs: Sequence[Batch]) -> Output:
        """Take the next rows and watermarks of both sides. O(1) a row and window that it is in, and its results."""
        merged, segments, arrivals = self.sides.take(inputs)
        found, fired = self._run(inputs, merged, segments, arrivals)
        results = fired.results
        side = self._side_outputs(inputs, merged, fired)
        of_result = self._of_result(found)
        if len(of_result) == 0:
            return Output(Batch.empty(self.schema, results.marks), side)
        said = results.rows.select(self.said).take(pa.array(of_result))
        rows = pa.RecordBatch.from_arrays([*said.columns, *self._values(found)], schema=self.schema)
        return Output(Batch(rows, results.times[of_result], results.origins[of_result], results.marks), side)

    def _run(
        self, inputs: Sequence[Batch], merged: Merged, segments: Sequence[Segment | None], arrivals: Arrivals
    ) -> tuple[PanesFound, Output]:
        self.core.begin(segments[0], segments[1], arrivals)
        columns = [pa.array(np.arange(len(merged)))]
        for i in reversed(range(len(self.types))):
            values = [
                _key_values(side, i, batch, segment, self.types[i])
                for side, batch, segment in zip(self.sides.fed, inputs, segments, strict=True)
            ]
            columns.insert(0, pa.concat_arrays(values).take(pa.array(merged.order)))
        union = pa.RecordBatch.from_arrays(columns, schema=self.windows.input)
        fired = self.windows.step([Batch(union, merged.times, merged.origins, merged.marks)])
        return self.core.finish(), fired

    def _side_outputs(self, inputs: Sequence[Batch], merged: Merged, fired: Output) -> dict[str, pa.Table]:
        out = {}
        for name, rows_aside in fired.side.items():
            table: pa.Table = rows_aside
            places = table[_PLACE].to_numpy()
            for i, side in enumerate(self.sides.fed):
                own = merged.inputs[places] == i
                if own.any():
                    rows = pa.Table.from_batches([inputs[i].rows.take(pa.array(merged.rows[places[own]]))])
                    if "error" in table.column_names:
                        rows = rows.append_column("error", table["error"].filter(pa.array(own)))
                    out[f"{name}_{side.name}"] = rows
        return out

    def _of_result(self, found: PanesFound) -> npt.NDArray[np.uint32]:
        """The number of the window's result that each row belongs to."""
        raise NotImplementedError

    def _values(self, found: PanesFound) -> list[pa.Array]:
        """The columns behind those of the window."""
        raise NotImplementedError

    def statistics(self) -> dict[str, int]:
        """Give counts since the start (those of windows; pairs, alone), and what is held."""
        counters = self.windows.statistics()
        del counters["held_rows"]
        rows = self.core.counters()
        counters["pairs"], counters["alone"] = rows["pairs"], rows["alone"]
        counters["bytes"] += rows["bytes"]
        for side in self.sides.fed:
            store = side.store.counters()
            counters[f"rows_{side.name}"] = store["rows"]
            counters["bytes"] += store["bytes"] + store["payload_bytes"]
        return counters

    def export(self) -> State:
        """Give the whole state: that of the windows, and their rows, each once, in the order of arrival."""
        return self.windows.export()

    def restore(self, state: State) -> None:
        """Take over what export gave; raises StateError if it is damaged or of something else."""
        self.windows.restore(state)

    def check(self) -> None:
        """Walk all invariants; raises AssertionError with the broken one."""
        self.windows.check()
        reason = self.core.check()
        assert reason is None, reason

    def describe(self) -> str:
        """Say what waits for what."""
        lines = waits(self.windows.window, self.windows.trigger, self.windows.lateness)
        lines.append("rows of both sides are kept as long as a window of theirs; the watermark is that of both sides")
        return "\n".join([f"{self._title()} by {self.sides.key} in {self.window!r}", *(f"  {line}" for line in lines)])

    def _title(self) -> str:
        raise NotImplementedError


class WindowJoin(_ByWindow):
    """Joins the rows of two streams that lie in the same window of their key; an operator with the inputs left, right.

    Its columns: the key, window_start, window_end, revision, final, then those of the left and of the right row. Each
    firing of a window gives all its pairs, one left and one right row, in the order of arrival, left rows first.

    Args:
        window: which rows belong together; for both sides the same.
        left, right: the schema and the keys of each side.
        how: inner, left, right or outer: which side's rows come alone in a window that has none of the other.
        suffix: for columns of the right side whose names are there already.
        trigger, allowed_lateness, emit_rest: as of Windowed.

    Raises:
        DefinitionError, SchemaError: the sides, or window and trigger, do not fit together.
    """

    def __init__(
        self,
        window: Window,
        left: Keyed,
        right: Keyed,
        how: str = "inner",
        suffix: str = "_right",
        *,
        trigger: Trigger | None = None,
        allowed_lateness: DurationLike = 0,
        emit_rest: bool = False,
    ) -> None:
        self.how = check_how(how)
        outer = (how in ("left", "outer"), how in ("right", "outer"))
        super().__init__(window, left, right, outer, False, trigger, allowed_lateness, emit_rest)
        keys = [
            [key.name for key, said in zip(side.keys, self.names, strict=True) if said and isinstance(key, ex.Column)]
            for side in self.sides.fed
        ]
        self.columns = Columns(self.sides, suffix, (keys[0], keys[1]), self.said)
        self.schema = pa.schema([*(self.windows.schema.field(name) for name in self.said), *self.columns.schema])

    def _of_result(self, found: PanesFound) -> npt.NDArray[np.uint32]:
        return np.ascontiguousarray(found.pairs["result"])

    def _values(self, found: PanesFound) -> list[pa.Array]:
        columns: list[pa.Array] = self.columns.gather(self.sides, found.segments, found.pairs).columns
        return columns

    def _title(self) -> str:
        return f"window join ({self.how})"


class CoGroup(_ByWindow):
    """Gives the rows of both streams that lie in the same window of their key; an operator with the inputs left, right.

    Its columns: the key, window_start, window_end, revision, final, then `left` and `right`: lists of rows, in order of
    arrival; one of them can be empty.

    Args:
        window: which rows belong together; for both sides the same.
        left, right: the schema and the keys of each side.
        trigger, allowed_lateness, emit_rest: as of Windowed.

    Raises:
        DefinitionError, SchemaError: the sides, or window and trigger, do not fit together.
    """

    def __init__(
        self,
        window: Window,
        left: Keyed,
        right: Keyed,
        *,
        trigger: Trigger | None = None,
        allowed_lateness: DurationLike = 0,
        emit_rest: bool = False,
    ) -> None:
        super().__init__(window, left, right, (False, False), True, trigger, allowed_lateness, emit_rest)
        groups = [pa.field(side.name, pa.list_(pa.struct(list(side.schema)))) for side in self.sides.fed]
        taken = next((field.name for field in groups if field.name in self.said), None)
        if taken is not None:
            raise SchemaError(f'a part of the key is called "{taken}", as one of the groups: give it another name')
        self.schema = pa.schema([*(self.windows.schema.field(name) for name in self.said), *groups])

    def _of_result(self, found: PanesFound) -> npt.NDArray[np.uint32]:
        return np.ascontiguousarray(found.groups["result"])

    def _values(self, found: PanesFound) -> list[pa.Array]:
        groups = []
        for side, segments, members in zip(self.sides.fed, found.segments, found.members, strict=True):
            rows = rows_of(segments, members["segment"], members["row"], side.schema)
            ends = np.concatenate([[0], np.cumsum(found.groups[f"n_{side.name}"], dtype=np.int64)]).astype(np.int32)
            struct = pa.StructArray.from_arrays(rows.columns, fields=list(side.schema))
            groups.append(pa.ListArray.from_arrays(pa.array(ends), struct))
        return groups

    def _title(self) -> str:
        return "cogroup"


def _key_names(keys: Mapping[str, Expr] | Sequence[Expr]) -> list[str | None]:
    if isinstance(keys, Mapping):
        return list(keys)
    return [key.name if isinstance(key, ex.Column) else None for key in keys]


def _key_types(side: Side) -> list[pa.DataType]:
    known = Schema.from_arrow(side.schema)
    return [
        arrow_of(known[key.name] if isinstance(key, ex.Column) else Field("key", kind))
        for key, kind in zip(side.keys, side.rows.key_types, strict=True)
    ]


def _key_values(side: Side, i: int, batch: Batch, segment: Segment | None, kind: pa.DataType) -> pa.Array:
    """The values of a part of the key of a side's rows."""
    key = side.keys[i]
    if isinstance(key, ex.Column):
        return converted(batch.rows.column(batch.rows.schema.get_field_index(key.name)), kind)
    if segment is None:
        return pa.array([], kind)
    return from_physical(as_arrow(segment.columns[side.rows.key[i]], len(segment)), kind)
