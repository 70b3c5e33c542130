"""A stream enriched by a table: each row with the table's row of its key, as it is now or as it was at the row's time.

`Enrichment` takes what the table says when the row arrives: at once, so the result hangs on the order of arrival.
`versioned` takes what it said at the row's event time: rows and changes wait for the watermark of both.
"""

from __future__ import annotations

from fyke._core import LatestCore
from fyke.join import AsOf, check_how
from fyke.operators.asof_join import AsOfJoin
from fyke.operators.changes import CHANGE, DELETES, TABLE_BITS, require_table
from fyke.operators.columns import Columns
from fyke.operators.joining import Joining
from fyke.operators.sides import Given, Sides
from fyke.operators.table import COUNTED

__all__ = ["Enrichment", "versioned"]


class Enrichment(Joining):
    """Enriches rows by the latest row of their key in a table, by arrival. O(1) a row.

    An operator with the inputs left (the stream) and right (the changes of the table). Rows keep their times and
    nothing is late. Side outputs: errors_left, errors_right (a part of the key is null).

    Args:
        left: the schema and the keys of the stream.
        right: the schema of the changes and the keys of the table.
        how: inner or left: whether rows come whose key the table does not have, with nulls.
        suffix: for columns of the table whose names are there in the stream.

    Raises:
        DefinitionError, SchemaError: they do not fit together.
    """

    counted = COUNTED

    def __init__(self, left: Given, right: Given, how: str = "left", suffix: str = "_right") -> None:
        self.how = check_how(how, ("inner", "left"))
        require_table(right[0], "right")
        sides = Sides(left, right, ((), DELETES))
        outer = (how == "left", False)
        core = LatestCore(sides.left.store, sides.right.store, 0, outer, False, (0, TABLE_BITS))
        super().__init__(sides, core, Columns(sides, suffix, ((), (CHANGE,))))

    def describe(self) -> str:
        """Say what waits for what."""
        return (
            f"enrichment ({self.how}) by {self.sides.key}: what the table says when the row arrives\n"
            "  nothing waits; the latest row of each key of the table is kept"
        )


def versioned(left: Given, right: Given, how: str = "left", suffix: str = "_right") -> AsOfJoin:
    """Make the operator that enriches rows by what a table said at their event time.

    The time of a change is that of the row that made it; a change at the time of a row counts for it. Changes at or
    below the watermark are late, and go to late_right.

    Args:
        left, right, how, suffix: as of Enrichment.

    Raises:
        DefinitionError, SchemaError: they do not fit together.
    """
    require_table(right[0], "right")
    return AsOfJoin(AsOf(), left, right, how, suffix, delete=DELETES[0], without=(CHANGE,))
