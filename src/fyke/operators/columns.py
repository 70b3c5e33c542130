"""The columns of joined rows: those of the left row, then those of the right row.

A column of a name that is there already gets a suffix, and a key that is a plain column on both sides is there once,
under its left name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fyke import expr as ex
from fyke._core import Segment
from fyke.errors import SchemaError
from fyke.operators.sides import NONE, Sides, rows_of

__all__ = ["Columns", "converted"]


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column of a joined row comes from."""

    name: str
    type: pa.DataType
    side: int
    place: int
    else_place: int = -1
    """A key: the column of the right row that says it where there is no left row."""


class Columns:
    """The columns of joined rows.

    Args:
        sides: of the join.
        suffix: what a right column gets whose name is there on the left.
        without: names of columns of each side that are left out.
        taken: names that are taken already.

    Raises:
        SchemaError: a left column has a name that is taken, or a right one even with the suffix.
    """

    def __init__(
        self,
        sides: Sides,
        suffix: str,
        without: tuple[Sequence[str], Sequence[str]] = ((), ()),
        taken: Sequence[str] = (),
    ) -> None:
        left, right = sides.left, sides.right
        once = {
            one.name: other.name
            for one, other in zip(left.keys, right.keys, strict=True)
            if isinstance(one, ex.Column) and isinstance(other, ex.Column)
        }
        self.columns = []
        for place, field in enumerate(left.schema):
            if field.name in without[0]:
                continue
            other = right.schema.get_field_index(once[field.name]) if field.name in once else -1
            self.columns.append(_Column(field.name, field.type, 0, place, other))
        for column in self.columns:
            if column.name in taken:
                raise SchemaError(
                    f'column "{column.name}" of the left side: that name is taken in the result; rename it'
                )
        there = [*taken, *(column.name for column in self.columns)]
        named = set(there)
        for place, field in enumerate(right.schema):
            if field.name in once.values() or field.name in without[1]:
                continue
            name = field.name + suffix if field.name in there else field.name
            if name in named:
                raise SchemaError(
                    f'column "{field.name}" of the right side: "{name}" is there already; choose another suffix '
                    f"than {suffix!r}, or rename it"
                )
            named.add(name)
            self.columns.append(_Column(name, field.type, 1, place))
        self.schema = pa.schema([(column.name, column.type) for column in self.columns])

    def gather(
        self, sides: Sides, segments: Sequence[Mapping[int, Segment]], records: npt.NDArray[Any]
    ) -> pa.RecordBatch:
        """Put joined rows together.

        Args:
            sides: of the join.
            segments: of each side, by number.
            records: with left_segment, left_row, right_segment, right_row.
        """
        parts = [
            rows_of(own, records[f"{side.name}_segment"], records[f"{side.name}_row"], side.schema)
            for own, side in zip(segments, (sides.left, sides.right), strict=True)
        ]
        alone = records["left_segment"] == NONE
        arrays = []
        for column in self.columns:
            values = parts[column.side].column(column.place)
            if column.else_place >= 0 and alone.any():
                other = parts[1].column(column.else_place)
                values = pc.if_else(pa.array(alone), converted(other, column.type), values)
            arrays.append(values)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def converted(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Give values as those of another type for the same values (text, bytes or numbers of another width)."""
    if values.type == type_:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else values.cast(type_)
