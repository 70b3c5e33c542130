"""Keys that somebody asks for, as values -> a segment of one row, in whose columns the core finds a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fyke import expr as ex
from fyke._core import RowStore, Segment
from fyke.batches import Encoder, Payloads
from fyke.errors import DataError
from fyke.expr import Expr
from fyke.rowplan import compile_rows
from fyke.schema import Schema, arrow_type

__all__ = ["KeyLookup"]


class KeyLookup:
    """Makes segments of single keys.

    Args:
        schema: the columns of the input whose rows have the keys.
        keys: the parts of the key.
        types: their types, as a RowPlan has them.
    """

    def __init__(self, schema: pa.Schema, keys: Sequence[Expr], types: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.schema = pa.schema(
            [
                (str(i), schema.field(key.name).type if isinstance(key, ex.Column) else arrow_type(kind))
                for i, (key, kind) in enumerate(zip(keys, types, strict=True))
            ]
        )
        rows = compile_rows(Schema.from_arrow(self.schema), [ex.Column(name) for name in self.schema.names])
        self.encoder = Encoder(rows.plan, "", None, None)
        self.store = RowStore(rows.plan.tables, Payloads)

    def segment(self, key: Sequence[Any]) -> Segment:
        """Give a segment whose only row has this key.

        Raises:
            DataError: it has another number of parts, or a part of another type.
        """
        if len(key) != len(self.keys):
            raise DataError(f"a key has {len(self.keys)} parts, ({', '.join(map(repr, self.keys))}), not {len(key)}")
        arrays = []
        for part, value, field in zip(self.keys, key, self.schema, strict=True):
            try:
                arrays.append(pa.array([value], field.type))
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                raise DataError(f"key {part!r}: {value!r:.60} is no {field.type}: {error}") from None
        rows = pa.RecordBatch.from_arrays(arrays or [pa.array([True])], self.schema.names or ["none"])
        return self.encoder.with_times(rows, np.zeros(1, np.int64), np.zeros(1, np.uint64))
