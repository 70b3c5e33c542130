"""Schemas, and the types of expressions over them: the place where a pattern and the data's columns meet.

Types are few: numbers are int64 or float64, time is nanoseconds in UTC, and what an expression cannot use is "opaque"
payload. A schema is given, or Arrow's, or inferred from the pattern's own use of its columns; it is never guessed from
data. Typing is one walk over each expression with a table of columns: a column whose type is not known yet takes it
from the first use that says one, columns that are only compared with each other share theirs, and uses that contradict
each other are both quoted.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pyarrow as pa

from fyke import expr as ex
from fyke.errors import SchemaError
from fyke.expr import Expr

__all__ = ["TYPES", "Field", "Schema", "infer_schema", "typecheck", "with_keys"]

# "any": not known yet (nothing in the pattern says it); it fits everywhere.
TYPES: Final = (
    "int64", "float64", "bool", "string", "bytes", "timestamp", "duration", "date", "opaque", "any",
)  # fmt: skip
_NUMBERS: Final = ("int64", "float64")
_UUID: Final = "extension<arrow.uuid>"
_NUMERIC: Final = (*_NUMBERS, "timestamp", "duration", "date")
_ORDERED: Final = ("int64", "float64", "string", "bytes", "timestamp", "duration", "date")

Located: TypeAlias = Expr | tuple[str, Expr]


@dataclass(frozen=True, slots=True)
class Field:
    """A column's name and type.

    Args:
        name: the column.
        type: int64, float64, bool, string, bytes, timestamp (nanoseconds, UTC), duration (nanoseconds), date, opaque
            (payload that expressions cannot use) or any (not known yet).
        arrow: the Arrow type it came from, if any; not part of equality.
    """

    name: str
    type: str
    arrow: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SchemaError(f"a column is named by a non-empty string, not {self.name!r}")
        if self.type not in TYPES:
            raise SchemaError(f'column "{self.name}": type {self.type!r} is not one of {", ".join(TYPES)}')


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a stream, in order.

    Raises:
        SchemaError: a name occurs twice.

    >>> schema = Schema((Field("ts", "timestamp"), Field("amount", "float64")))
    >>> schema["amount"].type, "card" in schema, schema.near("amont")
    ('float64', False, 'amount')
    """

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        seen: set[str] = set()
        for each in self.fields:
            if not isinstance(each, Field):
                raise SchemaError(f"a schema is made of Fields, got {each!r}")
            if each.name in seen:
                raise SchemaError(f'column "{each.name}" occurs twice in the schema')
            seen.add(each.name)

    @staticmethod
    def of(**types: str) -> Schema:
        """Make a schema of keyword arguments.

        >>> Schema.of(card="string", amount="float64").names
        ('card', 'amount')
        """
        return Schema(tuple(Field(name, kind) for name, kind in types.items()))

    @staticmethod
    def from_arrow(schema: pa.Schema) -> Schema:
        """Take over an Arrow schema; integers become int64, floats float64, dictionaries their values' type.

        >>> Schema.from_arrow(pa.schema([("n", pa.int16()), ("price", pa.decimal128(9, 2))]))
        Schema(fields=(Field(name='n', type='int64'), Field(name='price', type='opaque')))
        """
        return Schema(tuple(Field(each.name, type_of_arrow(each.type), each.type) for each in schema))

    def to_arrow(self) -> pa.Schema:
        """Give the Arrow schema: the types it came from, or the plain ones.

        Raises:
            SchemaError: an opaque column that did not come from Arrow.

        >>> Schema.of(card="string", n="int64").to_arrow().types
        [DataType(string), DataType(int64)]
        """
        return pa.schema([(each.name, arrow_of(each)) for each in self.fields])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(each.name for each in self.fields)

    def get(self, name: str) -> Field | None:
        """Give the field of a column, or None."""
        return next((each for each in self.fields if each.name == name), None)

    def near(self, name: str) -> str | None:
        """Give the column whose name is most like a wrong one, or None."""
        return _near(name, self.names)

    def __getitem__(self, name: str) -> Field:
        found = self.get(name)
        if found is None:
            raise SchemaError(_no_column(name, self.names))
        return found

    def __contains__(self, name: object) -> bool:
        return any(each.name == name for each in self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


def type_of_arrow(arrow: pa.DataType) -> str:
    """Give the type of ours that stands for an Arrow type.

    >>> type_of_arrow(pa.dictionary(pa.int8(), pa.string())), type_of_arrow(pa.list_(pa.int8()))
    ('string', 'opaque')
    """
    types = pa.types
    if types.is_dictionary(arrow):
        return type_of_arrow(arrow.value_type)
    if types.is_integer(arrow):
        return "int64"
    if types.is_floating(arrow):
        return "float64"
    if types.is_boolean(arrow):
        return "bool"
    if types.is_string(arrow) or types.is_large_string(arrow) or types.is_string_view(arrow):
        return "string"
    if any(
        is_kind(arrow)
        for is_kind in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    ):
        return "bytes"
    if types.is_timestamp(arrow):
        return "timestamp"
    if types.is_duration(arrow):
        return "duration"
    if types.is_date(arrow):
        return "date"
    return "any" if types.is_null(arrow) else "opaque"


def can_be_key(arrow: pa.DataType | None) -> bool:
    """Tell whether payload of an Arrow type can be a key; None: only the data knows, and is asked.

    >>> can_be_key(pa.decimal128(9, 2)), can_be_key(pa.list_(pa.int8()))
    (True, False)
    """
    return arrow is None or bool(pa.types.is_decimal(arrow) or pa.types.is_time(arrow)) or str(arrow) == _UUID


def with_keys(schema: Schema, keys: Iterable[Expr]) -> Schema:
    """Give the schema in which payload that can be a key (a decimal, a time of day) has values that tell their type.

    Raises:
        SchemaError: a key is a column of a type that cannot be one.
    """
    names = {key.name for key in keys if isinstance(key, ex.Column)}
    fields = []
    for f in schema:
        if f.type == "opaque" and f.name in names:
            if not can_be_key(f.arrow):
                raise SchemaError(f"key: {ex.Column(f.name)!r}: {f.arrow} cannot be a key")
            f = Field(f.name, "any", f.arrow)
        fields.append(f)
    return Schema(tuple(fields))


def arrow_of(each: Field) -> pa.DataType:
    """Give the Arrow type of a column: the one it came from, or the plain one of its type.

    Raises:
        SchemaError: an opaque column that did not come from Arrow.

    >>> arrow_of(Field("n", "int64"))
    DataType(int64)
    """
    if each.arrow is not None:
        return each.arrow
    if each.type == "opaque":
        raise SchemaError(f'column "{each.name}" is opaque: only Arrow knows its type')
    return arrow_type(each.type)


def arrow_type(kind: str) -> pa.DataType:
    """Give the plain Arrow type of one of ours that is not opaque.

    >>> arrow_type("float64")
    DataType(double)
    """
    plain: dict[str, pa.DataType] = {
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "bytes": pa.binary(),
        "timestamp": pa.timestamp("ns", "UTC"),
        "duration": pa.duration("ns"),
        "date": pa.date32(),
        "any": pa.null(),
    }
    return plain[kind]


# --- typing ---------------------------------------------------------------------------------------------------------


def typecheck(expression: Expr, schema: Schema | None, where: str, *, condition: bool = False) -> str:
    """Give the type of an expression over a schema.

    Args:
        expression: the expression.
        schema: the columns; None: unknown, then each column's type follows from its use.
        where: the words that say which part of the pattern it is, as in 'stage "spree"'.
        condition: it must be true or false.

    Raises:
        SchemaError: an unknown column (with the nearest name) or types that do not fit; quotes the part of the pattern.

    >>> typecheck(ex.col.amount * 2 > 500, Schema.of(amount="float64"), 'stage "spree"')
    'bool'
    >>> typecheck(ex.col.amont > 500, Schema.of(amount="float64"), 'stage "spree"')
    Traceback (most recent call last):
    fyke.errors.SchemaError: stage "spree": col.amont > 500: no column "amont" (did you mean "amount"?)
    """
    typer = _Typer(schema, closed=schema is not None)
    return typer.root(expression, where, condition)


def infer_schema(conditions: Iterable[Located], keys: Iterable[Located] = (), known: Schema | None = None) -> Schema:
    """Infer the types of columns from their use, when there is no schema.

    Compared with a number, or in arithmetic: float64 (never int64, for the data may have fractions); with a str:
    string; with a bool: bool; with a datetime: timestamp; and so on. A column that no use tells about gets "any".

    Args:
        conditions: expressions that are true or false, alone or as (where, expression): `pattern.conditions()`.
        keys: key expressions, likewise.
        known: columns whose type is known.

    Returns:
        The known columns, then the others used, in order of first use.

    Raises:
        SchemaError: two uses of a column contradict each other; quotes both.

    >>> infer_schema([(ex.col.amount < 1) & (ex.col.country != "CH")], [ex.col.card])
    Schema(fields=(Field(name='amount', type='float64'), Field(name='country', type='string'),
        Field(name='card', type='any')))
    """
    typer = _Typer(known, closed=False)
    for located, condition in [*((each, True) for each in conditions), *((each, False) for each in keys)]:
        where, expression = located if isinstance(located, tuple) else ("condition", located)
        typer.root(expression, where, condition)
    return typer.schema()


class _Column:
    """A column while typing: its type, once known, and the use that told it; columns that are compared are merged."""

    __slots__ = ("merged", "name", "told", "type")

    def __init__(self, name: str, kind: str | None, told: str) -> None:
        self.name = name
        self.type = kind
        self.told = told
        self.merged: _Column | None = None

    def root(self) -> _Column:
        column = self
        while column.merged is not None:
            column = column.merged
        return column


# A type that is known, or the column that it depends on.
_Type: TypeAlias = str | _Column


class _Typer:
    """The table of columns, and one method per kind of node."""

    def __init__(self, schema: Schema | None, closed: bool) -> None:
        self.columns: dict[str, _Column] = {}
        self.closed = closed
        self.fields = {} if schema is None else {each.name: each for each in schema}
        for each in self.fields.values():
            kind = None if each.type == "any" else each.type
            self.columns[each.name] = _Column(each.name, kind, "the schema")
        # The place being typed, for errors: where in the pattern, and the innermost condition around.
        self.where = ""
        self.part: Expr = ex.lit(True)
        # Columns used in an order (<, min): if nothing else tells their type, they are numbers.
        self.ordered: list[_Column] = []
        # What takes numbers and times only, over columns whose type a later use may tell: (place, what, column).
        self.numeric: list[tuple[str, Expr, str, _Column]] = []

    def schema(self) -> Schema:
        """Give the columns with what is known of them now."""
        for column in self.ordered:
            column.root().type = column.root().type or "float64"
        fields = []
        for name, column in self.columns.items():
            given = self.fields.get(name)
            fields.append(given if given is not None and given.type != "any" else Field(name, self.final(column)))
        return Schema(tuple(fields))

    def root(self, expression: Expr, where: str, condition: bool) -> str:
        """Type a whole expression."""
        self.where, self.part = where, expression
        if condition:
            self.truth(expression)
            kind: _Type = "bool"
        else:
            kind = self.visit(expression)
        for place, part, what, column in self.numeric:
            if column.root().type not in (None, *_NUMERIC):
                self.where, self.part = place, part
                raise self.clash([column], f"{what} takes numbers and times, not {self.final(column)}")
        return self.final(kind)

    def fail(self, text: str) -> SchemaError:
        return SchemaError(f"{self.where}: {self.part!r}: {text}")

    # --- types that may still be open -----------------------------------------------------------------------------

    def final(self, kind: _Type) -> str:
        if isinstance(kind, str):
            return kind
        return kind.root().type or "any"

    def open(self, kind: _Type) -> _Column | None:
        """Give the column whose type is not known yet, or None."""
        if isinstance(kind, str):
            return None
        column = kind.root()
        return column if column.type is None else None

    def tell(self, kind: _Type, told: str) -> str:
        """Give the type, after settling it to `told` if it is open."""
        column = self.open(kind)
        if column is None:
            return self.final(kind)
        column.type = "float64" if told in _NUMBERS else told
        column.told = f"`{self.part!r}` ({self.where})"
        return column.type

    def clash(self, kinds: Iterable[_Type], text: str) -> SchemaError:
        """Make the error of types that do not fit, and say where the types of open-schema columns came from."""
        seen: dict[str, None] = {}
        for kind in kinds:
            if isinstance(kind, _Column) and not self.closed and kind.name not in self.fields:
                seen[f'column "{kind.name}" is {self.final(kind)} by {kind.root().told}'] = None
        return self.fail(text + "".join(f"; {each}" for each in seen))

    def together(self, kinds: list[_Type], what: str) -> str | _Column:
        """Bring operands that are compared with each other to one family, and give their common type."""
        known = [kind for kind in kinds if self.open(kind) is None]
        families = {_family(self.final(kind)) for kind in known}
        if "opaque" in families:
            raise self.clash(kinds, f"{what} takes no payload column (a type that expressions cannot use)")
        if len(families) > 1:
            names = " with ".join(self.final(kind) for kind in kinds)
            raise self.clash(kinds, f"cannot {what} {names}{_hint(families)}")
        waiting = [column for kind in kinds if (column := self.open(kind)) is not None]
        if not known:
            first = waiting[0]
            for column in waiting[1:]:
                if column.root() is not first.root():
                    column.root().merged = first.root()
            return first
        for column in waiting:
            self.tell(column, self.final(known[0]))
        finals = [self.final(kind) for kind in kinds]
        return "float64" if set(finals) == set(_NUMBERS) else finals[0]

    # --- nodes ----------------------------------------------------------------------------------------------------

    def truth(self, expression: Expr) -> None:
        """Type an expression that must be true or false."""
        outer, self.part = self.part, expression
        if isinstance(expression, ex.Binary) and expression.op in ex.LOGICAL:
            self.truth(expression.left)
            self.truth(expression.right)
        elif isinstance(expression, ex.Unary) and expression.op == "not":
            self.truth(expression.arg)
        else:
            kind = self.visit(expression)
            if self.tell(kind, "bool") != "bool":
                raise self.clash([kind], f"is {self.final(kind)}, neither true nor false: compare it with something")
        self.part = outer

    def visit(self, expression: Expr, expected: str | None = None) -> _Type:
        """Type any expression; `expected` is what it will be compared with, if that is known."""
        match expression:
            case ex.Column(name) | ex.Prev(name):
                return self.column(name)
            case ex.Agg():
                return self.aggregate(expression)
            case ex.Literal(value):
                return _type_of_value(value)
            case ex.Unary("is_null", arg):
                self.visit(arg)
                return "bool"
            case ex.Unary("neg", arg):
                kind = self.visit(arg)
                if self.tell(kind, "float64") not in (*_NUMBERS, "duration"):
                    raise self.clash([kind], f"cannot negate {self.final(kind)}")
                return self.final(kind)
            case ex.Binary(op) if op in ex.COMPARISONS:
                return self.comparison(expression)
            case ex.Binary(op, left, right) if op in ex.ARITHMETIC:
                return self.arithmetic(op, left, right, expected)
            case ex.Binary() | ex.Unary():
                self.truth(expression)
                return "bool"
            case ex.IsIn(arg, values):
                kind = self.visit(arg)
                if values:
                    self.together([kind, _type_of_value(values[0])], "compare")
                return "bool"
            case ex.StrOp(op, arg):
                kind = self.visit(arg)
                if self.tell(kind, "string") not in ("string", "bytes"):
                    raise self.clash([kind], f"{op} looks into strings and bytes, not {self.final(kind)}")
                return "bool"
            case ex.Func(fn, args):
                return self.function(fn, args)
        return "bool"  # Call

    def column(self, name: str) -> _Column:
        found = self.columns.get(name)
        if found is None:
            if self.closed:
                raise self.fail(_no_column(name, self.columns))
            found = self.columns[name] = _Column(name, None, "")
        return found

    def aggregate(self, node: ex.Agg) -> _Type:
        kind: _Type = self.column(node.column)
        if node.fn == "count":
            return "float64" if isinstance(node.empty, float) else "int64"
        if node.fn in ("sum", "avg") or node.empty is not None:
            if self.tell(kind, "float64") not in _NUMBERS:
                if node.fn in ("sum", "avg"):
                    raise self.clash([kind], f"{node.fn}() adds numbers, not {self.final(kind)}")
                raise self.clash([kind], f"empty={node.empty!r} does not fit {self.final(kind)}; leave it out")
            return "float64" if node.fn == "avg" or isinstance(node.empty, float) else self.final(kind)
        if node.fn in ("min", "max") and self.open(kind) is None and self.final(kind) not in _NUMERIC:
            raise self.clash([kind], f"{node.fn}() takes numbers and times, not {self.final(kind)}")
        if node.fn in ("min", "max") and (column := self.open(kind)) is not None:
            self.ordered.append(column)
            self.numeric.append((self.where, self.part, f"{node.fn}()", column))
        return kind

    def comparison(self, node: ex.Binary) -> str:
        outer, self.part = self.part, node
        # The side that says its type by itself goes first, so that the other can follow it.
        if isinstance(node.right, ex.Literal):
            right = self.visit(node.right)
            left = self.visit(node.left, self.final(right))
        else:
            left = self.visit(node.left)
            right = self.visit(node.right, None if self.open(left) is not None else self.final(left))
        kind = self.together([left, right], "compare")
        if node.op not in ("eq", "ne") and isinstance(kind, str) and kind not in _ORDERED:
            raise self.clash([left, right], f"{kind} has no order: only == and != compare it")
        if node.op not in ("eq", "ne") and isinstance(kind, _Column):
            self.ordered.append(kind)
        self.part = outer
        return "bool"

    def arithmetic(self, op: str, left: Expr, right: Expr, expected: str | None) -> str:
        if op == "truediv" and isinstance(right, ex.Literal) and isinstance(right.value, dt.timedelta):
            # (this time - that time) / timedelta(hours=1): the number of hours between them.
            expected = "duration"
        else:
            expected = expected if op in ("add", "sub") else None
        one = self.visit(left, expected)
        other = self.visit(right, expected)
        if self.open(one) is not None and self.open(other) is not None and (op, expected) == ("sub", "duration"):
            self.tell(one, "timestamp")
        if op == "truediv" and self.open(one) is not None and self.final(other) == "duration":
            self.tell(one, "duration")
        if op in ("add", "sub"):
            # What stands beside a time: the same in a difference of times, else a duration.
            for kind, beside in ((one, other), (other, one)):
                known = "any" if self.open(beside) is not None else self.final(beside)
                if known == "timestamp":
                    self.tell(kind, "timestamp" if op == "sub" else "duration")
                elif known == "duration":
                    duration_too = expected == "duration" or (kind is other and op == "sub")
                    self.tell(kind, "duration" if duration_too else "timestamp")
        kinds = self.tell(one, "float64"), self.tell(other, "float64")
        if set(kinds) <= set(_NUMBERS):
            return "float64" if op == "truediv" or "float64" in kinds else "int64"
        times = {
            ("sub", "timestamp", "timestamp"): "duration",
            ("sub", "timestamp", "duration"): "timestamp",
            ("add", "timestamp", "duration"): "timestamp",
            ("add", "duration", "timestamp"): "timestamp",
            ("add", "duration", "duration"): "duration",
            ("sub", "duration", "duration"): "duration",
            ("truediv", "duration", "duration"): "float64",
        }
        result = times.get((op, *kinds))
        if result is None:
            sign = ex.ARITHMETIC[op]
            raise self.clash([one, other], f"cannot compute {kinds[0]} {sign} {kinds[1]}")
        return result

    def function(self, fn: str, args: tuple[Expr, ...]) -> _Type:
        kinds = [self.visit(arg) for arg in args]
        if fn in ex.FUNCTIONS_N:
            common = self.together(kinds, f"take the {fn} of")
            if isinstance(common, str) and common not in _NUMERIC:
                raise self.clash(kinds, f"{fn} takes numbers and times, not {common}")
            if isinstance(common, _Column):
                self.ordered.append(common)
                self.numeric.append((self.where, self.part, fn, common))
            return common
        for kind in kinds:
            told = self.tell(kind, "float64")
            if told not in _NUMBERS and (fn, told) != ("abs", "duration"):
                raise self.clash([kind], f"{fn} takes numbers, not {told}")
        return self.final(kinds[0]) if fn == "abs" else "float64"


def _type_of_value(value: ex.Value) -> str:
    # bool is an int and datetime a date, so the order counts.
    for kind, name in (
        (bool, "bool"),
        (int, "int64"),
        (float, "float64"),
        (str, "string"),
        (bytes, "bytes"),
        (dt.datetime, "timestamp"),
        (dt.date, "date"),
    ):
        if isinstance(value, kind):
            return name
    return "duration"


def _family(kind: str) -> str:
    return "number" if kind in _NUMBERS else kind


def _hint(families: set[str]) -> str:
    if "timestamp" in families and families & {"number", "string", "date"}:
        return " (write the time as a datetime)"
    if "duration" in families and families & {"number", "string"}:
        return " (write the duration as a timedelta)"
    if families == {"string", "bytes"}:
        return ' (write the constant as b"...")'
    return ""


def _near(name: str, names: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name, list(names), n=1)
    return close[0] if close else None


def _no_column(name: str, names: Iterable[str]) -> str:
    names = list(names)
    near = _near(name, names)
    if near is not None:
        return f'no column "{name}" (did you mean "{near}"?)'
    shown = ", ".join(f'"{each}"' for each in names[:12]) + (", ..." if len(names) > 12 else "")
    return f'no column "{name}"; the columns are {shown or "none"}'
