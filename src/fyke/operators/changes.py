"""What a table gives: its rows as they change, the kind of change in front.

| change | the row |
|---|---|
| +I | is the first of its key |
| -U | was there until now, as it was, and is replaced by the next row; not every table says it |
| +U | replaces the one of its key |
| -D | was there until now, as it was, and there is none of its key any more |

So a reader who keeps the last row by key, forgets it at -D and skips -U has the table; one who adds up +I and +U and
takes -U and -D away again has its sums, if the table says -U.
"""

from __future__ import annotations

from typing import Any, Final

import numpy.typing as npt
import pyarrow as pa

from fyke.errors import SchemaError
from fyke.expr import Expr, col

__all__ = ["CHANGE", "CHANGES", "DELETES", "TABLE_BITS", "change_array", "require_table", "with_change"]

CHANGE: Final = "change"
CHANGES: Final = ("+I", "-U", "+U", "-D")
"""By their numbers in the core (enum latest_change in csrc/join_latest.h)."""
DELETES: Final[tuple[Expr, Expr]] = (col[CHANGE] == "-D", col[CHANGE] == "-U")
"""Of the changes of a table: which rows delete, and which say nothing new."""
TABLE_BITS: Final = 3
"""Both conditions are there."""


def with_change(schema: pa.Schema) -> pa.Schema:
    """Give the schema of changes of rows.

    Raises:
        SchemaError: they have a column `change` already.
    """
    if CHANGE in schema.names:
        raise SchemaError(f'a table has a column "{CHANGE}" of its own: rename that of its rows')
    return schema.insert(0, pa.field(CHANGE, pa.string()))


def require_table(schema: pa.Schema, side: str) -> pa.Schema:
    """Give the schema back; raises SchemaError if it is not that of changes."""
    at = schema.get_field_index(CHANGE)
    if at < 0 or schema.field(at).type != pa.string():
        raise SchemaError(f'the {side} side is no table: its rows have no column "{CHANGE}" that says what they change')
    return schema


def change_array(kinds: npt.NDArray[Any]) -> pa.Array:
    """Give the column of these changes."""
    return pa.array(CHANGES).take(pa.array(kinds))
