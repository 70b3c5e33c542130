"""The boxes of a stream graph that hold tables, or look into them: as values.

The rows that come out of a table are its changes, with the column `change` in front (operators/changes.py). What counts
is the order of arrival, so results that are not final pass: replacing them is what tables are for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fyke.expr import Expr
from fyke.nodes import Node, has_lambda
from fyke.timed_nodes import Keys, keys_text

__all__ = ["Enriched", "TableJoined", "Tabled"]


@dataclass(frozen=True, slots=True, eq=False)
class Tabled(Node):
    """The latest row of each key.

    Attributes:
        keys: what a row belongs to.
        delete: a condition; such a row deletes its key.
        retract: whether a row that is replaced is said once more, as -U.
    """

    keys: Keys = ()
    delete: Expr | None = None
    retract: bool = False

    kind: ClassVar[str] = "table"
    sides: ClassVar[tuple[str, ...]] = ("errors",)

    def words(self) -> list[str]:
        lines = [f"the latest row of each {keys_text(self.keys)}"]
        lines += [] if self.delete is None else [f"none any more where {self.delete!r}"]
        return lines + (["says what it replaces"] if self.retract else [])

    @property
    def is_serialisable(self) -> bool:
        read = [e for _, e in self.keys]
        return not has_lambda(read if self.delete is None else [*read, self.delete])


@dataclass(frozen=True, slots=True, eq=False)
class _TwoSided(Node):
    """What has a left and a right side, each with a key."""

    left_keys: Keys = ()
    right_keys: Keys = ()
    how: str = "inner"
    suffix: str = "_right"

    sides: ClassVar[tuple[str, ...]] = ("errors_left", "errors_right")

    def side_schema(self, output: str, schemas: Any, own: Any) -> Any:
        what, _, side = output.partition("_")
        return super(_TwoSided, self).side_schema(what, [schemas[side == "right"]], own)

    def words(self) -> list[str]:
        keys, other = keys_text(self.left_keys), keys_text(self.right_keys)
        return [f"{self.how} by {keys}" + (f" = {other}" if other != keys else "")]

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words(), "suffix": self.suffix}

    @property
    def is_serialisable(self) -> bool:
        return not has_lambda([e for _, e in (*self.left_keys, *self.right_keys)])


@dataclass(frozen=True, slots=True, eq=False)
class TableJoined(_TwoSided):
    """The joined rows of two tables; a table itself."""

    kind: ClassVar[str] = "table_join"


@dataclass(frozen=True, slots=True, eq=False)
class Enriched(_TwoSided):
    """A stream, each row with what a table says of its key.

    Attributes:
        versioned: as it was at the row's event time, not as it is when the row arrives.
    """

    versioned: bool = False

    kind: ClassVar[str] = "enrich"

    @property
    def sides(self) -> tuple[str, ...]:  # type: ignore[override]
        """Rows without a key; versioned, also late ones."""
        late = ("late_left", "late_right") if self.versioned else ()
        return (*late, "errors_left", "errors_right")

    def words(self) -> list[str]:
        when = "as the table was at the row's time" if self.versioned else "as the table is when the row arrives"
        return [*super(Enriched, self).words(), when]
