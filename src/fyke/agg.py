"""Aggregates as values: what a window's result says about its rows. Frozen, hashable, checked when they are written.

    keyed.window(fyke.tumbling("1m")).aggregate(n=agg.count(), spent=agg.sum(col.price * col.quantity))

Nulls are no values: every aggregate passes over rows whose value is null, and over no values at all it is null (count
and distinct: 0). Only count() without an argument counts rows. Results depend on the set of rows, not on the order in
which they came or were put together; the exceptions are collect (in order of arrival), top_k beyond its bound, and what
a user-defined aggregate makes of an order.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fyke import expr as ex
from fyke.errors import DefinitionError
from fyke.expr import Expr

__all__ = [
    "Aggregate",
    "arg_max",
    "arg_min",
    "collect",
    "count",
    "distinct",
    "first",
    "from_json",
    "last",
    "max",
    "mean",
    "median",
    "min",
    "quantile",
    "std",
    "sum",
    "to_json",
    "top_k",
    "udf",
    "var",
]

# Number of arguments: least, most.
KINDS: Final[dict[str, tuple[int, int]]] = {
    "count": (0, 1), "sum": (1, 1), "min": (1, 1), "max": (1, 1), "mean": (1, 1), "var": (1, 1), "std": (1, 1),
    "first": (1, 1), "last": (1, 1), "arg_min": (2, 2), "arg_max": (2, 2), "median": (1, 1), "quantile": (1, 1),
    "distinct": (1, 1), "top_k": (1, 1), "collect": (1, 1), "udf": (1, 64),
}  # fmt: skip
UDF_RESULTS: Final = ("int64", "float64", "bool", "string", "bytes", "timestamp", "duration", "date")


@dataclass(frozen=True, slots=True, repr=False)
class Aggregate:
    """One column of a window's result.

    Attributes:
        kind: which aggregate, a name in KINDS.
        args: expressions over a row.
        parameter: ddof of var and std, q of quantile, k of top_k; else None.
        make: of a udf: called without arguments, it gives an accumulator.
        result: of a udf: the type of its results, a name in UDF_RESULTS.
    """

    kind: str
    args: tuple[Expr, ...] = ()
    parameter: int | float | None = None
    make: Callable[[], Any] | None = None
    result: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DefinitionError(f"aggregate {self.kind!r} is not one of {', '.join(KINDS)}")
        object.__setattr__(self, "args", tuple(self.args))
        least, most = KINDS[self.kind]
        if not least <= len(self.args) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise DefinitionError(f"agg.{self.kind}: it takes {wanted} arguments, not {len(self.args)}")
        for arg in self.args:
            _check_arg(self.kind, arg)
        _check_parameter(self.kind, self.parameter)
        if (self.make is not None) != (self.kind == "udf") or (self.result is not None) != (self.kind == "udf"):
            raise DefinitionError(
                f"agg.{self.kind}: an accumulator and a type of results are a udf's, and it needs both"
            )
        if self.kind == "udf":
            _check_udf(self.make, self.result)

    def __repr__(self) -> str:
        given = list(map(repr, self.args))
        if self.kind in ("quantile", "top_k"):
            given.append(repr(self.parameter))
        elif self.parameter not in (None, 1):
            given.append(f"ddof={self.parameter}")
        if self.make is not None:
            given.insert(0, repr(name_of(self.make) or self.make))
            given += [f"result={self.result!r}"] if self.result != "float64" else []
        return f"agg.{self.kind}({', '.join(given)})"


# --- writing them ---------------------------------------------------------------------------------------------------


def count(x: Expr | str | None = None) -> Aggregate:
    """Count the rows, or the rows in which x is not null: int64.

    Args:
        x: an expression over the row, or the name of a column.

    >>> count(), count("price")
    (agg.count(), agg.count(col.price))
    """
    return Aggregate("count", () if x is None else (_expr(x),))


def sum(x: Expr | str) -> Aggregate:
    """Add up numbers or durations; of int64 exactly, of float64 exactly and then rounded once.

    The rounding is to the nearest double, whatever the order of the rows. A sum of integers beyond int64 is null, and
    counted in the statistics as `overflows`. Infinities and NaN go by IEEE 754.

    >>> sum(ex.col.price * 2)
    agg.sum(col.price * 2)
    """
    return Aggregate("sum", (_expr(x),))


def min(x: Expr | str) -> Aggregate:
    """Take the least value of a type that has an order. NaN comes after all numbers; text goes by its bytes.

    >>> min("price")
    agg.min(col.price)
    """
    return Aggregate("min", (_expr(x),))


def max(x: Expr | str) -> Aggregate:
    """Take the greatest value of a type that has an order. NaN comes after all numbers; text goes by its bytes.

    >>> max("price")
    agg.max(col.price)
    """
    return Aggregate("max", (_expr(x),))


def mean(x: Expr | str) -> Aggregate:
    """Take the mean of numbers, float64: the exact sum over the count, rounded once.

    >>> mean("price")
    agg.mean(col.price)
    """
    return Aggregate("mean", (_expr(x),))


def var(x: Expr | str, ddof: int = 1) -> Aggregate:
    """Take the variance of numbers, float64: computed without loss from exact sums, and rounded once.

    Args:
        x: an expression over the row, or the name of a column.
        ddof: the sum of squared deviations is divided by count - ddof; 1: of a sample, 0: of all there is. It is null
            for ddof values or fewer, and NaN where one of them is infinite or NaN.

    >>> var("price"), var("price", ddof=0)
    (agg.var(col.price), agg.var(col.price, ddof=0))
    """
    return Aggregate("var", (_expr(x),), ddof)


def std(x: Expr | str, ddof: int = 1) -> Aggregate:
    """Take the standard deviation of numbers, float64: the square root of var.

    Args:
        x, ddof: as of var.

    >>> std("price")
    agg.std(col.price)
    """
    return Aggregate("std", (_expr(x),), ddof)


def first(x: Expr | str) -> Aggregate:
    """Take the value of the row with the earliest event time that has one; of several, of the first to arrive.

    >>> first("price")
    agg.first(col.price)
    """
    return Aggregate("first", (_expr(x),))


def last(x: Expr | str) -> Aggregate:
    """Take the value of the row with the latest event time that has one; of several, of the last to arrive.

    >>> last("price")
    agg.last(col.price)
    """
    return Aggregate("last", (_expr(x),))


def arg_min(x: Expr | str, by: Expr | str) -> Aggregate:
    """Take x of the row in which `by` is least; of several, of the earliest (by event time, then arrival).

    Rows in which x or `by` is null do not count.

    >>> arg_min("seller", by="price")
    agg.arg_min(col.seller, col.price)
    """
    return Aggregate("arg_min", (_expr(x), _expr(by)))


def arg_max(x: Expr | str, by: Expr | str) -> Aggregate:
    """Take x of the row in which `by` is greatest; of several, of the earliest (by event time, then arrival).

    Rows in which x or `by` is null do not count.

    >>> arg_max("seller", by="price")
    agg.arg_max(col.seller, col.price)
    """
    return Aggregate("arg_max", (_expr(x), _expr(by)))


def median(x: Expr | str) -> Aggregate:
    """Take the median of numbers, float64: quantile(x, 0.5).

    >>> median("price")
    agg.median(col.price)
    """
    return Aggregate("median", (_expr(x),))


def quantile(x: Expr | str, q: float) -> Aggregate:
    """Take a quantile of numbers, float64.

    Exact for up to 2,048 values: between two of them it is interpolated, as NumPy and SQL's percentile_cont do. Of
    more, values are told apart to 8 binary digits: the result is that of values each off by at most 0.4 %.

    Args:
        x: an expression over the row, or the name of a column.
        q: from 0 (least) to 1 (greatest).

    Raises:
        DefinitionError: q is outside.

    >>> quantile("price", 0.99)
    agg.quantile(col.price, 0.99)
    """
    return Aggregate("quantile", (_expr(x),), q)


def distinct(x: Expr | str) -> Aggregate:
    """Count the different values, int64: exactly up to 4,096, beyond that by a theta sketch (standard error 1.6 %).

    >>> distinct("user")
    agg.distinct(col.user)
    """
    return Aggregate("distinct", (_expr(x),))


def top_k(x: Expr | str, k: int) -> Aggregate:
    """List the k most frequent values with their counts, most frequent first, equal counts by value.

    The result is a list of structs (value, count). Exact as long as a window has at most 4,096 different values; beyond
    that counts are lower bounds (Misra and Gries): each is too low by less than 1 / 4,096 of the window's rows.

    Args:
        x: an expression over the row, or the name of a column; not payload.
        k: how many, 1 to 1,024.

    Raises:
        DefinitionError: k is outside.

    >>> top_k("country", 3)
    agg.top_k(col.country, 3)
    """
    return Aggregate("top_k", (_expr(x),), k)


def collect(x: Expr | str) -> Aggregate:
    """List the values in order of arrival.

    Memory grows with the rows of the window.

    >>> collect("price")
    agg.collect(col.price)
    """
    return Aggregate("collect", (_expr(x),))


def udf(make: Callable[[], Any] | str, *x: Expr | str, result: str = "float64") -> Aggregate:
    """Use an aggregate written in Python.

    Args:
        make: a class or function, or its name as "module:name"; called without arguments it gives an accumulator: an
            object with the methods

            add(*values)      takes a row in; None for null
            merge(other)      takes in the rows of another accumulator, which stays as it is
            result()          gives a value of the type `result`, or None
            save(), load(state)   optional, for snapshots: what JSON can say, and back, in a fresh accumulator

        x: expressions over the row, or names of columns: the values that add gets.
        result: int64, float64, bool, string, bytes, timestamp, duration or date.

    Raises:
        DefinitionError: not callable, not importable, or a type that is not in the list.

    >>> class Product:
    ...     def __init__(self): self.value = 1.0
    ...     def add(self, x): self.value *= x
    ...     def merge(self, other): self.value *= other.value
    ...     def result(self): return self.value
    >>> udf(Product, "factor").args
    (col.factor,)
    """
    return Aggregate("udf", tuple(map(_expr, x)), None, _imported(make) if isinstance(make, str) else make, result)


# --- JSON -----------------------------------------------------------------------------------------------------------


def to_json(aggregate: Aggregate) -> dict[str, Any]:
    """Give an aggregate as plain dicts, lists and scalars.

    Raises:
        DefinitionError: a udf, or a Python callable in an argument, has no importable name.

    >>> to_json(quantile("price", 0.5))
    {'kind': 'quantile', 'args': [{'op': 'col', 'name': 'price'}], 'parameter': 0.5, 'make': None, 'result': None}
    """
    name = None
    if aggregate.make is not None:
        name = name_of(aggregate.make)
        if name is None:
            raise DefinitionError(
                f"{aggregate!r} cannot be written as JSON: a local class or function has no name that can be imported; "
                "define it at the top of a module"
            )
    return {
        "kind": aggregate.kind,
        "args": [ex.to_json(arg) for arg in aggregate.args],
        "parameter": aggregate.parameter,
        "make": name,
        "result": aggregate.result,
    }


def from_json(node: Mapping[str, Any], *, callables: bool = False) -> Aggregate:
    """Read an aggregate that `to_json` wrote.

    Args:
        node: the dict.
        callables: import the Python code that it names. Importing runs code: only for text that you trust.

    Raises:
        DefinitionError: not such a dict, or it names Python code and `callables` is False.

    >>> from_json(to_json(top_k("country", 3)))
    agg.top_k(col.country, 3)
    """
    try:
        make = node["make"]
        if make is not None and not callables:
            raise DefinitionError(
                f"the JSON names {make!r}; importing it runs code: pass callables=True if you trust it"
            )
        args = tuple(ex.from_json(arg, callables=callables) for arg in node["args"])
        return Aggregate(
            node["kind"], args, node["parameter"], None if make is None else _imported(make), node["result"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DefinitionError(f"not the JSON of an aggregate: {node!r} ({error})") from error


# --- checks and helpers ---------------------------------------------------------------------------------------------


def name_of(make: Callable[[], Any]) -> str | None:
    """Give "module:qualname" if importing that name gives this very object."""
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return f"{module}:{name}" if found is make else None


def _imported(name: str) -> Callable[[], Any]:
    module, colon, qualname = name.partition(":")
    if not (module and colon and qualname):
        raise DefinitionError(f'agg.udf({name!r}): write the name as "module:name"')
    try:
        found: object = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise DefinitionError(f"agg.udf({name!r}): {error}") from None
    if not callable(found):
        raise DefinitionError(f"agg.udf({name!r}): not callable")
    return found


def _expr(x: Expr | str) -> Expr:
    return ex.Column(x) if isinstance(x, str) else x


def _check_arg(kind: str, arg: object) -> None:
    if not isinstance(arg, Expr):
        raise DefinitionError(
            f"agg.{kind}({arg!r}): the name of a column or an expression is needed, as col.price"
            + ("; rows are counted by agg.count()" if kind in ("sum", "count") else "")
        )
    for node in ex.walk(arg):
        if isinstance(node, ex.Agg | ex.Prev) or (isinstance(node, ex.Call) and node.arity == 2):
            raise DefinitionError(f"agg.{kind}({arg!r}): it can read only the columns of its own row, not {node!r}")


def _check_parameter(kind: str, given: object) -> None:
    whole = isinstance(given, int) and not isinstance(given, bool)
    if kind in ("var", "std"):
        if not (whole and isinstance(given, int) and 0 <= given <= 2**31 - 1):
            raise DefinitionError(f"agg.{kind}: ddof is a whole number from 0, not {given!r}")
    elif kind == "quantile":
        if not ((whole or isinstance(given, float)) and isinstance(given, int | float) and 0 <= given <= 1):
            raise DefinitionError(f"agg.quantile: q is a number from 0 to 1, not {given!r}")
    elif kind == "top_k":
        if not (whole and isinstance(given, int) and 1 <= given <= 1024):
            raise DefinitionError(f"agg.top_k: k is a whole number from 1 to 1,024, not {given!r}")
    elif given is not None:
        raise DefinitionError(f"agg.{kind}: it takes no parameter, got {given!r}")


def _check_udf(make: object, result: object) -> None:
    if not callable(make):
        raise DefinitionError(f"agg.udf({make!r}): a class, or a function that makes an accumulator, is needed")
    if result not in UDF_RESULTS:
        raise DefinitionError(f"agg.udf: result={result!r} is not one of {', '.join(UDF_RESULTS)}")
    if isinstance(make, type):
        missing = [name for name in ("add", "merge", "result") if not callable(getattr(make, name, None))]
        if missing:
            raise DefinitionError(f"agg.udf({make.__name__}): it has no method {', '.join(missing)}")
