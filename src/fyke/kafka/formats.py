"""What the bytes of a record mean: the contract of a format, and the two that need no parsing of ours.

A format turns the values of many records into columns at once. A value that it cannot read is an error of its own, with
its place among the values, and leaves the others alone. None is a value too: it deletes a key in a compacted topic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import DefinitionError
from fyke.kafka.convert import columns_of_rows, schema_of

__all__ = ["Call", "Columns", "Format", "Raw"]


@dataclass(frozen=True, slots=True)
class Columns:
    """What became of some values.

    Attributes:
        rows: of those that could be read, in their order.
        places: of these among the values; None: they are all of them.
        errors: place and text of each that could not be read, ascending.
        nulls: places of those that are None, ascending.
    """

    rows: pa.RecordBatch
    places: npt.NDArray[np.intp] | None
    errors: list[tuple[int, str]]
    nulls: list[int]


class Format(Protocol):
    """Bytes to columns. Not thread-safe."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, the same for all batches."""
        ...

    def decode(self, values: list[bytes | None]) -> Columns:
        """Read values; nothing in them raises."""
        ...


class Raw:
    """The bytes as they are, in one column.

    Args:
        name: the column's.
        text: whether they are UTF-8, to be read as strings.

    >>> Raw().decode([b"a", None]).rows.to_pydict()
    {'value': [b'a']}
    """

    def __init__(self, name: str = "value", *, text: bool = False) -> None:
        self.schema = pa.schema([(name, pa.string() if text else pa.binary())])
        self._is_text = text

    def decode(self, values: list[bytes | None]) -> Columns:
        nulls = [i for i, value in enumerate(values) if value is None]
        places = np.flatnonzero([value is not None for value in values]) if nulls else None
        taken = [value for value in values if value is not None] if nulls else values
        errors: list[tuple[int, str]] = []
        if self._is_text:
            taken, places, errors = self._texts(taken, places)
        rows = pa.RecordBatch.from_arrays([pa.array(taken, self.schema.field(0).type)], schema=self.schema)
        return Columns(rows, places, errors, nulls)

    def _texts(self, taken: list[Any], places: npt.NDArray[np.intp] | None) -> tuple[list[Any], Any, list[Any]]:
        """Those of the values that are UTF-8."""
        texts, kept, errors = [], [], []
        for i, value in enumerate(taken):
            place = i if places is None else int(places[i])
            try:
                texts.append(value.decode())
                kept.append(place)
            except UnicodeDecodeError as error:
                errors.append((place, f"not UTF-8: {error.reason} at byte {error.start}"))
        return texts, np.array(kept, np.intp) if errors or places is not None else None, errors


class Call:
    """Bytes through a function of one's own, one at a time: slow beside Json, and good for any format.

    Args:
        function: takes bytes and gives a mapping of the columns; whatever it raises makes the record a poison one.
        schema: the columns; names that the function leaves out are null, others are dropped.

    >>> pair = Call(lambda b: dict(zip("ab", b.split(b","))), {"a": pa.binary(), "b": pa.binary()})
    >>> pair.decode([b"1,2", b"3,4"]).rows.to_pydict()
    {'a': [b'1', b'3'], 'b': [b'2', b'4']}
    """

    def __init__(
        self, function: Callable[[bytes], Mapping[str, Any]], schema: pa.Schema | Mapping[str, pa.DataType]
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"a function of bytes is needed, not {function!r:.60}")
        self.schema = schema_of(schema)
        self._function = function

    def decode(self, values: list[bytes | None]) -> Columns:
        rows: list[Mapping[str, Any]] = []
        places: list[int] = []
        errors: list[tuple[int, str]] = []
        nulls: list[int] = []
        for i, value in enumerate(values):
            if value is None:
                nulls.append(i)
                continue
            try:
                row = self._function(value)
                if not isinstance(row, Mapping):
                    raise TypeError(f"expected a mapping, got {type(row).__name__}")
                rows.append(row)
                places.append(i)
            except Exception as error:
                errors.append((i, f"{type(error).__name__}: {error}"))
        return finished(*columns_of_rows(rows, self.schema), places, errors, nulls)


def finished(
    rows: pa.RecordBatch,
    bad: Mapping[int, str],
    places: Sequence[int] | npt.NDArray[np.intp],
    errors: list[tuple[int, str]],
    nulls: list[int],
) -> Columns:
    """Put together what became of values of which some rows turned out to be bad later.

    Args:
        rows: all rows, bad ones among them.
        bad: the text of each bad row's error.
        places: of the rows among the values.
        errors: of values that never became rows.
        nulls: places of None.
    """
    at = np.asarray(places, np.intp)
    if bad:
        good = np.ones(len(at), bool)
        good[list(bad)] = False
        errors = sorted([*errors, *((int(at[row]), text) for row, text in bad.items())])
        rows, at = rows.filter(pa.array(good)), at[good]
    return Columns(rows, at if errors or nulls else None, errors, nulls)
