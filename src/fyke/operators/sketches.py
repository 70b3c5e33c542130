"""Summaries of many values that Python keeps for a window: quantiles, different values, most frequent values.

Each takes values in, takes in another one of its kind, and gives a result that depends on the values alone: neither on
how they were cut into batches nor, but for Frequencies beyond its bound, on their order. So none of them draws random
numbers, as the usual quantile sketches (KLL, REQ) do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Distinct", "Frequencies", "Quantiles"]

Int64s = npt.NDArray[np.int64]

_KEY_NAN: Final = 0x7FF8000000000000
_KEY_INFINITY: Final = 0x7FF0000000000000


def _keys_of(values: npt.NDArray[np.float64]) -> Int64s:
    """Doubles as integers in their order: -inf ... -0.0, 0.0 ... inf, NaN; as in csrc/aggregate.h."""
    bits = np.ascontiguousarray(values).view(np.int64)
    keys = bits ^ ((bits >> 63) & np.int64(2**63 - 1))
    keys[np.isnan(values)] = _KEY_NAN
    return keys


def _value_of(key: int) -> float:
    bits = key ^ (2**63 - 1) if key < 0 else key
    return float(np.array(bits, np.int64).view(np.float64))


class Quantiles:
    """Numbers in order: all of them while there are few, then how many share their first 8 binary digits.

    Attributes:
        n: how many came in.

    >>> numbers = Quantiles()
    >>> numbers.add(np.array([3.0, 1.0, 2.0]))
    >>> numbers.quantile(0.5), numbers.quantile(0.25)
    (2.0, 1.5)
    """

    EXACT: Final = 2048
    """Up to so many values nothing is lost."""
    DROPPED: Final = 45
    """Of the 53 binary digits of a double (the first is always 1): a bucket is at most 1/128 of its values wide."""

    __slots__ = ("coarse", "counts", "keys", "n", "pending", "waiting")

    def __init__(self) -> None:
        self.n = 0
        self.coarse = False
        # Ascending: keys of values, or of buckets if coarse; and how many of each.
        self.keys = np.empty(0, np.int64)
        self.counts = np.empty(0, np.int64)
        self.pending: list[Int64s] = []
        self.waiting = 0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Take values in. Amortised O(n log n)."""
        self.pending.append(_keys_of(values))
        self.n += len(values)
        self.waiting += len(values)
        if self.waiting > self.EXACT:
            self._settle()

    def merge(self, other: Quantiles) -> None:
        """Take in the values of another, which stays as it is."""
        other._settle()
        self.n += other.n
        self._settle()
        keys = other.keys if other.coarse or not self.coarse else other.keys >> self.DROPPED
        self._put(keys, other.counts)

    def quantile(self, q: float) -> float | None:
        """Give the value at q (0 to 1) of the way from the first to the last, interpolated; None: there is none."""
        if self.n == 0:
            return None
        self._settle()
        at = q * (self.n - 1)
        low = math.floor(at)
        ends = np.cumsum(self.counts)
        one, other = (
            self._value(int(np.searchsorted(ends, rank, "right"))) for rank in (low, min(low + 1, self.n - 1))
        )
        part = at - low
        if one == other or part == 0:
            return one
        # From the nearer end, as NumPy does, so that 1.0 gives the end itself.
        return one + (other - one) * part if part < 0.5 else other - (other - one) * (1 - part)

    def save(self) -> tuple[Int64s, Int64s]:
        """Give keys and counts, equal for equal values."""
        self._settle()
        return self.keys, self.counts

    @classmethod
    def load(cls, keys: Int64s, counts: Int64s) -> Quantiles:
        """Make one of what save gave; raises ValueError if that is impossible."""
        made = cls()
        if (counts < 1).any() or (np.diff(keys) <= 0).any() or float(counts.sum(dtype=np.float64)) >= 2.0**62:
            raise ValueError("counts below 1, or values out of order")
        made.n = int(counts.sum())
        made.coarse = made.n > cls.EXACT
        last, inner = (
            (_KEY_NAN >> cls.DROPPED, _KEY_INFINITY >> cls.DROPPED) if made.coarse else (_KEY_NAN, _KEY_INFINITY)
        )
        if len(keys) and (keys[0] < ~inner or ((keys > inner) & (keys != last)).any()):
            raise ValueError("a value that is no double")
        made.keys, made.counts = keys.copy(), counts.copy()
        return made

    def _settle(self) -> None:
        if self.n > self.EXACT and not self.coarse:
            self.coarse = True
            keys, counts, self.keys, self.counts = self.keys, self.counts, self.keys[:0], self.counts[:0]
            self._put(keys >> self.DROPPED, counts)
        if self.pending:
            keys = np.concatenate(self.pending)
            self.pending.clear()
            self.waiting = 0
            self._put(keys >> self.DROPPED if self.coarse else keys, np.ones(len(keys), np.int64))

    def _put(self, keys: Int64s, counts: Int64s) -> None:
        merged, place = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        total = np.zeros(len(merged), np.int64)
        np.add.at(total, place, np.concatenate([self.counts, counts]))
        self.keys, self.counts = merged, total

    def _value(self, place: int) -> float:
        key = int(self.keys[place])
        if not self.coarse:
            return _value_of(key)
        sign, bucket = (-1.0, ~key) if key < 0 else (1.0, key)
        if bucket == 0:
            return 0.0
        # The middle of the bucket; infinity and NaN have buckets of their own.
        middle = 0 if bucket >= _KEY_INFINITY >> self.DROPPED else 1 << (self.DROPPED - 1)
        return sign * _value_of((bucket << self.DROPPED) | middle)


class Distinct:
    """How many different values: a theta sketch of the 4,096 smallest hashes, of Apache DataSketches.

    It is cut to exactly that many before it is looked at, so what it holds depends on the set of values alone.

    >>> values = Distinct()
    >>> values.add(["a", "b", "a"])
    >>> values.count()
    2
    """

    LG_K: Final = 12

    __slots__ = ("before", "sketch")

    def __init__(self) -> None:
        # A snapshot cannot be continued, only joined: what came before it is kept apart.
        self.before: Any = None
        self.sketch = self._empty()

    @classmethod
    def _empty(cls) -> Any:
        from datasketches import update_theta_sketch  # imported late: few windows need it

        return update_theta_sketch(cls.LG_K)

    def add(self, values: Iterable[Any]) -> None:
        """Take values in: int, float, bool, str or bytes."""
        update = self.sketch.update
        for value in values:
            # The library passes over an empty text, and knows no bytes.
            if isinstance(value, str):
                value = "=" + value
            elif isinstance(value, bytes):
                value = "#" + value.decode("latin-1")
            update(value)

    def merge(self, other: Distinct) -> None:
        """Take in the values of another, which stays as it is."""
        self.before = self._union(self._compact(), other._compact())
        self.sketch = self._empty()

    def count(self) -> int:
        """Give the number of different values."""
        estimate: float = self._compact().get_estimate()
        return round(estimate)

    def save(self) -> bytes:
        """Give the sketch in the library's own format, equal for equal values."""
        return bytes(self._compact().serialize())

    @classmethod
    def load(cls, data: bytes) -> Distinct:
        """Make one of what save gave; raises ValueError if that is impossible."""
        from datasketches import compact_theta_sketch

        made = cls()
        try:
            made.before = compact_theta_sketch.deserialize(data)
        except Exception as error:  # the library raises what its C++ does
            raise ValueError(f"no theta sketch: {error}") from None
        if made.save() != data:
            raise ValueError("no theta sketch as it is written")
        return made

    def _compact(self) -> Any:
        self.sketch.trim()
        compact = self.sketch.compact(True)
        return compact if self.before is None else self._union(self.before, compact)

    @classmethod
    def _union(cls, *sketches: Any) -> Any:
        from datasketches import theta_union

        union = theta_union(cls.LG_K)
        for sketch in sketches:
            union.update(sketch)
        return union.get_result(True)


_NAN: Final = float("nan")  # one object, so that a dict finds it


class Frequencies:
    """How often each value occurs: all of them while there are few, then lower bounds (Misra and Gries).

    >>> values = Frequencies()
    >>> values.add(pa.array(["b", "a", "c", "a", "b"]))
    >>> values.top(2)
    [('a', 2), ('b', 2)]
    """

    MOST: Final = 4096
    """So many values are counted."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[Any, int] = {}

    def add(self, values: pa.Array) -> None:
        """Take values in, one after the other. Amortised O(n)."""
        found = pc.value_counts(values)
        counts = self.counts
        once = list(map(_canonical, found.field(0).to_pylist()))
        if len(counts.keys() | set(once)) <= self.MOST:
            for value, n in zip(once, found.field(1).to_pylist(), strict=True):
                counts[value] = counts.get(value, 0) + n
            return
        for value in map(_canonical, values.to_pylist()):
            if value in counts:
                counts[value] += 1
            elif len(counts) < self.MOST:
                counts[value] = 1
            else:  # one of each goes, and this one with them
                self.counts = counts = {other: n - 1 for other, n in counts.items() if n > 1}

    def merge(self, other: Frequencies) -> None:
        """Take in the values of another, which stays as it is."""
        for value, n in other.counts.items():
            self.counts[value] = self.counts.get(value, 0) + n
        if len(self.counts) > self.MOST:
            excess = sorted(self.counts.values(), reverse=True)[self.MOST]
            self.counts = {value: n - excess for value, n in self.counts.items() if n > excess}

    def top(self, k: int) -> list[tuple[Any, int]]:
        """Give the k most frequent values with their counts, equal counts by value (NaN last)."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0] != item[0], item[0]))[:k]

    def save(self) -> tuple[list[Any], list[int]]:
        """Give values and counts, equal for equal contents."""
        items = sorted(self.counts.items(), key=lambda item: (item[0] != item[0], item[0]))
        return [value for value, _ in items], [n for _, n in items]

    @classmethod
    def load(cls, values: Sequence[Any], counts: Sequence[int]) -> Frequencies:
        """Make one of what save gave; raises ValueError if that is impossible."""
        made = cls()
        made.counts = {_canonical(value): n for value, n in zip(values, counts, strict=True)}
        if len(made.counts) < len(values) or len(values) > cls.MOST or any(n < 1 for n in counts):
            raise ValueError("a value is there twice, or has a count below 1, or there are too many")
        return made


def _canonical(value: Any) -> Any:
    """One zero, one NaN."""
    if isinstance(value, float):
        return _NAN if value != value else value + 0.0
    return value
