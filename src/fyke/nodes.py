"""The boxes of a stream graph as values: where rows come from, and what is done with each row by itself.

A node knows its inputs, so a node is the whole graph above it. Equal nodes are the same box: what is written twice
runs once. What needs no schema is checked when a node is made; the rest as soon as the schemas of its inputs are known:
when the stream is written (streams.py), if the sources say theirs, else when the first data comes. Nothing here runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, TypeAlias

import pyarrow as pa

from fyke import expr as ex
from fyke.duration import check_time, format_ns
from fyke.errors import DefinitionError, SchemaError
from fyke.expr import Expr
from fyke.matching import Limits, match_columns
from fyke.pattern import Pattern
from fyke.schema import Schema, arrow_type, typecheck

__all__ = [
    "Filter",
    "Finals",
    "Map",
    "Matching",
    "Node",
    "Project",
    "Side",
    "Source",
    "Union",
    "callable_name",
    "column_type",
    "has_lambda",
    "only_finals",
    "order_of",
    "row_expression",
    "widened",
]

SIDES: Final = ("late", "errors", "no_window", "timeouts", "held")
"""The side outputs that every stream has by these names."""
Schemas: TypeAlias = Sequence[pa.Schema]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A box of the graph.

    Attributes:
        inputs: the boxes whose rows it takes.
        title: the name that the user gave, unique in a graph; None: the engine gives one.
        schema: of its rows; None: not known before data comes.
    """

    inputs: tuple[Node, ...]
    title: str | None = field(default=None, kw_only=True)
    schema: pa.Schema | None = field(default=None, kw_only=True, repr=False)
    _hash: int = field(default=0, init=False, repr=False)

    kind: ClassVar[str] = ""
    sides: ClassVar[tuple[str, ...]] = ()
    keeps_time: ClassVar[bool] = True
    """Whether its rows have a place in time, so that windows, patterns and joins can take them."""
    is_stateless: ClassVar[bool] = False
    """Whether each row is handled by itself: then results that are not final pass, too."""

    def __post_init__(self) -> None:
        if self.title is not None and (not isinstance(self.title, str) or not self.title):
            raise DefinitionError(f"named({self.title!r}): a name is a string that is not empty")
        self.check()
        object.__setattr__(self, "_hash", hash((type(self), self._parts())))

    def check(self) -> None:
        """Check what needs no schema."""

    def typed(self, schemas: Schemas) -> pa.Schema | None:
        """Check the box over the schemas of its inputs and give that of its rows; None: only what runs it can tell.

        Raises:
            SchemaError: they do not meet; the text quotes the box.
        """
        return None

    def side_schema(self, output: str, schemas: Schemas, own: pa.Schema) -> pa.Schema | None:
        """Give the columns of a side output; None: only its rows can tell.

        Args:
            output: one of `sides`.
            schemas: of the inputs.
            own: of its rows.
        """
        if output in ("timeouts", "held"):
            return own
        if output not in SIDES:
            return None
        return schemas[0].append(pa.field("error", pa.string())) if output == "errors" else schemas[0]

    def words(self) -> list[str]:
        """Say in lines what it does, for people."""
        return []

    def definition(self) -> dict[str, Any]:
        """Give what it does as JSON can say it, without its inputs: equal for equal boxes in every process."""
        return {"kind": self.kind, "words": self.words()}

    @property
    def is_serialisable(self) -> bool:
        """Whether a snapshot can tell this box from another: not with a lambda."""
        return True

    @property
    def path(self) -> str:
        """The way to here, for errors: payments.filter.select."""
        if self.title is not None:
            return self.title
        return ".".join([node.path for node in self.inputs[:1]] + [self.kind])

    @property
    def is_timed(self) -> bool:
        """Whether its rows have a place in time."""
        return self.keeps_time and all(node.is_timed for node in self.inputs)

    @property
    def has_revisions(self) -> bool:
        """Whether rows may come that are not final: results of windows before their last word."""
        return self.is_stateless and any(node.has_revisions for node in self.inputs)

    def _parts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, f.name) for f in fields(self) if f.name not in ("schema", "_hash"))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or self._hash != other._hash:
            return False
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return self._hash


def order_of(nodes: Sequence[Node]) -> list[Node]:
    """Give these nodes and all above them, each once, inputs before what takes them; the order depends on nothing else.

    >>> orders = Source((), "orders", "ts")
    >>> big = Filter((orders,), ex.col.n > 5)
    >>> [node.kind for node in order_of([Union((big, orders))])]
    ['source', 'filter', 'union']
    """
    done: dict[Node, None] = {}
    stack: list[tuple[Node, Iterator[Node]]] = [(node, iter(node.inputs)) for node in reversed(nodes)]
    while stack:
        node, rest = stack[-1]
        above = next(rest, None)
        if above is None:
            done[node] = None
            stack.pop()
        elif above not in done:
            stack.append((above, iter(above.inputs)))
    return list(done)


# ------------------------------------------------------------------------------------------------ expressions of rows


def row_expression(value: object, where: str) -> Expr:
    """Give an expression that reads one row: of an expression, a Python function of a row, or the name of a column.

    Raises:
        DefinitionError: it is none of these, or reads more than its row.
    """
    if isinstance(value, str):
        return ex.Column(value)
    if isinstance(value, bool) or not (isinstance(value, Expr) or callable(value)):
        raise DefinitionError(f"{where}: {value!r:.80} is neither an expression, as col.amount * 2, nor a function")
    made = ex.to_expr(value)
    for node in ex.walk(made):
        if isinstance(node, ex.Agg | ex.Prev) or (isinstance(node, ex.Call) and node.arity == 2):
            raise DefinitionError(f"{where}: {made!r}: it can read only the columns of its own row, not {node!r}")
    return made


def widened(schema: pa.Schema, expressions: Sequence[Expr]) -> pa.Schema:
    """Give the schema with the fields of structs that the expressions name, as col["probe.amount"]."""
    for name in dict.fromkeys(name for e in expressions for name in ex.columns(e)):
        if schema.get_field_index(name) < 0 and "." in name:
            found = schema
            for part in name.split("."):
                at = found.get_field_index(part)
                if at < 0:
                    break
                inner = found.field(at)
                found = inner.type if pa.types.is_struct(inner.type) else pa.struct([])
            else:
                schema = schema.append(pa.field(name, inner.type))
    return schema


def column_type(e: Expr, schema: pa.Schema, where: str) -> pa.DataType:
    """Give the Arrow type of a column that holds an expression over a row.

    Raises:
        SchemaError: expression and schema do not meet. DefinitionError: no column can hold it.
    """
    kind = typecheck(e, Schema.from_arrow(schema), where)
    if isinstance(e, ex.Column):
        return schema.field(e.name).type
    if isinstance(e, ex.Literal):
        return pa.scalar(e.value).type
    if kind in ("string", "bytes", "any", "opaque"):
        raise DefinitionError(f"{where}: {e!r}: only a plain column or a constant can be {kind}")
    return arrow_type(kind)


def callable_name(fn: Any) -> str | None:
    """Give "module:name" of a function or class that can be found by it; None for a lambda or a local one."""
    try:
        return ex.call(fn, 1).name
    except DefinitionError:
        return None


def has_lambda(expressions: Sequence[Expr]) -> bool:
    """Tell whether a Python function is in them that cannot be found by a name."""
    return any(isinstance(node, ex.Call) and node.name is None for e in expressions for node in ex.walk(e))


# ------------------------------------------------------------------------------------------------ the boxes


@dataclass(frozen=True, slots=True, eq=False)
class Source(Node):
    """Rows from outside, in arrival order.

    Attributes:
        name: unique in a graph.
        time, unit: the column of the event time, and what its numbers count.
        out_of_order: the bound of disorder, ns.
        given: the schema, if it is known.
    """

    name: str = ""
    time: str = ""
    unit: str | None = None
    out_of_order: int = 0
    given: pa.Schema | None = None

    kind: ClassVar[str] = "source"

    def check(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DefinitionError(f"stream({self.name!r}): a stream is named by a string that is not empty")
        check_time(self.time, self.unit)
        if self.given is not None and self.given.get_field_index(self.time) < 0:
            raise DefinitionError(f'stream "{self.name}": its schema has no column `{self.time}` for the event time')

    def typed(self, schemas: Schemas) -> pa.Schema | None:
        return self.given

    def words(self) -> list[str]:
        unit = "" if self.unit is None else f" in {self.unit}"
        disorder = f", out of order up to {format_ns(self.out_of_order)}" if self.out_of_order else ""
        return [f"time {self.time}{unit}{disorder}"]

    def definition(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "time": self.time,
            "unit": self.unit,
            "out_of_order": self.out_of_order,
            "schema": None if self.given is None else str(self.given),
        }

    @property
    def path(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Filter(Node):
    """The rows for which a condition holds, and none of others does. A null does not hold.

    Attributes:
        condition: None: every row.
        unless: none of these holds.
    """

    condition: Expr | None = None
    unless: tuple[Expr, ...] = ()

    kind: ClassVar[str] = "filter"
    is_stateless: ClassVar[bool] = True

    @property
    def conditions(self) -> tuple[Expr, ...]:
        """All conditions, that which must hold first."""
        return (*(() if self.condition is None else (self.condition,)), *self.unless)

    def typed(self, schemas: Schemas) -> pa.Schema:
        known = Schema.from_arrow(widened(schemas[0], self.conditions))
        for condition in self.conditions:
            typecheck(condition, known, self.path, condition=True)
        return schemas[0]

    def words(self) -> list[str]:
        return [repr(self.condition)] * (self.condition is not None) + [f"not {e!r}" for e in self.unless]

    @property
    def is_serialisable(self) -> bool:
        return not has_lambda(self.conditions)


@dataclass(frozen=True, slots=True, eq=False)
class Project(Node):
    """Columns computed of each row.

    Attributes:
        columns: (name, expression) in order.
        keep: beside all columns of the input, or instead of them.
    """

    columns: tuple[tuple[str, Expr], ...] = ()
    keep: bool = False

    is_stateless: ClassVar[bool] = True

    @property
    def kind(self) -> str:  # type: ignore[override]
        """select or with_columns."""
        return "with_columns" if self.keep else "select"

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """The expressions alone."""
        return tuple(e for _, e in self.columns)

    def typed(self, schemas: Schemas) -> pa.Schema:
        wide = widened(schemas[0], self.expressions)
        types = {f.name: f.type for f in schemas[0]} if self.keep else {}
        for name, e in self.columns:
            types[name] = column_type(e, wide, self.path)
        return pa.schema(list(types.items()))

    def words(self) -> list[str]:
        return [name if isinstance(e, ex.Column) and e.name == name else f"{name} = {e!r}" for name, e in self.columns]

    @property
    def is_serialisable(self) -> bool:
        return not has_lambda(self.expressions)


@dataclass(frozen=True, slots=True, eq=False)
class Map(Node):
    """A Python function of each row: to a row, none, or several.

    Attributes:
        fn: takes a row as a mapping.
        given: the schema of what it gives; None: that of the first rows that it gives.
    """

    fn: Callable[[Mapping[str, Any]], Any] = dict
    given: pa.Schema | None = None

    kind: ClassVar[str] = "map"
    is_stateless: ClassVar[bool] = True

    def check(self) -> None:
        if not callable(self.fn):
            raise DefinitionError(f"{self.path}: {self.fn!r:.80} is no function")

    def typed(self, schemas: Schemas) -> pa.Schema | None:
        return self.given

    def words(self) -> list[str]:
        return [f"{getattr(self.fn, '__qualname__', repr(self.fn))}, in Python"]

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "fn": callable_name(self.fn), "schema": str(self.given)}

    @property
    def is_serialisable(self) -> bool:
        return callable_name(self.fn) is not None


@dataclass(frozen=True, slots=True, eq=False)
class Union(Node):
    """The rows of several streams of one schema, as they arrive; what is known of time is the least of theirs."""

    kind: ClassVar[str] = "union"
    is_stateless: ClassVar[bool] = True

    def check(self) -> None:
        if not all(node.is_timed for node in self.inputs):
            raise DefinitionError(f"{self.path}: late rows have no place in time, so they cannot be merged with others")

    def typed(self, schemas: Schemas) -> pa.Schema:
        for schema, node in zip(schemas[1:], self.inputs[1:], strict=True):
            for f in schema:
                at = schemas[0].get_field_index(f.name)
                if at < 0:
                    raise SchemaError(f"{self.path}: column `{f.name}` of {node.path} is not in {self.inputs[0].path}")
                if schemas[0].field(at).type != f.type:
                    raise SchemaError(
                        f"{self.path}: column `{f.name}` is {schemas[0].field(at).type} in {self.inputs[0].path}, "
                        f"{f.type} in {node.path}"
                    )
            missing = [f.name for f in schemas[0] if schema.get_field_index(f.name) < 0]
            if missing:
                raise SchemaError(f"{self.path}: column `{missing[0]}` is not in {node.path}")
        return schemas[0]


@dataclass(frozen=True, slots=True, eq=False)
class Matching(Node):
    """Patterns over a stream; each match is a row.

    Attributes:
        patterns: checked.
        limits: bounds, and whether time-outs are reported.
        kept: columns that stages hold beside those that patterns read; None: all.
    """

    patterns: tuple[Pattern, ...] = ()
    limits: Limits = field(default_factory=Limits)
    kept: tuple[str, ...] | None = None

    kind: ClassVar[str] = "match"
    sides: ClassVar[tuple[str, ...]] = ("late", "timeouts", "held")

    def typed(self, schemas: Schemas) -> pa.Schema:
        return match_columns(self.patterns, schemas[0], self.kept).schema

    def words(self) -> list[str]:
        return [p.name or repr(p) for p in self.patterns]

    def definition(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "patterns": [repr(p) for p in self.patterns],
            "limits": repr(self.limits),
            "keep": None if self.kept is None else list(self.kept),
        }

    @property
    def is_serialisable(self) -> bool:
        return not any(has_lambda([e for _, e in p.conditions()] + list(p.key)) for p in self.patterns)


@dataclass(frozen=True, slots=True, eq=False)
class Side(Node):
    """A side output of a box as a stream of its own.

    Attributes:
        output: "late", "timeouts", ... or one that a process names.
    """

    output: str = ""

    is_stateless: ClassVar[bool] = True

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The name of the output."""
        return self.output

    @property
    def is_timed(self) -> bool:
        return self.output == "timeouts" or self.output.split("_")[0] not in ("late", "errors", "no", "held")

    @property
    def has_revisions(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Finals(Node):
    """The results of windows that are their last word: what other windows, patterns and joins take."""

    kind: ClassVar[str] = "final"

    def typed(self, schemas: Schemas) -> pa.Schema:
        return schemas[0]

    def words(self) -> list[str]:
        return ["rows that nothing will change"]


def only_finals(node: Node) -> Node:
    """Give the box without the rows that later ones may replace: they end where they come from."""
    if not node.has_revisions:
        return node
    if not node.is_stateless:
        return Finals((node,), schema=node.schema)
    return replace(node, inputs=tuple(map(only_finals, node.inputs)), title=None)
