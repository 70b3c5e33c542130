"""The boxes of a stream graph that hold tables, or look into them: as values.

The rows that come out of a table are its changes, with the column `change` in front (operators/changes.py). What counts
is the order of arrival, so results that are not final pass: replacing them is what tables are for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fyke.agg import Aggregate
from fyke.expr import Expr
from fyke.join_nodes import TwoSided
from fyke.nodes import Node, has_lambda
from fyke.timed_nodes import Keys, can_be_named, keys_text

__all__ = ["Aggregated", "Enriched", "TableJoined", "Tabled"]


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
class Aggregated(Node):
    """Aggregates over all rows of each key so far, a row a key.

    Attributes:
        keys: the parts of the key, by the name of their column; none: the table has one row.
        aggregates: by the name of their column.
    """

    keys: Keys = ()
    aggregates: tuple[tuple[str, Aggregate], ...] = ()

    kind: ClassVar[str] = "aggregate"
    sides: ClassVar[tuple[str, ...]] = ("errors",)

    def words(self) -> list[str]:
        whose = f"of each {keys_text(self.keys)}" if self.keys else "of all rows"
        return [f"so far, {whose}", *(f"{name} = {each!r}" for name, each in self.aggregates)]

    @property
    def is_serialisable(self) -> bool:
        return can_be_named(self.keys, self.aggregates)


@dataclass(frozen=True, slots=True, eq=False)
class TableJoined(TwoSided):
    """The joined rows of two tables; a table itself."""

    kind: ClassVar[str] = "table_join"
    sides: ClassVar[tuple[str, ...]] = ("errors_left", "errors_right")


@dataclass(frozen=True, slots=True, eq=False)
class Enriched(TwoSided):
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
