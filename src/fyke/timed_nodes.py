"""The boxes of a stream graph that look at rows over time: windows and processes, as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import pyarrow as pa

from fyke import agg
from fyke.agg import Aggregate
from fyke.duration import format_ns
from fyke.expr import Expr
from fyke.nodes import Node, callable_name, has_lambda
from fyke.process import Process, StateDeclaration
from fyke.trigger import Trigger
from fyke.window import Session, Sliding, Window

__all__ = ["Keys", "Processing", "Windowing", "can_be_named", "gives_early", "keys_text", "window_words"]

Keys: TypeAlias = tuple[tuple[str, Expr], ...]


def keys_text(keys: Keys) -> str:
    """Write keys as key_by takes them; empty without any."""
    return ", ".join(repr(e) if repr(e) == f"col.{name}" else f"{name} = {e!r}" for name, e in keys)


def window_words(trigger: Trigger | None, allowed_lateness: int, emit_rest: bool) -> list[str]:
    """Say the options of windows in a line, or in none where there are none."""
    options = [] if trigger is None else [f"trigger {trigger!r}"]
    options += [f"rows late up to {format_ns(allowed_lateness)}"] if allowed_lateness else []
    options += ["with what is left at the end"] if emit_rest else []
    return [", ".join(options)] if options else []


def gives_early(window: Window, trigger: Trigger | None, allowed_lateness: int) -> bool:
    """Tell whether windows give results that later ones may replace."""
    if isinstance(window, Sliding):
        return False
    return allowed_lateness > 0 or (trigger is not None and trigger.kind not in ("at_end", "end_of_stream"))


def can_be_named(keys: Keys, aggregates: Sequence[tuple[str, Aggregate]], others: Sequence[Expr] = ()) -> bool:
    """Tell whether nothing in keys, aggregates and other expressions is a lambda or a local function or class."""
    read = [*(e for _, e in keys), *others, *(e for _, each in aggregates for e in each.args)]
    made = [each.make for _, each in aggregates if each.make is not None]
    return not has_lambda(read) and all(agg.name_of(make) is not None for make in made)


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
        return gives_early(self.window, self.trigger, self.allowed_lateness)

    def words(self) -> list[str]:
        lines = [repr(self.window)]
        if self.keys:
            lines[0] += f" for each {keys_text(self.keys)}"
        lines += window_words(self.trigger, self.allowed_lateness, self.emit_rest)
        return [*lines, *(f"{name} = {each!r}" for name, each in self.aggregates)]

    @property
    def is_serialisable(self) -> bool:
        gap = [self.window.gap] if isinstance(self.window, Session) and isinstance(self.window.gap, Expr) else []
        return can_be_named(self.keys, self.aggregates, gap)


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
