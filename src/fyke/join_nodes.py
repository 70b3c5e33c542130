"""The boxes of a stream graph that put two inputs together by a key: joins by interval, as of a time, by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from fyke.expr import Expr
from fyke.join import AsOf, Interval
from fyke.nodes import Node, Schemas, has_lambda
from fyke.timed_nodes import Keys, gives_early, keys_text, window_words
from fyke.trigger import Trigger
from fyke.window import Window

__all__ = ["Grouped", "Joined", "TwoSided", "WindowJoined"]


@dataclass(frozen=True, slots=True, eq=False)
class TwoSided(Node):
    """What has a left and a right side, each with a key.

    Attributes:
        left_keys, right_keys: what must be equal.
        how: which side's rows come alone: inner, left, right or outer.
        suffix: for columns of the right side whose names are there on the left.
    """

    left_keys: Keys = ()
    right_keys: Keys = ()
    how: str = "inner"
    suffix: str = "_right"

    sides: ClassVar[tuple[str, ...]] = ("late_left", "late_right", "errors_left", "errors_right")

    def side_schema(self, output: str, schemas: Schemas, own: pa.Schema) -> pa.Schema | None:
        what, _, side = output.rpartition("_")
        return super(TwoSided, self).side_schema(what, [schemas[side == "right"]], own)

    @property
    def keys_said(self) -> str:
        """The keys of both sides, as the drawing says them."""
        keys, other = keys_text(self.left_keys), keys_text(self.right_keys)
        return keys if other == keys else f"{keys} = {other}"

    def words(self) -> list[str]:
        return [f"{self.how} by {self.keys_said}"]

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words(), "suffix": self.suffix}

    @property
    def is_serialisable(self) -> bool:
        return not has_lambda([e for _, e in (*self.left_keys, *self.right_keys)])


@dataclass(frozen=True, slots=True, eq=False)
class Joined(TwoSided):
    """Rows of two streams that are so far apart in time, or each left row with the right one as of its time.

    Attributes:
        by: how far apart in time they may be.
        delete: as-of only: a condition on right rows; such a row says that there is none.
    """

    by: Interval | AsOf = None  # type: ignore[assignment]
    delete: Expr | None = None

    kind: ClassVar[str] = "join"

    def words(self) -> list[str]:
        lines = [f"{self.how} {self.by!r} by {self.keys_said}"]
        return lines if self.delete is None else [*lines, f"none any more where {self.delete!r}"]

    @property
    def is_serialisable(self) -> bool:
        sound = super(Joined, self).is_serialisable
        return sound and not has_lambda([] if self.delete is None else [self.delete])


@dataclass(frozen=True, slots=True, eq=False)
class WindowJoined(TwoSided):
    """Rows of two streams that lie in the same window of their key, as pairs.

    Attributes:
        window, trigger, allowed_lateness, emit_rest: as of Windowing.
    """

    window: Window = None  # type: ignore[assignment]
    trigger: Trigger | None = None
    allowed_lateness: int = 0
    emit_rest: bool = False

    kind: ClassVar[str] = "window_join"
    sides: ClassVar[tuple[str, ...]] = (
        *("late_left", "late_right", "no_window_left", "no_window_right"),
        *("errors_left", "errors_right"),
    )

    @property
    def has_revisions(self) -> bool:
        """Whether a result may be replaced by a later one."""
        return gives_early(self.window, self.trigger, self.allowed_lateness)

    def words(self) -> list[str]:
        more = window_words(self.trigger, self.allowed_lateness, self.emit_rest)
        return [f"{self.how} {self.window!r} by {self.keys_said}", *more]


@dataclass(frozen=True, slots=True, eq=False)
class Grouped(WindowJoined):
    """Rows of two streams that lie in the same window of their key, as a list of each side; `how` says nothing."""

    kind: ClassVar[str] = "cogroup"

    def words(self) -> list[str]:
        more = window_words(self.trigger, self.allowed_lateness, self.emit_rest)
        return [f"{self.window!r} by {self.keys_said}", *more]
