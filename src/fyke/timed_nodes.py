"""The boxes of a stream graph that look at rows over time: windows, joins and processes, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import pyarrow as pa

from fyke import agg
from fyke.agg import Aggregate
from fyke.duration import format_ns
from fyke.expr import Expr
from fyke.join import AsOf, Interval
from fyke.nodes import Node, callable_name, has_lambda
from fyke.process import Process, StateDeclaration
from fyke.trigger import Trigger
from fyke.window import Session, Sliding, Window

__all__ = ["Joined", "Keys", "Processing", "Windowing", "keys_text"]

Keys: TypeAlias = tuple[tuple[str, Expr], ...]


def keys_text(keys: Keys) -> str:
    """Write keys as key_by takes them; empty without any."""
    return ", ".join(repr(e) if repr(e) == f"col.{name}" else f"{name} = {e!r}" for name, e in keys)


@dataclass(frozen=True, slots=True, eq=False)
class Windowing(Node):
    """Aggregates over the windows of each key.

    Attributes:
        keys: the parts of the key, by the name of their column in the results.
        window: which rows belong together.
        aggregates: by the name of the result's column.
        trigger: when results come out; None: the window's own.
        allowed_lateness: for how long after its end a window takes rows, ns.
        emit_rest: what a count has not told comes out at the end.
    """

    keys: Keys = ()
    window: Window = None  # type: ignore[assignment]  # every field of a box has a default, for its title has one
    aggregates: tuple[tuple[str, Aggregate], ...] = ()
    trigger: Trigger | None = None
    allowed_lateness: int = 0
    emit_rest: bool = False

    kind: ClassVar[str] = "window"
    sides: ClassVar[tuple[str, ...]] = ("late", "no_window", "errors")

    @property
    def has_revisions(self) -> bool:
        """Whether a result may be replaced by a later one."""
        if isinstance(self.window, Sliding):
            return False
        early = self.trigger is not None and self.trigger.kind not in ("at_end", "end_of_stream")
        return early or self.allowed_lateness > 0

    def words(self) -> list[str]:
        lines = [repr(self.window)]
        if self.keys:
            lines[0] += f" for each {keys_text(self.keys)}"
        options = [] if self.trigger is None else [f"trigger {self.trigger!r}"]
        options += [f"rows late up to {format_ns(self.allowed_lateness)}"] if self.allowed_lateness else []
        options += ["with what is left at the end"] if self.emit_rest else []
        lines += [", ".join(options)] if options else []
        return [*lines, *(f"{name} = {each!r}" for name, each in self.aggregates)]

    @property
    def is_serialisable(self) -> bool:
        gap = [self.window.gap] if isinstance(self.window, Session) and isinstance(self.window.gap, Expr) else []
        read = [*(e for _, e in self.keys), *gap, *(e for _, each in self.aggregates for e in each.args)]
        return not has_lambda(read) and all(
            each.make is None or agg.name_of(each.make) is not None for _, each in self.aggregates
        )


@dataclass(frozen=True, slots=True, eq=False)
class Joined(Node):
    """Rows of two streams that belong together.

    Attributes:
        by: how far apart in time they may be.
        left_keys, right_keys: what must be equal.
        how: inner, left, right or outer.
        suffix: for columns of the right side whose names are there on the left.
        delete: as-of only: a condition on right rows; such a row says that there is none.
    """

    by: Interval | AsOf = None  # type: ignore[assignment]
    left_keys: Keys = ()
    right_keys: Keys = ()
    how: str = "inner"
    suffix: str = "_right"
    delete: Expr | None = None

    kind: ClassVar[str] = "join"
    sides: ClassVar[tuple[str, ...]] = ("late_left", "late_right", "errors_left", "errors_right")

    def side_schema(self, output: str, schemas: Any, own: Any) -> Any:
        what, _, side = output.partition("_")
        return super(Joined, self).side_schema(what, [schemas[side == "right"]], own)

    def words(self) -> list[str]:
        keys = keys_text(self.left_keys)
        other = keys_text(self.right_keys)
        where = f" by {keys}" + (f" = {other}" if other != keys else "") if keys else ""
        return [f"{self.how} {self.by!r}{where}"] + (
            [] if self.delete is None else [f"none any more where {self.delete!r}"]
        )

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words(), "suffix": self.suffix}

    @property
    def is_serialisable(self) -> bool:
        read = [e for _, e in (*self.left_keys, *self.right_keys)]
        return not has_lambda([*read, *([] if self.delete is None else [self.delete])])


@dataclass(frozen=True, slots=True, eq=False)
class Processing(Node):
    """Python code that sees the rows of each key in the order of their times.

    Attributes:
        keys: the parts of the key.
        make: a subclass of Process, or a function of (row, ctx).
        params: keyword arguments for the class, (name, JSON text) each.
        states: (name, what is kept), of a function.
        given: the schema of what it gives; None: that of the first rows.
        outputs: (name, schema or None) of its side outputs.
        on_error: "stop", or "errors": rows for which it fails go to the output "errors".
    """

    keys: Keys = ()
    make: type[Process] | Callable[..., Any] = Process
    params: tuple[tuple[str, str], ...] = ()
    states: tuple[tuple[str, StateDeclaration], ...] = ()
    given: pa.Schema | None = None
    outputs: tuple[tuple[str, pa.Schema | None], ...] = ()
    on_error: str = "stop"

    kind: ClassVar[str] = "process"

    @property
    def sides(self) -> tuple[str, ...]:  # type: ignore[override]
        """Late rows, rows in error, and what the process names."""
        return ("late", "errors", *(name for name, _ in self.outputs))

    @property
    def declared(self) -> dict[str, StateDeclaration]:
        """The states by name."""
        if not isinstance(self.make, type):
            return dict(self.states)
        found = {name: each for c in reversed(self.make.__mro__) for name, each in vars(c).items()}
        return {name: each for name, each in found.items() if isinstance(each, StateDeclaration)}

    def side_schema(self, output: str, schemas: Any, own: Any) -> Any:
        given = dict(self.outputs)
        return given[output] if output in given else super(Processing, self).side_schema(output, schemas, own)

    def words(self) -> list[str]:
        what = f"{getattr(self.make, '__qualname__', repr(self.make))}, in Python"
        where = f" for each {keys_text(self.keys)}" if self.keys else ""
        return [what + where, *(f"{name} = {text}" for name, text in self.params)]

    def definition(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "make": callable_name(self.make),
            "keys": keys_text(self.keys),
            "params": list(self.params),
            "states": {name: each.definition() for name, each in self.declared.items()},
            "schema": str(self.given),
            "outputs": [[name, str(schema)] for name, schema in self.outputs],
            "on_error": self.on_error,
        }

    @property
    def is_serialisable(self) -> bool:
        return callable_name(self.make) is not None and not has_lambda([e for _, e in self.keys])
