"""Data of any accepted shape -> Segments: the columns that the plan reads, plus the payload as it came.

Arrow data (and NumPy structured arrays) keeps its columns where they are, cast only where their type is not the plan's.
Rows (dicts, dataclasses, msgspec Structs, any object with attributes) are decoded into columns; the objects themselves
are the payload. Encodings that pyarrow cannot take rows from (views of strings, run-end encoding) are replaced once,
when a batch comes in.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fyke import expr as ex
from fyke._core import RowDecoder, Segment, encode_any, encode_time
from fyke.duration import UNITS
from fyke.errors import DataError, StateError
from fyke.eventtime import TimeColumn
from fyke.plan import BOOL, F64, I64, STR, ColumnPlan, Plan

ARROW_TYPES: Final = {I64: pa.int64(), F64: pa.float64(), BOOL: pa.uint8(), STR: pa.large_binary()}

Core = tuple[Any, Any, Any, int, int, int, int]
"""A column as Segment takes it: values, offsets, valid, valid offset, wide, physical type, address shift."""


def is_row(data: object) -> bool:
    """Tell whether data is one row rather than many."""
    if isinstance(data, Mapping):
        return True
    if isinstance(data, list | tuple | np.ndarray | pa.RecordBatch | pa.Table) or hasattr(data, "__arrow_c_stream__"):
        return False
    return (dataclasses.is_dataclass(data) and not isinstance(data, type)) or hasattr(data, "__struct_fields__")


def arrow_batches(data: object) -> list[pa.RecordBatch] | None:
    """Give data as record batches of plain types if it is Arrow's or NumPy's, without copying; None if it is rows."""
    if isinstance(data, pa.RecordBatch):
        return [_plain_batch(data)]
    if isinstance(data, pa.Table):
        return _batches_of(data)
    if isinstance(data, np.ndarray):
        return [_from_structured(data)]
    if hasattr(data, "__arrow_c_stream__"):
        return _batches_of(pa.RecordBatchReader.from_stream(data).read_all())
    if hasattr(data, "__arrow_c_array__"):
        return [_plain_batch(pa.record_batch(data))]
    return None


def _batches_of(table: pa.Table) -> list[pa.RecordBatch]:
    found = table.combine_chunks().to_batches()
    if not found:
        empty = [pa.array([], column.type) for column in table.columns]
        found = [pa.RecordBatch.from_arrays(empty, names=table.schema.names)]
    return [_plain_batch(batch) for batch in found]


def _from_structured(array: np.ndarray[Any, Any]) -> pa.RecordBatch:
    if array.dtype.names is None:
        raise DataError(f"a NumPy array of {array.dtype}: a structured array with named fields is needed")
    flat = array.reshape(-1)
    columns = {}
    for name in array.dtype.names:
        field = np.ascontiguousarray(flat[name])
        if field.ndim != 1:
            raise DataError(f"field `{name}`: a NumPy field of shape {field.shape[1:]} is not a scalar")
        if not field.dtype.isnative:
            field = field.astype(field.dtype.newbyteorder("="))
        try:
            columns[name] = pa.array(field, from_pandas=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise DataError(f"field `{name}`: a NumPy field of {field.dtype} has no Arrow type: {error}") from None
    return pa.RecordBatch.from_pydict(columns)


# ------------------------------------------------------------------------------------------------ plain types

# The schemas of the latest batches, each with its plain types (None: it has no others). Nearly every batch has the
# schema of the one before, and to compare two is cheap.
_seen: list[tuple[pa.Schema, list[pa.DataType] | None]] = []


def _plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with columns that pyarrow can take rows from."""
    schema = batch.schema
    for seen, known in _seen:
        if seen.equals(schema):
            plain = known
            break
    else:
        types = [plain_type(field.type) for field in schema]
        plain = None if types == schema.types else types
        _seen.insert(0, (schema, plain))
        del _seen[16:]
    if plain is None:
        return batch
    arrays = [_plain(column, type_) for column, type_ in zip(batch.columns, plain, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=schema.names)


def plain_type(arrow: pa.DataType) -> pa.DataType:
    """Give the type that a column of this one has once it is taken."""
    types = pa.types
    if types.is_string_view(arrow):
        return pa.large_string()
    if types.is_binary_view(arrow):
        return pa.large_binary()
    if types.is_run_end_encoded(arrow):
        return plain_type(arrow.value_type)
    if types.is_struct(arrow):
        plain = pa.struct([field.with_type(plain_type(field.type)) for field in arrow])
    elif types.is_map(arrow):
        plain = pa.map_(plain_type(arrow.key_type), plain_type(arrow.item_type), arrow.keys_sorted)
    elif types.is_dictionary(arrow):
        plain = plain_type(arrow.value_type)
        return arrow if plain == arrow.value_type else plain
    elif types.is_fixed_size_list(arrow):
        plain = pa.list_(plain_type(arrow.value_type), arrow.list_size)
    elif types.is_list(arrow) or types.is_list_view(arrow):
        plain = pa.list_(plain_type(arrow.value_type))
    elif types.is_large_list(arrow) or types.is_large_list_view(arrow):
        plain = pa.large_list(plain_type(arrow.value_type))
    else:
        return arrow
    return arrow if plain == arrow else plain


def _plain(column: pa.Array, to: pa.DataType) -> pa.Array:
    arrow = column.type
    if arrow == to:
        return column
    if pa.types.is_run_end_encoded(arrow):
        runs = np.arange(column.offset, column.offset + len(column))
        runs = np.searchsorted(column.run_ends.to_numpy(), runs, side="right")
        return _plain(column.values, to).take(pa.array(runs))
    if pa.types.is_dictionary(arrow):
        return pa.DictionaryArray.from_arrays(column.indices, _plain(column.dictionary, to)).dictionary_decode()
    try:
        return column.cast(to)
    except pa.ArrowNotImplementedError:
        return pa.array(column.to_pylist(), to)  # a dictionary of views within lists: rare, so slow will do


# ------------------------------------------------------------------------------------------------ columns


class Encoder:
    """Makes Segments for one plan.

    Args:
        plan: says which columns to read.
        time: the name of the time column.
        unit: of a numeric time column: s, ms, us or ns; None: it holds timestamps.
        keep: names of the payload's columns beside those that the plan reads; None: all.
    """

    def __init__(self, plan: Plan, time: str, unit: str | None, keep: Sequence[str] | None) -> None:
        self.plan = plan
        self.times = TimeColumn(time, unit)
        inputs = [c for c in plan.columns if c.kind == "input"]
        self.derived = [(i, c) for i, c in enumerate(plan.columns) if c.kind != "input"]
        # A dict for its order, and for the look-ups.
        self.keep = None if keep is None else dict.fromkeys([time, *(c.name for c in inputs), *keep])
        self.rows = RowDecoder(
            [c.name for c in inputs],
            [c.type for c in inputs],
            [c.physical for c in inputs],
            time,
            0 if unit is None else UNITS[unit],
            unit or "",
        )
        self.schema: pa.Schema | None = None
        self.places: dict[str, int] = {}

    # -- rows

    def from_rows(self, rows: list[Any], positions: np.ndarray[Any, Any]) -> Segment:
        """Decode rows; positions are their arrival numbers."""
        times, decoded = self.rows.decode(rows, positions)
        payload = rows if self.keep is None else [_reduced(row, self.keep) for row in rows]
        if not self.derived:
            return Segment(times, positions, decoded, payload, 200 * len(rows))
        arrays = iter(decoded)
        columns = [next(arrays) if c.kind == "input" else None for c in self.plan.columns]
        return Segment(times, positions, self._derive(columns, rows, positions), payload, 200 * len(rows))

    # -- Arrow

    def from_arrow(self, batch: pa.RecordBatch, positions: np.ndarray[Any, Any]) -> Segment:
        """Borrow the columns of a batch of plain types, as arrow_batches gives it."""
        first = int(positions[0]) if len(positions) else 0
        return self.with_times(batch, self.arrow_times(batch, first), positions)

    def with_times(
        self, batch: pa.RecordBatch, times: np.ndarray[Any, Any], positions: np.ndarray[Any, Any]
    ) -> Segment:
        """Borrow the columns of a batch of plain types whose times (ns) are known, as those of a stream are."""
        first = int(positions[0]) if len(positions) else 0
        if self.schema is None or not self.schema.equals(batch.schema):
            self._meet(batch.schema, first)
        columns: list[Core | None] = [
            self._arrow_column(batch, c, first) if c.kind == "input" else None for c in self.plan.columns
        ]
        if self.derived:
            columns = self._derive(columns, batch, positions)
        payload = batch if self.keep is None else batch.select([n for n in self.places if n in self.keep])
        return Segment(times, positions, columns, payload, payload.nbytes)

    def _meet(self, schema: pa.Schema, first: int) -> None:
        """Look at the schema of a batch that is not that of the one before."""
        places = {name: i for i, name in enumerate(schema.names)}
        if len(places) < len(schema.names):
            twice = next(name for i, name in enumerate(schema.names) if places[name] != i)
            raise DataError(f"field `{twice}`: occurs twice in the batch at position {first}")
        self.schema, self.places = schema, places

    def arrow_times(self, batch: pa.RecordBatch, first: int) -> np.ndarray[Any, Any]:
        """Give the event times in ns; raises DataError for a missing, null or out-of-range one."""
        if self.schema is None or not self.schema.equals(batch.schema):
            self._meet(batch.schema, first)
        return self.times.of(batch, first)

    def _arrow_column(self, batch: pa.RecordBatch, c: ColumnPlan, first: int) -> Core:
        if c.name not in self.places:
            return null_column(c, len(batch))
        column = batch.column(self.places[c.name])
        try:
            return _core_column(_canonical(column, c), c.physical)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError) as error:
            expected = "a key" if c.type == "any" else c.type
            raise DataError(
                f"field `{c.name}`: expected {expected}, got {column.type} in the batch at position {first}: {error}"
            ) from None

    # -- both

    def _derive(self, columns: list[Core | None], source: Any, positions: np.ndarray[Any, Any]) -> list[Core | None]:
        """Add the columns that are no fields of the data; source: the data as it came, with what `keep` leaves out."""
        n = len(positions)
        for i, c in self.derived:
            if c.kind == "computed":
                values = np.zeros(n, {I64: np.int64, F64: np.float64, BOOL: np.uint8}[c.physical])
                columns[i] = (values, None, np.full(n // 8 + 1, 255, np.uint8), 0, 0, c.physical, 0)
            elif c.kind == "regex":
                columns[i] = self._regex(c, columns, positions)
            else:
                columns[i] = self._call(c, source, n)
        return columns

    def _regex(self, c: ColumnPlan, columns: list[Core | None], positions: np.ndarray[Any, Any]) -> Core:
        assert isinstance(c.source, ex.StrOp)
        assert isinstance(c.source.arg, ex.Column)
        name = c.source.arg.name
        at = next(i for i, x in enumerate(self.plan.columns) if x.kind == "input" and x.name == name)
        text = columns[at]
        assert text is not None
        strings = as_arrow(text, len(positions))
        if self.plan.columns[at].type == "string":
            try:
                strings = strings.cast(pa.large_string())
            except pa.ArrowInvalid:
                row = next(i for i, each in enumerate(strings.to_pylist()) if not _is_utf8(each))
                raise DataError(
                    f"field `{name}`: {strings[row].as_py()!r:.60} at position {int(positions[row])} is no Unicode "
                    "text (half of a surrogate pair): no regular expression looks into it"
                ) from None
        return _core_column(pc.match_substring_regex(strings, c.source.pattern).cast(pa.uint8()), BOOL)

    def _call(self, c: ColumnPlan, source: Any, n: int) -> Core:
        assert isinstance(c.source, ex.Call)
        fn = c.source.fn
        values = np.fromiter((bool(fn(RowView(source, i))) for i in range(n)), np.uint8, n)
        return (values, None, None, 0, 0, BOOL, 0)


def _is_utf8(text: bytes | None) -> bool:
    try:
        return text is None or text.decode() is not None
    except UnicodeDecodeError:
        return False


def _reduced(row: Any, keep: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that matches shall hold."""
    if isinstance(row, Mapping):
        return {name: value for name, value in row.items() if name in keep}
    listed = field_names([row], 0)
    return {name: getattr(row, name) for name in listed or keep if name in keep and hasattr(row, name)}


def _canonical(column: pa.Array, c: ColumnPlan) -> pa.Array:
    """An array of the plan's physical type; raises ArrowInvalid or TypeError where that would change a value."""
    arrow = column.type
    if pa.types.is_dictionary(arrow):
        return _canonical(column.dictionary_decode(), c)
    if pa.types.is_null(arrow):
        return pa.nulls(len(column), ARROW_TYPES[c.physical])
    if c.type == "opaque":  # all that a condition can ask is whether there is a value
        return pa.array(np.ones(len(column), np.uint8), mask=column.is_null().to_numpy(zero_copy_only=False))
    if c.type == "any" and pa.types.is_time(arrow):
        times = column.cast(pa.time64("ns")).cast(pa.int64()).to_pylist()
        return pa.array([None if ns is None else encode_time(ns) for ns in times], pa.large_binary())
    if c.type == "any":
        return pa.array([None if v is None else encode_any(v) for v in column.to_pylist()], pa.large_binary())
    if c.type in ("string", "bytes"):
        if not (_is_text(arrow) or _is_bytes(arrow)):
            column = _plain(column, plain_type(arrow))  # as arrow_batches does for whole batches
        if not (_is_text(column.type) or (c.type == "bytes" and _is_bytes(column.type))):
            raise TypeError(f"{arrow} is not {'a string' if c.type == 'string' else 'bytes'}")
        # Text lies in memory as its bytes do.
        return column.cast(pa.binary()) if pa.types.is_fixed_size_binary(arrow) else column
    if c.type == "bool":
        if not pa.types.is_boolean(arrow):
            raise TypeError(f"{arrow} is not a bool")
        return column.cast(pa.uint8())
    if c.type in ("int64", "float64"):
        if not (pa.types.is_integer(arrow) or pa.types.is_floating(arrow)):
            raise TypeError(f"{arrow} is not a number")
        return column if arrow == ARROW_TYPES[c.physical] else column.cast(ARROW_TYPES[c.physical])
    if c.type == "timestamp" and pa.types.is_timestamp(arrow):
        return column.cast(pa.timestamp("ns", arrow.tz)).cast(pa.int64())
    if c.type == "duration" and pa.types.is_duration(arrow):
        return column.cast(pa.duration("ns")).cast(pa.int64())
    if c.type == "date" and pa.types.is_date(arrow):
        return column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    raise TypeError(f"{arrow} is not a {c.type}")


def _is_text(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow))


def _is_bytes(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow) or pa.types.is_fixed_size_binary(arrow))


def _core_column(array: pa.Array, physical: int) -> Core:
    buffers = array.buffers()
    valid = buffers[0] if array.null_count else None
    if physical == STR:
        wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
        offsets = buffers[1] if buffers[1] is not None and buffers[1].size else np.zeros(2, np.int64)
        return (buffers[2], offsets, valid, array.offset, int(wide), physical, array.offset * (8 if wide else 4))
    width = 1 if physical == BOOL else 8
    return (buffers[1], None, valid, array.offset, 0, physical, array.offset * width)


def key_column(values: pa.Array, c: ColumnPlan) -> Core:
    """Give values of a key, as Arrow has them, as that column of a plan, computed ones too.

    Raises:
        StateError: their type is not the column's.
    """
    try:
        return _core_column(_canonical(values, c), c.physical)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError) as error:
        raise StateError(f"key {c.name}: expected {c.type}, got {values.type}: {error}") from None


def null_column(c: ColumnPlan, n: int) -> Core:
    """Give a column of a plan that is null in n rows."""
    return _core_column(pa.nulls(n, ARROW_TYPES[c.physical]), c.physical)


def as_arrow(column: Core, n: int) -> pa.Array:
    """Give a core column as an Arrow array of its physical type, without copying."""
    values, offsets, valid, valid_offset, wide, physical, _ = column
    type_ = pa.binary() if physical == STR and not wide else ARROW_TYPES[physical]
    buffers = [None if valid is None else pa.py_buffer(valid)]
    if physical == STR:
        buffers.append(pa.py_buffer(offsets))
    buffers.append(pa.py_buffer(b"" if values is None else values))
    return pa.Array.from_buffers(type_, n, buffers, offset=valid_offset)


class Payloads:
    """How segments are put together; the core calls it when it compacts."""

    @staticmethod
    def kind(source: Any) -> Any:
        """Payloads of one kind can be put together."""
        return "rows" if isinstance(source, list) else source.schema

    @staticmethod
    def gather(segments: Sequence[Segment], kept: Sequence[np.ndarray[Any, Any]]) -> Segment:
        """Make one Segment of the kept rows of several whose payloads are of one kind."""
        return gather(segments, kept)


def gather(segments: Sequence[Segment], kept: Sequence[np.ndarray[Any, Any]]) -> Segment:
    """Make one Segment of the kept rows of several whose payloads are of one kind."""
    times = np.concatenate([s.times[rows] for s, rows in zip(segments, kept, strict=True)])
    positions = np.concatenate([s.positions[rows] for s, rows in zip(segments, kept, strict=True)])
    columns: list[Core] = []
    for i in range(len(segments[0].columns)):
        physical = segments[0].columns[i][5]
        parts = [as_arrow(s.columns[i], len(s)).take(pa.array(rows)) for s, rows in zip(segments, kept, strict=True)]
        columns.append(_core_column(pa.concat_arrays([p.cast(ARROW_TYPES[physical]) for p in parts]), physical))
    source: Any
    if isinstance(segments[0].source, list):
        source = [s.source[row] for s, rows in zip(segments, kept, strict=True) for row in rows.tolist()]
        n_bytes = 200 * len(source)
    else:
        tables = [
            pa.Table.from_batches([s.source]).take(pa.array(rows)) for s, rows in zip(segments, kept, strict=True)
        ]
        batches = pa.concat_tables(tables).combine_chunks().to_batches()
        source = batches[0] if batches else segments[0].source.slice(0, 0)
        n_bytes = source.nbytes
    return Segment(times, positions, columns, source, n_bytes)


# ------------------------------------------------------------------------------------------------ rows, seen one by one


def field_names(source: Any, row: int) -> list[str]:
    """Give the names of the fields of a row."""
    if not isinstance(source, list):
        return list(source.schema.names)
    item = source[row]
    if isinstance(item, Mapping):
        return list(item)
    if dataclasses.is_dataclass(item):
        return [f.name for f in dataclasses.fields(item)]
    struct = getattr(item, "__struct_fields__", None)
    if struct is not None:
        return list(struct)
    return [n for n in vars(item) if not n.startswith("_")] if hasattr(item, "__dict__") else []


def field_value(source: Any, row: int, name: str) -> Any:
    """Give one field of a row as a Python value; KeyError if there is none."""
    if not isinstance(source, list):
        at = source.schema.get_field_index(name)
        if at < 0:
            raise KeyError(name)
        return source.column(at)[row].as_py()
    item = source[row]
    if isinstance(item, Mapping):
        return item[name]
    try:
        return getattr(item, name)
    except AttributeError:
        raise KeyError(name) from None


class RowView(Mapping[str, Any]):
    """A row as a read-only mapping; fields are attributes too."""

    __slots__ = ("_row", "_source")

    def __init__(self, source: Any, row: int) -> None:
        self._source = source
        self._row = row

    def __getitem__(self, name: str) -> Any:
        return field_value(self._source, self._row, name)

    def __getattr__(self, name: str) -> Any:
        if name in RowView.__slots__:  # being copied, and not filled yet
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Any:
        return iter(field_names(self._source, self._row))

    def __len__(self) -> int:
        return len(field_names(self._source, self._row))

    def __reduce__(self) -> Any:
        return RowView, ([dict(self)], 0)  # the row alone, not the batch that it is in

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


def rows_of(data: Any) -> list[Any]:
    """Give an iterable of rows as a list; raises DataError if it is something else."""
    if is_row(data):
        return [data]
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise DataError(
            f"cannot take rows from {type(data).__name__}: give a dict, a dataclass or msgspec Struct, an iterable of "
            "them, a NumPy structured array, or Arrow data"
        )
    rows = list(data)
    for i, row in enumerate(rows):
        if row is None or isinstance(row, str | bytes | int | float | dt.datetime):
            raise DataError(
                f"row {i} of the batch is {type(row).__name__} {row!r:.60}: expected a dict or an object with fields"
            )
    return rows
