"""The as-of join of two streams: each left row with what the right side last said of its key, in event time.

Rows of both sides wait until the watermark of both passes them, so the result does not hang on the order of arrival.
The semantics and the state are the kernel's, csrc/join_asof.h.
"""

from __future__ import annotations

from collections.abc import Sequence

from fyke._core import AsOfJoinCore
from fyke.duration import format_ns
from fyke.expr import Expr
from fyke.join import AsOf, check_how
from fyke.operators.columns import Columns
from fyke.operators.joining import Joining
from fyke.operators.sides import Given, Sides

__all__ = ["AsOfJoin"]

_ANY_TIME = 2**63 - 1


class AsOfJoin(Joining):
    """Joins each left row with the latest right row of its key whose time is not after its own.

    Of right rows at one time the one that arrived last counts. A row costs O(1), a key's first right row O(log keys).

    Args:
        definition: says how far back at most.
        left, right: the schema and the keys of each side.
        how: inner or left: whether left rows without a right one come, with nulls.
        suffix: for columns of the right side whose names are there on the left.
        delete: a condition on right rows: from such a row's time on its key has no right row.
        without: columns of the right side that are left out.

    Raises:
        DefinitionError, SchemaError: the sides do not fit together.
    """

    counted = ("matched", "alone", "late", "null_keys")

    def __init__(
        self,
        definition: AsOf,
        left: Given,
        right: Given,
        how: str = "left",
        suffix: str = "_right",
        delete: Expr | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self.definition = definition
        self.how = check_how(how, ("inner", "left"))
        self.delete = delete
        sides = Sides(left, right, ((), () if delete is None else (delete,)))
        tolerance = _ANY_TIME if definition.tolerance is None else definition.tolerance
        core = AsOfJoinCore(sides.left.store, sides.right.store, tolerance, how == "left", delete is not None)
        super().__init__(sides, core, Columns(sides, suffix, ((), without)))

    def describe(self) -> str:
        """Say what waits for what."""
        tolerance = self.definition.tolerance
        back = "at any earlier time" if tolerance is None else f"at most {format_ns(tolerance)} before it"
        kept = "for ever" if tolerance is None else f"until the watermark reaches its time + {format_ns(tolerance)}"
        lines = [
            f"as-of join ({self.how}) by {self.sides.key}: the latest right row not after the left row, {back}",
            "  rows of both sides wait until the watermark of both sides passes them, and join in order of time",
            f"  the last right row of a key is kept {kept}, or until the next one",
        ]
        if self.delete is not None:
            lines.append(f"  a right row with {self.delete!r} leaves its key without a right row")
        return "\n".join(lines)
