"""The column of the event time -> nanoseconds: one decoding for every way in, with the place of what is wrong."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke._core import datetime_ns, scale_times
from fyke.duration import UNITS
from fyke.errors import DataError

__all__ = ["TimeColumn", "watermark_ns"]

INT64: Final = np.iinfo(np.int64)


class TimeColumn:
    """Reads the event time of batches.

    Args:
        name: the column.
        unit: of numbers: s, ms, us or ns; None: it holds timestamps.

    >>> TimeColumn("ts", "s").of(pa.record_batch({"ts": [0, 1.5]}), first=0).tolist()
    [0, 1500000000]
    """

    def __init__(self, name: str, unit: str | None) -> None:
        self.name = name
        self.unit = unit

    def of(self, batch: pa.RecordBatch, first: int) -> npt.NDArray[np.int64]:
        """Give the times in ns.

        Args:
            batch: of plain types.
            first: the arrival number of its first row, for errors.

        Raises:
            DataError: a time is missing, null or out of range, or the column is no time.
        """
        at = batch.schema.get_field_index(self.name)
        if at < 0:
            raise DataError(
                f"field `{self.name}`: no such column for the event time; there are {', '.join(batch.schema.names)}"
            )
        return self.decode(batch.column(at), first)

    def decode(self, column: pa.Array, first: int) -> npt.NDArray[np.int64]:
        """Give the times of the column itself; see `of`."""
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError(f"field `{self.name}`: the event time is missing at position {first + row}")
        if pa.types.is_timestamp(column.type):
            if self.unit is not None:
                raise DataError(f'field `{self.name}` holds timestamps: leave unit="{self.unit}" out')
            try:
                times = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_numpy()
            except pa.ArrowInvalid as error:
                raise DataError(f"field `{self.name}`: a time is outside the years 1677 to 2262 ({error})") from None
            if len(times) and (times.min() == INT64.min or times.max() == INT64.max):
                raise DataError(f"field `{self.name}`: a time is outside the years 1677 to 2262")
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            times = self._scaled(column, first)
        else:
            raise DataError(f"field `{self.name}`: expected timestamps or numbers with a unit, got {column.type}")
        return np.ascontiguousarray(times)

    def _scaled(self, column: pa.Array, first: int) -> npt.NDArray[np.int64]:
        if self.unit is None:
            raise DataError(f'field `{self.name}` holds {column.type}: say its unit with unit="s", "ms", "us" or "ns"')
        scale = UNITS[self.unit]
        if pa.types.is_floating(column.type):
            raw = column.to_numpy(zero_copy_only=False).astype(np.float64)
            outside = ~(np.abs(raw * scale) < 2.0**63)
            bad = int(np.argmax(outside)) if outside.any() else -1
            times = np.round(np.where(outside, 0, raw) * scale).astype(np.int64)
        elif pa.types.is_uint64(column.type):
            raw = column.to_numpy(zero_copy_only=False)
            outside = raw > np.uint64((INT64.max - 1) // scale)
            bad = int(np.argmax(outside)) if outside.any() else -1
            times = np.where(outside, 0, raw).astype(np.int64) * scale
        else:
            whole = column if pa.types.is_int64(column.type) else column.cast(pa.int64())
            raw = whole.to_numpy(zero_copy_only=False)
            times, bad = scale_times(raw, scale)
        if bad >= 0:
            raise DataError(
                f"field `{self.name}`: {raw[bad]} {self.unit} at position {first + bad} is outside the range of times "
                "(years 1677 to 2262): is the unit right?"
            )
        return np.ascontiguousarray(times, np.int64)


def watermark_ns(watermark: Any) -> int:
    """Give a watermark in ns: of an int of ns, or a datetime.

    Raises:
        DataError: it is neither, or out of range.
    """
    if isinstance(watermark, np.datetime64) and not np.isnat(watermark):
        watermark = int(watermark.astype("datetime64[ns]").astype("i8"))
    ns: Any = None
    if isinstance(watermark, dt.datetime):
        ns = datetime_ns(watermark) if watermark == watermark else None  # NaT of pandas is a datetime, too
    elif isinstance(watermark, int | np.integer) and not isinstance(watermark, bool):
        ns = int(watermark)
    if ns is None or not INT64.min < ns <= INT64.max:
        raise DataError(
            f"watermark: expected ns as int, or a datetime, in the years 1677 to 2262, got {watermark!r:.80}"
        )
    return int(ns)
