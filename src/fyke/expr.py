"""Expressions over the columns of an event and over the events of a partial match: frozen trees, never evaluated here.

`col.amount > 500` builds a tree; the compiler turns trees into programs. Every node is a frozen dataclass with slots,
hashable by structure. `==` builds an expression too, so Python's own question "are these equal?" is answered by bool()
of that expression (as SQLAlchemy does): true when its two operands have the same structure. That makes expressions work
in sets, dicts and tuples. Any other bool() of an expression is a mistake (`and`, `or`, `not`, `if`, a chained
comparison, `in`) and raises; so does that of `col.x == 5`, an expression beside a plain value, which no set or dict
ever asks for.
"""

from __future__ import annotations

import importlib
import inspect
import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, NoReturn

from fyke.errors import ExpressionError
from fyke.literals import Value, plain, value_code, value_from_json, value_to_json

__all__ = [
    "Agg",
    "Binary",
    "Call",
    "Column",
    "Expr",
    "Func",
    "IsIn",
    "Literal",
    "Prev",
    "Ref",
    "StrOp",
    "Unary",
    "Value",
    "call",
    "children",
    "col",
    "columns",
    "from_json",
    "func",
    "lit",
    "prev",
    "ref",
    "split_and",
    "to_expr",
    "to_json",
    "walk",
]

ARITHMETIC: Final = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%"}
COMPARISONS: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
LOGICAL: Final = {"and": "&", "or": "|"}
BINARY_SIGNS: Final = ARITHMETIC | COMPARISONS | LOGICAL
UNARY_OPS: Final = ("neg", "not", "is_null")
STRING_OPS: Final = ("starts_with", "ends_with", "contains", "matches")
AGGREGATES: Final = ("first", "last", "sum", "count", "min", "max", "avg")
FUNCTIONS_1: Final = (
    "abs", "sqrt", "sin", "cos", "asin", "acos", "atan", "exp", "log", "floor", "ceil", "radians",
)  # fmt: skip
FUNCTIONS_2: Final = ("atan2",)
FUNCTIONS_N: Final = ("least", "greatest")

# How tightly a node binds when it is written out; Python's own precedence.
_COMPARISON, _OR, _AND, _SUM, _PRODUCT, _UNARY, _ATOM = range(7)
_PRECEDENCE: Final = (
    dict.fromkeys(COMPARISONS, _COMPARISON)
    | {"or": _OR, "and": _AND, "add": _SUM, "sub": _SUM}
    | dict.fromkeys(("mul", "truediv", "floordiv", "mod"), _PRODUCT)
)


class Expr:
    """Base of all expressions: the operators and methods that build bigger ones."""

    # Computed once: compiling asks for the hash of the same node thousands of times.
    __slots__ = ("_known_hash", "_known_structure")
    _known_hash: int
    _known_structure: tuple[Any, ...]
    # NumPy scalars on the left of an operator must leave the operation to us.
    __array_ufunc__: ClassVar[None] = None

    # --- arithmetic -------------------------------------------------------------------------------------------------

    def __add__(self, other: object) -> Binary:
        return _binary("add", self, other)

    def __radd__(self, other: object) -> Binary:
        return _binary("add", other, self)

    def __sub__(self, other: object) -> Binary:
        return _binary("sub", self, other)

    def __rsub__(self, other: object) -> Binary:
        return _binary("sub", other, self)

    def __mul__(self, other: object) -> Binary:
        return _binary("mul", self, other)

    def __rmul__(self, other: object) -> Binary:
        return _binary("mul", other, self)

    def __truediv__(self, other: object) -> Binary:
        return _binary("truediv", self, other)

    def __rtruediv__(self, other: object) -> Binary:
        return _binary("truediv", other, self)

    def __floordiv__(self, other: object) -> Binary:
        return _binary("floordiv", self, other)

    def __rfloordiv__(self, other: object) -> Binary:
        return _binary("floordiv", other, self)

    def __mod__(self, other: object) -> Binary:
        return _binary("mod", self, other)

    def __rmod__(self, other: object) -> Binary:
        return _binary("mod", other, self)

    def __neg__(self) -> Unary:
        return Unary("neg", self)

    # --- comparisons ------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> Binary:  # type: ignore[override]
        return _binary("eq", self, other)

    def __ne__(self, other: object) -> Binary:  # type: ignore[override]
        return _binary("ne", self, other)

    def __lt__(self, other: object) -> Binary:
        return _binary("lt", self, other)

    def __le__(self, other: object) -> Binary:
        return _binary("le", self, other)

    def __gt__(self, other: object) -> Binary:
        return _binary("gt", self, other)

    def __ge__(self, other: object) -> Binary:
        return _binary("ge", self, other)

    def between(self, low: object, high: object) -> Binary:
        """Build `(self >= low) & (self <= high)`, both ends included.

        >>> col.age.between(18, 65)
        (col.age >= 18) & (col.age <= 65)
        """
        return Binary("and", _binary("ge", self, low), _binary("le", self, high))

    def is_in(self, values: Iterable[object]) -> IsIn:
        """Build "equals one of these values".

        Args:
            values: plain values of one type; an int beside floats becomes a float. None of them: never true.

        >>> col.country.is_in(["CH", "AT"])
        col.country.is_in(['CH', 'AT'])
        """
        if isinstance(values, str | bytes):
            raise ExpressionError(f"{self!r}.is_in({values!r}): a list of values is needed, write is_in([{values!r}])")
        if isinstance(values, Expr) or not isinstance(values, Iterable):
            raise ExpressionError(f"{self!r}.is_in({values!r}): a list of plain values is needed")
        return IsIn(self, tuple(map(plain, values)))

    def is_null(self) -> Unary:
        """Build "the value is missing".

        >>> col.email.is_null()
        col.email.is_null()
        """
        return Unary("is_null", self)

    def is_not_null(self) -> Unary:
        """Build "the value is there".

        >>> col.email.is_not_null()
        ~col.email.is_null()
        """
        return Unary("not", Unary("is_null", self))

    # --- logic ------------------------------------------------------------------------------------------------------

    def __and__(self, other: object) -> Binary:
        return _logical("and", self, other)

    def __rand__(self, other: object) -> Binary:
        return _logical("and", other, self)

    def __or__(self, other: object) -> Binary:
        return _logical("or", self, other)

    def __ror__(self, other: object) -> Binary:
        return _logical("or", other, self)

    def __invert__(self) -> Unary:
        return Unary("not", self)

    # --- strings ----------------------------------------------------------------------------------------------------

    def starts_with(self, text: str) -> StrOp:
        """Build "the string starts with `text`"."""
        return StrOp("starts_with", self, text)

    def ends_with(self, text: str) -> StrOp:
        """Build "the string ends with `text`"."""
        return StrOp("ends_with", self, text)

    def contains(self, text: str) -> StrOp:
        """Build "`text` occurs in the string"."""
        return StrOp("contains", self, text)

    def matches(self, regex: str) -> StrOp:
        """Build "the regular expression is found in the string" (anywhere; anchor it with ^ and $).

        Args:
            regex: in RE2 syntax, which has no look-around and no back-references.

        >>> col.path.matches("^/api/v[0-9]+/")
        col.path.matches('^/api/v[0-9]+/')
        """
        return StrOp("matches", self, regex)

    # --- functions of numbers ---------------------------------------------------------------------------------------

    def abs(self) -> Func:
        """Build the absolute value."""
        return Func("abs", (self,))

    def sqrt(self) -> Func:
        """Build the square root."""
        return Func("sqrt", (self,))

    def sin(self) -> Func:
        """Build the sine of an angle in radians."""
        return Func("sin", (self,))

    def cos(self) -> Func:
        """Build the cosine of an angle in radians."""
        return Func("cos", (self,))

    def asin(self) -> Func:
        """Build the arc sine, in radians."""
        return Func("asin", (self,))

    def acos(self) -> Func:
        """Build the arc cosine, in radians."""
        return Func("acos", (self,))

    def atan(self) -> Func:
        """Build the arc tangent, in radians."""
        return Func("atan", (self,))

    def exp(self) -> Func:
        """Build e to the power of the value."""
        return Func("exp", (self,))

    def log(self) -> Func:
        """Build the natural logarithm."""
        return Func("log", (self,))

    def floor(self) -> Func:
        """Build the largest whole number not above the value."""
        return Func("floor", (self,))

    def ceil(self) -> Func:
        """Build the smallest whole number not below the value."""
        return Func("ceil", (self,))

    def radians(self) -> Func:
        """Build the angle in radians of one in degrees."""
        return Func("radians", (self,))

    # --- structure --------------------------------------------------------------------------------------------------

    def equals(self, other: object) -> bool:
        """Tell whether two expressions have the same structure (1, 1.0 and True are different literals).

        >>> (col.x > 1).equals(col.x > 1), (col.x > 1).equals(col.x > 1.0)
        (True, False)
        """
        return isinstance(other, Expr) and _structure(self) == _structure(other)

    def to_json(self) -> dict[str, Any]:
        """Give the expression as plain dicts, lists and scalars; see `from_json`.

        Raises:
            ExpressionError: a Python callable without an importable name is in it.

        >>> (col.x > 1).to_json()["op"]
        'gt'
        """
        return to_json(self)

    def __hash__(self) -> int:
        try:
            return self._known_hash
        except AttributeError:
            object.__setattr__(self, "_known_hash", hash(_structure(self)))
            return self._known_hash

    def __bool__(self) -> bool:
        raise ExpressionError(
            f"`{self!r}` has no truth value when the pattern is written: use & | ~ instead of and, or, not; "
            "is_in([...]) instead of in; and between(low, high) instead of a chained comparison"
        )

    def __contains__(self, item: object) -> NoReturn:
        raise ExpressionError(f"`in {self!r}` cannot be asked: write .contains(...) for a string, or is_in([...])")

    def __iter__(self) -> NoReturn:
        raise ExpressionError(f"`{self!r}` cannot be iterated over: it stands for one value")

    def __repr__(self) -> str:
        return _write(self)[0]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Column(Expr):
    """The value of a column of the current event: `col.name` or `col["name"]`."""

    name: str

    def __post_init__(self) -> None:
        _require_name(self.name, "a column")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Prev(Expr):
    """The value of a column of the preceding event of the same key in event-time order; null for the first."""

    name: str

    def __post_init__(self) -> None:
        _require_name(self.name, "a column")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Agg(Expr):
    """An aggregate over the events which the partial match has put into a stage so far, never the current event.

    No events: `empty`, or, if that is None, undefined: every comparison with it is false, the negation of that is true.
    `ref("a").x` is the last value; its methods `sum()`, `count()` ... make the other aggregates.
    """

    fn: str
    stage: str
    column: str
    empty: int | float | None = None

    def __post_init__(self) -> None:
        if self.fn not in AGGREGATES:
            raise ExpressionError(f"aggregate {self.fn!r} is not one of {', '.join(AGGREGATES)}")
        _require_name(self.stage, "a stage")
        _require_name(self.column, "a column")
        empty = self.empty
        if empty is not None and (isinstance(empty, bool) or not isinstance(empty, int | float)):
            raise ExpressionError(f"empty={empty!r}: the value for no events is a number or None")

    def _of(self, fn: str, empty: int | float | None) -> Agg:
        if self.fn != "last" or self.empty is not None:
            raise ExpressionError(f"{self!r}.{fn}(): an aggregate of an aggregate; write {_bare_ref(self)}.{fn}()")
        return Agg(fn, self.stage, self.column, empty)

    def first(self, empty: int | float | None = None) -> Agg:
        """Build the value of the stage's first event."""
        return self._of("first", empty)

    def last(self, empty: int | float | None = None) -> Agg:
        """Build the value of the stage's last event so far."""
        return self._of("last", empty)

    def sum(self, empty: int | float | None = None) -> Agg:
        """Build the sum of the values.

        Args:
            empty: the value when the stage has no events; without it every comparison with the sum is then false.

        >>> ref("buy").amount.sum(empty=0) + col.amount > 1000
        ref('buy').amount.sum(empty=0) + col.amount > 1000
        """
        return self._of("sum", empty)

    def count(self, empty: int | float | None = None) -> Agg:
        """Build the number of events that have a value."""
        return self._of("count", empty)

    def min(self, empty: int | float | None = None) -> Agg:
        """Build the smallest value."""
        return self._of("min", empty)

    def max(self, empty: int | float | None = None) -> Agg:
        """Build the largest value."""
        return self._of("max", empty)

    def avg(self, empty: int | float | None = None) -> Agg:
        """Build the mean of the values."""
        return self._of("avg", empty)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Literal(Expr):
    """A constant. A datetime without a zone is taken as UTC; every datetime is kept in UTC."""

    value: Value

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", plain(self.value))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Expr):
    """neg, not or is_null of one expression."""

    op: str
    arg: Expr

    def __post_init__(self) -> None:
        _require_op(self.op, UNARY_OPS)
        _require_exprs(self.op, self.arg)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Expr):
    """An arithmetic, comparing or logical operation on two expressions."""

    op: str
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        _require_op(self.op, tuple(BINARY_SIGNS))
        _require_exprs(self.op, self.left, self.right)

    def __bool__(self) -> bool:
        # Sets and dicts compare expressions with each other; beside a plain value it is a condition in an `and`.
        if self.op == "eq" and isinstance(self.left, Literal) == isinstance(self.right, Literal):
            return self.left.equals(self.right)
        return Expr.__bool__(self)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IsIn(Expr):
    """Membership in a tuple of plain values of one type."""

    arg: Expr
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        _require_exprs("is_in", self.arg)
        values = list(dict.fromkeys((type(value), value) for value in map(plain, self.values)))
        kinds = {kind for kind, _ in values}
        kept: tuple[Value, ...] = tuple(value for _, value in values)
        if kinds == {int, float}:
            if any(isinstance(value, int) and abs(value) > 2**53 for value in kept):
                raise ExpressionError(f"is_in({list(kept)!r}): an integer beyond 2**53 beside floats would be rounded")
            kept = tuple(dict.fromkeys(float(value) for value in kept))  # type: ignore[arg-type]
        elif len(kinds) > 1:
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise ExpressionError(f"is_in({list(kept)!r}): the values must be of one type, not {names}")
        object.__setattr__(self, "values", kept)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StrOp(Expr):
    """starts_with, ends_with, contains or matches (RE2, anywhere) of a string or bytes expression."""

    op: str
    arg: Expr
    pattern: str

    def __post_init__(self) -> None:
        _require_op(self.op, STRING_OPS)
        _require_exprs(self.op, self.arg)
        if not isinstance(self.pattern, str):
            raise ExpressionError(f"{self.op}({self.pattern!r}): the text to look for must be a str")
        object.__setattr__(self, "pattern", str(self.pattern))
        if self.op == "matches":
            _require_regex(self.pattern)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Func(Expr):
    """A function of numbers."""

    fn: str
    args: tuple[Expr, ...]

    def __post_init__(self) -> None:
        given = len(self.args)
        if self.fn in FUNCTIONS_1:
            fits, needs = given == 1, "one argument"
        elif self.fn in FUNCTIONS_2:
            fits, needs = given == 2, "two arguments"
        elif self.fn in FUNCTIONS_N:
            fits, needs = given >= 2, "two or more arguments"
        else:
            known = ", ".join(FUNCTIONS_1 + FUNCTIONS_2 + FUNCTIONS_N)
            raise ExpressionError(f"function {self.fn!r} is not one of {known}")
        if not fits:
            raise ExpressionError(f"func.{self.fn} takes {needs}, got {given}")
        _require_exprs(self.fn, *self.args)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Expr):
    """A condition in Python: the slow path, and the way out for what expressions cannot say."""

    fn: Callable[..., object]
    arity: int
    name: str | None

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ExpressionError(f"call({self.fn!r}): not callable")
        if self.arity not in (1, 2):
            raise ExpressionError(f"call: arity {self.arity!r}; a condition takes (event) or (event, match_so_far)")


# --- making them ----------------------------------------------------------------------------------------------------


class Ref:
    """An earlier stage of the pattern: `ref("probe").country` is the value of the last event put into it."""

    __slots__ = ("_stage",)
    _stage: str

    def __init__(self, stage: str) -> None:
        _require_name(stage, "a stage")
        object.__setattr__(self, "_stage", stage)

    def __getattr__(self, column: str) -> Agg:
        if _is_dunder(column):
            raise AttributeError(column)
        return Agg("last", self._stage, column)

    def __getitem__(self, column: str) -> Agg:
        return Agg("last", self._stage, column)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"ref({self._stage!r}) is read-only; did you mean == ?")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Ref):
            return bool(self._stage == other._stage)
        raise ExpressionError(f"{self!r} is a whole stage: name a column, as in {self!r}.amount")

    def __hash__(self) -> int:
        return hash(("ref", self._stage))

    def __repr__(self) -> str:
        return f"ref({self._stage!r})"


class _Columns:
    """`col`: any attribute or item is a column of the current event."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Column:
        if _is_dunder(name):
            raise AttributeError(name)
        return Column(name)

    def __getitem__(self, name: str) -> Column:
        return Column(name)

    __iter__ = None
    __contains__ = None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"col.{name} is read-only; did you mean == ?")

    def __repr__(self) -> str:
        return "col"


class _PreviousColumns:
    """`prev`: any attribute or item is a column of the preceding event of the same key."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Prev:
        if _is_dunder(name):
            raise AttributeError(name)
        return Prev(name)

    def __getitem__(self, name: str) -> Prev:
        return Prev(name)

    __iter__ = None
    __contains__ = None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"prev.{name} is read-only; did you mean == ?")

    def __repr__(self) -> str:
        return "prev"


class _Functions:
    """`func`: the functions of numbers, taking expressions and plain values."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Callable[..., Func]:
        if name not in FUNCTIONS_1 + FUNCTIONS_2 + FUNCTIONS_N:
            raise AttributeError(f"fyke.func has no {name!r}; it has {', '.join(self.__dir__())}")

        def build(*args: object) -> Func:
            return Func(name, tuple(map(to_expr, args)))

        build.__name__ = build.__qualname__ = name
        return build

    def __dir__(self) -> list[str]:
        return sorted(FUNCTIONS_1 + FUNCTIONS_2 + FUNCTIONS_N)

    def __repr__(self) -> str:
        return "func"


col: Final = _Columns()
prev: Final = _PreviousColumns()
func: Final = _Functions()


def ref(stage: str) -> Ref:
    """Name an earlier stage, to compare with its events.

    Args:
        stage: the stage's name; it may be the stage of the condition itself, for its events taken before.

    >>> col.country != ref("probe").country
    col.country != ref('probe').country
    """
    return Ref(stage)


def lit(value: object) -> Literal:
    """Make a constant; needed only where no other operand is an expression.

    Raises:
        ExpressionError: None (say .is_null()), a Decimal, an integer beyond int64, or no scalar at all.

    >>> lit(1) + 2
    lit(1) + 2
    """
    return Literal(value)  # type: ignore[arg-type]


def call(fn: Callable[..., object] | str, arity: int | None = None) -> Call:
    """Use a Python function as a condition.

    Args:
        fn: takes the event, or the event and the match so far; or its name as "module:function", which is imported.
        arity: 1 or 2, needed only where the signature does not tell.

    Raises:
        ExpressionError: not callable, not importable, or it takes another number of arguments.

    >>> call("math:isnan", arity=1)
    call('math:isnan', arity=1)
    """
    if isinstance(fn, str):
        fn = _import_callable(fn)
    if not callable(fn):
        raise ExpressionError(f"call({fn!r}): not callable")
    return Call(fn, _arity_of(fn) if arity is None else arity, _name_of(fn))


def to_expr(value: object) -> Expr:
    """Take an expression as it is and wrap a plain value or a callable."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Ref):
        raise ExpressionError(f"{value!r} is a whole stage: name a column, as in {value!r}.amount")
    if isinstance(value, _Columns | _PreviousColumns | _Functions):
        raise ExpressionError(f"{value!r} alone is no value: name a column, as in col.amount")
    if callable(value):
        return call(value)
    return lit(value)


# --- looking at them ------------------------------------------------------------------------------------------------


def children(expression: Expr) -> tuple[Expr, ...]:
    """Give the direct operands.

    >>> children(col.x > 1)
    (col.x, lit(1))
    """
    if isinstance(expression, Binary):
        return (expression.left, expression.right)
    if isinstance(expression, Unary | IsIn | StrOp):
        return (expression.arg,)
    if isinstance(expression, Func):
        return expression.args
    return ()


def walk(expression: Expr) -> Iterator[Expr]:
    """Iterate over the expression and everything in it, operands before what uses them.

    >>> [type(node).__name__ for node in walk(col.x > 1)]
    ['Column', 'Literal', 'Binary']
    """
    for child in children(expression):
        yield from walk(child)
    yield expression


def columns(expression: Expr) -> tuple[str, ...]:
    """Give the names of the columns it reads (of the current, previous or earlier events), in order, each once.

    >>> columns((col.b > prev.a) & (col.b < ref("s").c))
    ('b', 'a', 'c')
    """
    names: dict[str, None] = {}
    for node in walk(expression):
        if isinstance(node, Column | Prev):
            names[node.name] = None
        elif isinstance(node, Agg):
            names[node.column] = None
    return tuple(names)


def split_and(expression: Expr) -> tuple[Expr, ...]:
    """Split a conjunction along its left spine, as conditions given one after the other were joined.

    >>> split_and((col.a > 1) & (col.b > 2) & (col.c > 3))
    (col.a > 1, col.b > 2, col.c > 3)
    """
    parts: list[Expr] = []
    while isinstance(expression, Binary) and expression.op == "and":
        parts.append(expression.right)
        expression = expression.left
    parts.append(expression)
    return tuple(reversed(parts))


# --- JSON -----------------------------------------------------------------------------------------------------------


def to_json(expression: Expr) -> dict[str, Any]:
    """Give an expression as plain dicts, lists and scalars, a dict per node, `op` first.

    Raises:
        ExpressionError: a Python callable without an importable name is in it.

    >>> to_json(col.x)
    {'op': 'col', 'name': 'x'}
    """
    match expression:
        case Column(name):
            return {"op": "col", "name": name}
        case Prev(name):
            return {"op": "prev", "name": name}
        case Agg(fn, stage, column, empty):
            return {"op": "agg", "fn": fn, "stage": stage, "column": column, "empty": _number_to_json(empty)}
        case Literal(value):
            return {"op": "lit", **value_to_json(value)}
        case Unary(op, arg):
            return {"op": op, "arg": to_json(arg)}
        case Binary(op, left, right):
            return {"op": op, "left": to_json(left), "right": to_json(right)}
        case IsIn(arg, values):
            return {"op": "is_in", "arg": to_json(arg), "values": [value_to_json(value) for value in values]}
        case StrOp(op, arg, pattern):
            return {"op": op, "arg": to_json(arg), "pattern": pattern}
        case Func(fn, args):
            return {"op": "func", "fn": fn, "args": [to_json(arg) for arg in args]}
        case Call(_, arity, name):
            if name is None:
                raise ExpressionError(
                    f"{expression!r} cannot be written as JSON: a lambda or a local function has no name that can be "
                    "imported; define it at the top of a module"
                )
            return {"op": "call", "name": name, "arity": arity}
    raise ExpressionError(f"{expression!r} is no expression")


def from_json(node: Mapping[str, Any], *, callables: bool = False) -> Expr:
    """Read an expression that `to_json` wrote.

    Args:
        node: the dict of a node.
        callables: import the Python functions it names. Importing runs code: only for text that you trust.

    Raises:
        ExpressionError: not such a dict, or it names a Python function and `callables` is False.

    >>> from_json({"op": "gt", "left": {"op": "col", "name": "x"}, "right": {"op": "lit", "type": "int", "value": 1}})
    col.x > 1
    """
    try:
        return _from_json(node, callables)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"not the JSON of an expression: {node!r} ({error})") from error


def _from_json(node: Mapping[str, Any], callables: bool) -> Expr:
    op = node["op"]
    if op == "col":
        return Column(node["name"])
    if op == "prev":
        return Prev(node["name"])
    if op == "agg":
        return Agg(node["fn"], node["stage"], node["column"], _number_from_json(node["empty"]))
    if op == "lit":
        return Literal(value_from_json(node))
    if op in UNARY_OPS:
        return Unary(op, _from_json(node["arg"], callables))
    if op in BINARY_SIGNS:
        return Binary(op, _from_json(node["left"], callables), _from_json(node["right"], callables))
    if op == "is_in":
        return IsIn(_from_json(node["arg"], callables), tuple(map(value_from_json, node["values"])))
    if op in STRING_OPS:
        return StrOp(op, _from_json(node["arg"], callables), node["pattern"])
    if op == "func":
        return Func(node["fn"], tuple(_from_json(arg, callables) for arg in node["args"]))
    if op == "call":
        if not callables:
            raise ExpressionError(
                f"the JSON names the Python function {node['name']!r}; importing it runs code: "
                "pass callables=True if you trust it"
            )
        return call(node["name"], node["arity"])
    raise ExpressionError(f"unknown op {op!r} in the JSON of an expression")


def _number_to_json(value: int | float | None) -> dict[str, Any] | None:
    return None if value is None else value_to_json(value)


def _number_from_json(node: Mapping[str, Any] | None) -> int | float | None:
    return None if node is None else value_from_json(node)  # type: ignore[return-value]  # Agg checks it


# --- writing them out -----------------------------------------------------------------------------------------------


def _write(expression: Expr) -> tuple[str, int]:
    """Give Python code for the expression, and how tightly it binds."""
    match expression:
        case Column(name):
            return _attribute("col", name), _ATOM
        case Prev(name):
            return _attribute("prev", name), _ATOM
        case Agg(fn, _, _, empty):
            bare = _bare_ref(expression)
            if empty is not None:
                return f"{bare}.{fn}(empty={value_code(empty)})", _ATOM
            return (bare if fn == "last" else f"{bare}.{fn}()"), _ATOM
        case Literal(value):
            return f"lit({value_code(value)})", _ATOM
        case Unary("is_null", arg):
            return f"{_wrapped(arg, _ATOM)}.is_null()", _ATOM
        case Unary(op, arg):
            return ("-" if op == "neg" else "~") + _wrapped(arg, _UNARY), _UNARY
        case Binary(op, left, right):
            binds = _PRECEDENCE[op]
            # Python chains comparisons, so neither side of one may be a bare comparison; the others group to the left.
            left_text = _wrapped(left, binds + (op in COMPARISONS))
            # A plain value is written as such beside an expression; two of them would be computed by Python.
            # Beside & and | no plain value but a bool is taken: it would be a comparison without brackets.
            if isinstance(right, Literal) and (op not in LOGICAL or isinstance(right.value, bool)):
                right_text = value_code(right.value)
            else:
                right_text = _wrapped(right, binds + 1)
            return f"{left_text} {BINARY_SIGNS[op]} {right_text}", binds
        case IsIn(arg, values):
            return f"{_wrapped(arg, _ATOM)}.is_in([{', '.join(map(value_code, values))}])", _ATOM
        case StrOp(op, arg, pattern):
            return f"{_wrapped(arg, _ATOM)}.{op}({pattern!r})", _ATOM
        case Func(fn, (arg,)):
            return f"{_wrapped(arg, _ATOM)}.{fn}()", _ATOM
        case Func(fn, args):
            inner = ", ".join(_write(arg)[0] for arg in args)
            return f"func.{fn}({inner})", _ATOM
        case Call(fn, arity, name):
            if name is None:
                return f"call({getattr(fn, '__qualname__', fn)!s})", _ATOM
            return f"call({name!r}, arity={arity})", _ATOM
    raise ExpressionError("not an expression")


def _wrapped(expression: Expr, at_least: int) -> str:
    text, binds = _write(expression)
    return text if binds >= at_least else f"({text})"


def _bare_ref(expression: Agg) -> str:
    return _attribute(f"ref({expression.stage!r})", expression.column)


def _attribute(owner: str, name: str) -> str:
    plain = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")
    return f"{owner}.{name}" if plain else f"{owner}[{name!r}]"


# --- checks and helpers ---------------------------------------------------------------------------------------------


def _structure(expression: Expr) -> tuple[Any, ...]:
    """Give a plain tuple that is equal for expressions of the same structure, and only for these."""
    try:
        return expression._known_structure
    except AttributeError:
        parts: list[Any] = [type(expression)]
        for field in fields(expression):  # type: ignore[arg-type]  # every node is a dataclass
            parts.append(_structure_of(getattr(expression, field.name)))
        object.__setattr__(expression, "_known_structure", tuple(parts))
        return expression._known_structure


def _structure_of(value: object) -> object:
    if isinstance(value, Expr):
        return _structure(value)
    if isinstance(value, tuple):
        return tuple(map(_structure_of, value))
    if isinstance(value, float):
        # hex() keeps NaN equal to itself and tells 0.0 from -0.0; the type tells 1 from 1.0 and True.
        return ("float", value.hex())
    return (type(value), value)


def _binary(op: str, left: object, right: object) -> Binary:
    try:
        return Binary(op, to_expr(left), to_expr(right))
    except ExpressionError as error:
        side = right if isinstance(left, Expr) else left
        known = left if isinstance(left, Expr) else right
        if side is None and op in ("eq", "ne"):
            negation = "~" if op == "ne" else ""
            raise ExpressionError(
                f"`{known!r} {BINARY_SIGNS[op]} None` is never true: write {negation}{known!r}.is_null()"
            ) from None
        raise ExpressionError(f"{known!r} {BINARY_SIGNS[op]} ...: {error}") from None


def _logical(op: str, left: object, right: object) -> Binary:
    for side in (left, right):
        if not isinstance(side, Expr | bool) and not callable(side):
            known = left if isinstance(left, Expr) else right
            raise ExpressionError(
                f"{known!r} {BINARY_SIGNS[op]} {side!r}: the other side is no condition; "
                "comparisons around & and | need brackets, as in (col.a > 1) & (col.b < 2)"
            )
    return _binary(op, left, right)


def _require_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name:
        raise ExpressionError(f"{what} is named by a non-empty string, not {name!r}")


def _require_op(op: object, allowed: tuple[str, ...]) -> None:
    if op not in allowed:
        raise ExpressionError(f"op {op!r} is not one of {', '.join(allowed)}")


def _require_exprs(op: str, *operands: object) -> None:
    for operand in operands:
        if not isinstance(operand, Expr):
            raise ExpressionError(f"{op}: the operand {operand!r} is no expression")


def _require_regex(regex: str) -> None:
    # Arrow is the one that will run it, so Arrow's RE2 is asked; imported late because few patterns need it.
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), pattern=regex)
    except pa.ArrowInvalid as error:
        raise ExpressionError(
            f"matches({regex!r}): not a regular expression in RE2 syntax (no look-around, no back-references): {error}"
        ) from None


def _is_dunder(name: str) -> bool:
    # Python itself asks objects for such names (copying, pickling, IPython); they are no columns.
    return name.startswith("__") and name.endswith("__")


def _arity_of(fn: Callable[..., object]) -> int:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        raise ExpressionError(f"call({fn!r}): its signature cannot be read; say call(fn, arity=1) or arity=2") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in positional)
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keyword_only or required > 2 or (not positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters)):
        raise ExpressionError(f"call({fn!r}): a condition takes (event) or (event, match_so_far)")
    return max(required, 1)


def _name_of(fn: Callable[..., object]) -> str | None:
    """Give "module:qualname" if importing that name gives this very function."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return f"{module}:{name}" if found is fn else None


def _import_callable(name: str) -> Callable[..., object]:
    module, colon, qualname = name.partition(":")
    if not (module and colon and qualname):
        raise ExpressionError(f"call({name!r}): write the name as \"module:function\"")
    try:
        found: object = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ExpressionError(f"call({name!r}): {error}") from None
    if not callable(found):
        raise ExpressionError(f"call({name!r}): not callable")
    return found
