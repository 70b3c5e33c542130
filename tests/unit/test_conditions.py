"""Results depend on the events and their order alone: not on batches, input formats, keys or other patterns."""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, Final

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import Expr, begin, col, expr, func, lit, prev, ref

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

COLUMNS: Final = {
    "i": pa.int64(), "j": pa.int64(), "f": pa.float64(), "g": pa.float64(), "b": pa.bool_(), "c": pa.bool_(),
    "s": pa.string(), "u": pa.string(), "y": pa.binary(), "d": pa.duration("us"), "day": pa.date32(),
    "at": pa.timestamp("us", "UTC"), "to": pa.timestamp("us", "UTC"),
}  # fmt: skip
SCHEMA: Final = pa.schema([("n", pa.int64()), *COLUMNS.items()])

# -------------------------------------------------------------------------------- the plain evaluation

UNDEFINED: Final = object()
Row = dict[str, Any]


@dataclass
class Scene:
    """What a condition can see: the row, the one before it, and the rows that each stage has taken."""

    row: Row
    before: Row | None = None
    stages: dict[str, list[Row]] = field(default_factory=dict)


def physical(value: Any) -> Any:
    """Times and dates as the numbers they are compared by."""
    if isinstance(value, dt.datetime):
        return (value - EPOCH) // dt.timedelta(microseconds=1) * 1000
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(microseconds=1) * 1000
    if isinstance(value, dt.date):
        return value.toordinal()
    return value


def either_float(x: Any, y: Any) -> tuple[Any, Any]:
    """An int beside a float is taken as a float."""
    return (float(x), float(y)) if isinstance(x, float) or isinstance(y, float) else (x, y)


def in_range(x: int) -> int | None:
    return x if INT64_MIN <= x <= INT64_MAX else None


COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
}
# RE2's spelling, and Python's of the same.
REGEX: Final = {"b$": r"b\Z", "^$": r"^\Z"} | {same: same for same in ("^a", "a.c", "[0-9]+", "x|y", "(?i)AB", "")}


def evaluate(e: Expr, scene: Scene) -> Any:
    """Give a value, None for null, or UNDEFINED."""
    match e:
        case expr.Column(name):
            return physical(scene.row[name])
        case expr.Prev(name):
            return None if scene.before is None else physical(scene.before[name])
        case expr.Literal(value):
            return physical(value)
        case expr.Agg():
            return aggregate(e, scene.stages[e.stage])
        case expr.Unary("is_null", arg):
            return evaluate(arg, scene) in (None, UNDEFINED)
        case expr.Unary("not", arg):
            x = truth(arg, scene)
            return None if x is None else not x
        case expr.Unary("neg", arg):
            x = evaluate(arg, scene)
            return x if x in (None, UNDEFINED) else -x if isinstance(x, float) else in_range(-x)
        case expr.Binary("and", left, right):
            x, y = truth(left, scene), truth(right, scene)
            return False if x is False or y is False else None if x is None or y is None else True
        case expr.Binary("or", left, right):
            x, y = truth(left, scene), truth(right, scene)
            return True if x is True or y is True else None if x is None or y is None else False
        case expr.Binary(op, left, right):
            x, y = evaluate(left, scene), evaluate(right, scene)
            if UNDEFINED in (x, y):
                return False if op in COMPARE else UNDEFINED
            if x is None or y is None:
                return None
            x, y = either_float(x, y)
            return COMPARE[op](x, y) if op in COMPARE else arithmetic(op, x, y)
        case expr.IsIn(arg, values):
            if not values:
                return False
            x = evaluate(arg, scene)
            return None if x is None else x is not UNDEFINED and any(x == physical(v) for v in values)
        case expr.StrOp(op, arg, pattern):
            return string_test(op, evaluate(arg, scene), pattern)
        case expr.Func(fn, args):
            found = [evaluate(a, scene) for a in args]
            if UNDEFINED in found:
                return UNDEFINED
            return None if None in found else function(fn, found)
    raise AssertionError(e)


def truth(e: Expr, scene: Scene) -> bool | None:
    """The value of a condition: an undefined one does not hold."""
    value = evaluate(e, scene)
    return False if value is UNDEFINED else value


def arithmetic(op: str, x: Any, y: Any) -> Any:
    """What overflows int64, or divides by zero, is null; else Python's own result."""
    if op in ("truediv", "floordiv", "mod") and y == 0:
        return None
    if op == "truediv":
        return float(x) / float(y)
    result = getattr(operator, op)(x, y)
    return result if isinstance(result, float) else in_range(result)


def string_test(op: str, x: Any, pattern: str) -> bool | None:
    if x is None:
        return None
    if x is UNDEFINED:
        return False
    if op == "matches":
        return re.search(REGEX[pattern], x) is not None
    part: Any = pattern.encode() if isinstance(x, bytes) else pattern
    return {"starts_with": x.startswith, "ends_with": x.endswith, "contains": x.__contains__}[op](part)


def function(fn: str, args: list[Any]) -> Any:
    if fn in ("least", "greatest"):
        if any(isinstance(a, float) for a in args):
            args = [float(a) for a in args]
        return min(args) if fn == "least" else max(args)
    if fn == "abs":
        return abs(args[0]) if isinstance(args[0], float) else in_range(abs(args[0]))
    x = float(args[0])
    if fn == "atan2":
        return math.atan2(x, float(args[1]))
    if fn in ("floor", "ceil"):
        return x if not math.isfinite(x) else float(getattr(math, fn)(x))
    if fn == "log" and x == 0:
        return -math.inf
    try:
        return getattr(math, fn)(x)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def aggregate(e: expr.Agg, rows: list[Row]) -> Any:
    value = aggregate_of(e.fn, [physical(row[e.column]) for row in rows])
    if value is UNDEFINED:
        value = UNDEFINED if e.empty is None else e.empty
    as_float = isinstance(e.empty, float) and isinstance(value, int) and not isinstance(value, bool)
    return float(value) if as_float else value


def aggregate_of(fn: str, found: list[Any]) -> Any:
    if not found:
        return UNDEFINED
    if fn in ("first", "last"):
        return found[0 if fn == "first" else -1]
    values = [v for v in found if v is not None]
    if fn == "count":
        return len(values)
    if not values:
        return None
    if fn in ("min", "max"):
        return min(values) if fn == "min" else max(values)
    total: Any = 0
    for v in values:
        total = total + v
        if isinstance(total, int) and in_range(total) is None:
            return None
    return total if fn == "sum" else total / float(len(values))


# -------------------------------------------------------------------------------- random rows

INTS: Final = (INT64_MIN, INT64_MIN + 1, INT64_MAX, 2**53, 2**53 + 1, 2**32, -(2**31), *range(-4, 5))
FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.0, 1e308, 5e-324, 0.1, 0.3, 7.25, math.nan, math.inf, -math.inf)
TEXTS: Final = ("", "a", "ab", "abc", "b", "x1", "é", "\U0001f41f", "aXc", "AB")
VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "int": INTS, "float": FLOATS, "bool": (False, True), "str": TEXTS, "bytes": tuple(t.encode() for t in TEXTS),
    "time": tuple(EPOCH + n * dt.timedelta(hours=1) for n in range(-5, 6)),
    "span": tuple(n * dt.timedelta(hours=1) for n in range(-3, 4)),
    "date": tuple(dt.date(1970, 1, n) for n in range(1, 6)),
}  # fmt: skip
NAMES: Final = {
    "int": "ij", "float": "fg", "bool": "bc", "str": "su", "bytes": "y", "span": "d", "time": ["at", "to"],
    "date": ["day"],
}  # fmt: skip
TYPE_OF: Final = {name: kind for kind, names in NAMES.items() for name in names}


def random_rows(random: Random, n: int) -> list[Row]:
    """One value in six is null."""
    return [
        {name: random.choice(VALUES[TYPE_OF[name]]) if random.randrange(6) else None for name in COLUMNS}
        for _ in range(n)
    ]


# -------------------------------------------------------------------------------- random conditions


class Author:
    """Writes typed random expressions; beside columns and constants they may read the row before, and stage a."""

    def __init__(self, random: Random, previous: bool = False, stage: bool = False) -> None:
        self.random = random
        self.previous = previous
        self.stage = stage

    def one_of(self, *values: Any) -> Any:
        return self.random.choice(values)

    def conditions(self, n: int) -> list[Expr]:
        """Several, of growing depth."""
        return [self.condition(1 + i * 4 // n) for i in range(n)]

    def condition(self, depth: int) -> Expr:
        """Anything true or false."""
        if depth == 0:
            return self.leaf("bool")
        match self.one_of("compare", "compare", "and", "or", "not", "other", "null", "text", "set", "leaf", "equal"):
            case "compare":
                numbers = self.one_of("int", "float"), self.one_of("int", "float")
                return expr.Binary(self.one_of(*COMPARE), *[self.number(kind, depth - 1) for kind in numbers])
            case "and" | "or" as op:
                return expr.Binary(op, self.condition(depth - 1), self.condition(depth - 1))
            case "not":
                return ~self.condition(depth - 1)
            case "other":
                kind = self.one_of("str", "bytes", "time", "span", "date")
                return expr.Binary(self.one_of(*COMPARE), self.other(kind), self.other(kind))
            case "null":
                kind = self.one_of(*NAMES)
                return (self.number(kind, depth - 1) if kind in ("int", "float") else self.other(kind)).is_null()
            case "text":
                if self.one_of(True, False):
                    part_op = self.one_of("starts_with", "ends_with", "contains")
                    return expr.StrOp(part_op, self.leaf(self.one_of("str", "bytes")), self.one_of(*TEXTS))
                return expr.StrOp("matches", self.leaf("str", constants=False), self.one_of(*REGEX))
            case "set":
                kind = self.one_of("int", "float", "str", "time", "bool")
                values = tuple(self.random.choices(VALUES[kind], k=self.one_of(0, 1, 2, 4)))
                number = kind in ("int", "float")
                return expr.IsIn(self.number(kind, depth - 1) if number else self.leaf(kind), values)
            case "equal":
                return expr.Binary(self.one_of("eq", "ne"), self.condition(depth - 1), self.condition(depth - 1))
        return self.leaf("bool")

    def number(self, kind: str, depth: int) -> Expr:
        """Any number of a type: sums of ints are ints."""
        shapes = ["leaf", "leaf", "binary", "binary", "fold", "abs", "neg"]
        shape = (
            "leaf" if depth == 0 else self.one_of(*shapes, *(["div", "fn", "fn", "mixed"] if kind == "float" else []))
        )
        either = self.one_of("int", "float")
        arithmetic_ops = ("add", "sub", "mul", "floordiv", "mod")
        match shape:
            case "binary":
                return expr.Binary(
                    self.one_of(*arithmetic_ops), self.number(kind, depth - 1), self.number(kind, depth - 1)
                )
            case "mixed":
                kinds = self.one_of(("int", "float"), ("float", "int"))
                return expr.Binary(self.one_of(*arithmetic_ops), *[self.number(k, depth - 1) for k in kinds])
            case "fold":
                args = (self.number(kind, depth - 1), self.number(kind, depth - 1))
                return expr.Func(self.one_of("least", "greatest"), args)
            case "abs":
                return self.number(kind, depth - 1).abs()
            case "neg":
                return -self.number(kind, depth - 1)
            case "div":
                if self.one_of(True, False):
                    return self.leaf("span") / self.leaf("span")
                return self.number(either, depth - 1) / self.number(either, depth - 1)
            case "fn":
                fn = self.one_of("atan2", *(f for f in expr.FUNCTIONS_1 if f != "abs"))
                return expr.Func(fn, tuple(self.number(either, depth - 1) for _ in range(2 if fn == "atan2" else 1)))
        return self.leaf(kind)

    def other(self, kind: str) -> Expr:
        """A value that is no number."""
        match kind, self.one_of(0, 1, 2):
            case "time", 1:
                return self.leaf("time") + self.leaf("span")
            case "time", 2:
                return self.leaf("time") - self.leaf("span")
            case "span", 1:
                return self.leaf("time") - self.leaf("time")
            case "span", 2:
                return -self.leaf("span")
        return self.leaf(kind)

    def leaf(self, kind: str, constants: bool = True) -> Expr:
        shapes = ["column", "column"] + ["constant"] * constants + ["prev", "prev"] * self.previous
        name = self.one_of(*NAMES[kind])
        match self.one_of(*shapes, *["agg"] * (3 * self.stage)):
            case "column":
                return expr.Column(name)
            case "prev":
                return expr.Prev(name)
            case "constant":
                return expr.Literal(self.one_of(*VALUES[kind]))
        fns = ["first", "last"]
        if kind in ("int", "float", "time", "span", "date"):
            fns += ["min", "max"]
        fns += {"int": ["sum", "count"], "float": ["sum", "avg"]}.get(kind, [])
        fn = self.one_of(*fns)
        if fn == "count":
            return expr.Agg(fn, "a", self.one_of(*COLUMNS), self.one_of(None, 0))
        return expr.Agg(fn, "a", name, self.one_of(*{"int": (None, -2, 2), "float": (None, 0.5)}.get(kind, (None,))))


# -------------------------------------------------------------------------------- the engine's verdict

searching = settings(max_examples=settings.default.max_examples // 5, deadline=None)
SEEDS = st.integers(0, 2**32)


def numbered(rows: list[Row]) -> list[Row]:
    return [{"n": n, **row} for n, row in enumerate(rows)]


def table(rows: list[Row]) -> pa.Table:
    """The rows as the end of a longer table, so that bits and offsets do not start at zero."""
    longer = [*rows[:3], *rows]
    return pa.Table.from_pylist(longer, schema=SCHEMA).slice(len(longer) - len(rows))


def taken(patterns: list[fyke.Pattern], batches: list[Any]) -> list[list[int]]:
    """For each pattern, the numbers of the rows that its stage x has taken; all in one engine."""
    named = {str(i): p for i, p in enumerate(patterns)}
    engine = fyke.Engine(named, time="n", unit="s", schema=SCHEMA, max_partials=1000)
    found: dict[str, list[int]] = {name: [] for name in named}
    for result in [*[engine.push(batch) for batch in batches], engine.flush()]:
        for match in result:
            found[match.pattern].append(match["x"]["n"])
    return list(found.values())


def compare(conditions: list[Expr], scenes: list[Scene], found: list[list[int]], how: str) -> None:
    """Check that the rows taken are those for which Python says true; shows the shortest condition that differs."""
    wrong = []
    for condition, numbers in zip(conditions, found, strict=True):
        for scene in scenes:
            value = evaluate(condition, scene)
            if (value is True) != (scene.row["n"] in numbers):
                leaves = [e for e in expr.walk(condition) if isinstance(e, expr.Column | expr.Prev | expr.Agg)]
                read = ", ".join(f"{e!r} = {shown(e, scene)}" for e in leaves)
                wrong.append(f"{condition!r} is {value} in Python and not {how}, with {read}")
    assert not wrong, min(wrong, key=len)


def shown(leaf: Expr, scene: Scene) -> str:
    value = evaluate(leaf, scene)
    return "undefined" if value is UNDEFINED else repr(value)


@searching
@given(seed=SEEDS)
def test_a_condition_holds_for_the_rows_for_which_python_says_true(seed: int) -> None:
    random = Random(seed)
    conditions = Author(random).conditions(40)
    rows = numbered(random_rows(random, 20))
    scenes = [Scene(row) for row in rows]
    patterns = [begin("x", condition) for condition in conditions]
    compare(conditions, scenes, taken(patterns, [rows]), "as a batch of dicts")
    compare(conditions, scenes, taken(patterns, [[row] for row in rows]), "row by row")
    compare(conditions, scenes, taken(patterns, [table(rows)]), "as an Arrow table")


@searching
@given(seed=SEEDS)
def test_the_one_row_path_gives_what_the_batch_path_gives(seed: int) -> None:
    random = Random(seed)
    conditions = Author(random).conditions(40)
    rows = numbered(random_rows(random, 20))
    found = taken([row_by_row(condition) for condition in conditions], [rows])
    compare(conditions, [Scene(row) for row in rows[1:]], found, "row by row")


def row_by_row(condition: Expr) -> fyke.Pattern:
    """What reads the partial match is judged row by row; a part that is never true does not change the verdict."""
    correlated = condition | (ref("zero").n.count() < 0)
    return begin("zero", col.n == 0).followed_by_any("x", correlated).within("1h")


@searching
@given(seed=SEEDS)
def test_prev_is_the_row_before_and_null_for_the_first(seed: int) -> None:
    random = Random(seed)
    conditions = Author(random, previous=True).conditions(40)
    rows = numbered(random_rows(random, 20))
    scenes = [Scene(row, before) for before, row in zip([None, *rows], rows, strict=False)]
    patterns = [begin("x", condition) for condition in conditions]
    compare(conditions, scenes, taken(patterns, [rows]), "as a batch of dicts")
    compare(conditions, scenes, taken(patterns, [table(rows[:7]), table(rows[7:])]), "as two Arrow tables")


@searching
@given(seed=SEEDS, n_held=st.integers(0, 4))
def test_aggregates_are_over_what_the_partial_match_holds(seed: int, n_held: int) -> None:
    random = Random(seed)
    conditions = Author(random, previous=True, stage=True).conditions(30)
    rows = numbered(random_rows(random, n_held + 11))
    stages = {"a": rows[1 : n_held + 1]}
    scenes = [Scene(rows[n], rows[n - 1], stages) for n in range(n_held + 1, len(rows))]
    patterns = [holding(n_held).followed_by_any("x", c).within("1h") for c in conditions]
    compare(conditions, scenes, taken(patterns, [rows]), "as a batch of dicts")
    compare(conditions, scenes, taken(patterns, [table(rows)]), "as an Arrow table")


def holding(n: int) -> fyke.Pattern:
    """Takes row 0, and the n rows after it as stage a."""
    start = begin("zero", col.n == 0)
    return start.next("a").times(n).consecutive() if n else start.next("a", lit(False)).optional()


# -------------------------------------------------------------------------------- by hand

ROW: Final = dict.fromkeys(COLUMNS)


def verdict(condition: Expr, **values: Any) -> bool:
    """Whether a condition holds for one row, on both paths."""
    row = {"n": 1, **ROW, **values}
    batch, single = taken([begin("x", condition), row_by_row(condition)], [[{"n": 0, **ROW}, row]])
    assert (1 in batch) == (1 in single)
    return 1 in batch


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        (col.i // 2 == -4, {"i": -7}),
        (col.i % 3 == 2, {"i": -7}),
        (col.i % -3 == -1, {"i": 8}),
        (col.f // 2.0 == -4.0, {"f": -7.0}),
        (col.f % 3.0 == 2.0, {"f": -7.0}),
        (col.f // 0.1 == 9.0, {"f": 1.0}),  # as in Python: 0.1 is a little more than a tenth
        (col.i / 2 == 3.5, {"i": 7}),
        (col.i + 1 > 0, {"i": INT64_MAX - 1}),
        (col.i % -1 == 0, {"i": INT64_MIN}),
        (func.least(col.i, col.f) == -0.5, {"i": 2, "f": -0.5}),
        (func.greatest(col.i, col.j, 3) == 3, {"i": 1, "j": 2}),
        (func.atan2(col.f, 1) == math.atan2(0.5, 1), {"f": 0.5}),
        (col.f.radians() == math.pi, {"f": 180.0}),
        (col.at - col.to == dt.timedelta(hours=2), {"at": EPOCH + dt.timedelta(hours=2), "to": EPOCH}),
        ((col.at - col.to) / dt.timedelta(hours=1) == 1.5, {"at": EPOCH + dt.timedelta(minutes=90), "to": EPOCH}),
        (col.day > dt.date(2024, 2, 28), {"day": dt.date(2024, 2, 29)}),
        (col.s < col.u, {"s": "\uffff", "u": "\U00010000"}),  # code points, not UTF-16 units
        (col.s.contains("\x00b"), {"s": "a\x00b"}),
        (col.y.starts_with("é"), {"y": "été".encode()}),
        (col.s.matches("^f.*d$"), {"s": "food"}),
    ],
)
def test_a_condition_holds(condition: Expr, values: Row) -> None:
    assert verdict(condition, **values)
    assert not verdict(~condition, **values)


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        (col.i > 0, {}),
        (col.i + 1 > col.i, {"i": INT64_MAX}),
        (col.i * 2 != 1, {"i": 2**62}),
        (-col.i != 1, {"i": INT64_MIN}),
        (col.i.abs() != 1, {"i": INT64_MIN}),
        (col.i // col.j != 1, {"i": 1, "j": 0}),
        (col.i % col.j != 1, {"i": 1, "j": 0}),
        (col.i / col.j != 1, {"i": 1, "j": 0}),
        (col.f / col.g != 1, {"f": 1.0, "g": 0.0}),
        (col.f // col.g != 1, {"f": 1.0, "g": -0.0}),
        (col.i // col.j != 1, {"i": INT64_MIN, "j": -1}),
        (col.i.is_in([1, 2]), {}),
        (col.s.contains("x"), {}),
        (col.s.matches("x"), {}),
        (func.least(col.i, col.j) == 1, {"i": 1}),
        (col.b, {}),
        ((col.i > 0) & col.b, {"i": 1}),
        ((col.i > 0) | col.b, {"i": -1}),
    ],
)
def test_null_makes_neither_the_condition_nor_its_negation_hold(condition: Expr, values: Row) -> None:
    assert not verdict(condition, **values)
    assert not verdict(~condition, **values)
    assert verdict(condition.is_null(), **values)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (col.f == col.f, False),
        (col.f != col.f, True),
        (col.f < 1.0, False),
        (~(col.f < 1.0), True),
        (col.f.is_null(), False),
        (col.f.is_in([math.nan, 1.0]), False),
        (col.f.is_in([]), False),
    ],
)
def test_nan_is_a_value_that_equals_nothing(condition: Expr, holds: bool) -> None:
    assert verdict(condition, f=math.nan) is holds


@pytest.mark.parametrize("whole", [0.0, -0.0])
def test_zero_has_no_sign_in_comparisons_sets_and_keys(whole: float) -> None:
    assert verdict(col.f == 0.0, f=whole)
    assert verdict(col.f.is_in([0.0, 5.0]), f=whole)
    assert verdict(col.f.is_in([-0.0, 5.0]), f=whole)


def test_false_decides_an_and_beside_null_and_true_an_or() -> None:
    assert verdict(~((col.i > 0) & col.b), i=-1)
    assert verdict((col.i > 0) | col.b, i=1)


def judged(held: list[Row], row: Row, condition: Expr) -> bool:
    """Whether a condition holds for a row when stage a holds these."""
    rows = numbered([ROW, *[{**ROW, **values} for values in held], {**ROW, **row}])
    return taken([holding(len(held)).next("x", condition).within("1h")], [rows]) == [[len(held) + 1]]


A = ref("a")


@pytest.mark.parametrize(
    "comparison",
    [
        A.i.sum() == 0, A.i.sum() != 0, A.i.count() < 1, A.i.avg() < 1, A.i.min() < A.i.max(), col.i > A.i.last(),
        A.s == "s", A.s != "s", A.s.contains("s"), A.s.matches("s"), A.i.is_in([0, 1]), A.b, A.b != col.b,
        A.i.sum() + 1 > 0, func.least(A.i.sum(), 0) < 1, -A.i.sum() < 1, A.day.max() > dt.date(1970, 1, 1),
    ],
)  # fmt: skip
def test_a_comparison_with_an_aggregate_over_no_event_is_false_and_its_negation_true(comparison: Expr) -> None:
    row = {"i": 1, "f": 1.0, "b": True, "s": "s"}
    assert not judged([], row, comparison)
    assert judged([], row, ~comparison)


def test_an_aggregate_over_no_event_has_the_value_that_empty_gives() -> None:
    assert judged([], {}, A.i.sum(empty=0) == 0)
    assert judged([], {}, A.i.count(empty=0) == 0)
    assert judged([], {}, A.i.avg(empty=0.5) == 0.5)
    assert judged([], {}, A.i.last(empty=7) == 7)
    assert judged([], {}, A.i.sum().is_null())


def test_an_aggregate_passes_over_nulls_and_is_null_over_nothing_else() -> None:
    held = [{"i": 5}, {"i": None}, {"i": 3}]
    assert judged(held, {}, (A.i.sum() == 8) & (A.i.count() == 2) & (A.i.avg() == 4.0))
    assert judged(held, {}, (A.i.min() == 3) & (A.i.max() == 5))
    assert judged(held, {}, (A.i.first() == 5) & (A.i.last() == 3) & (A.f.count() == 0))
    assert not judged(held, {}, A.f.sum() == 0)
    assert not judged(held, {}, ~(A.f.sum() == 0))
    assert not judged(held, {}, A.f.sum(empty=0.0) == 0), "there are events, so empty= says nothing"


def test_an_integer_sum_that_overflows_is_null_from_then_on() -> None:
    held = [{"i": INT64_MAX}, {"i": 1}, {"i": -5}]
    for condition in (A.i.sum() > 0, ~(A.i.sum() > 0), A.i.avg() > 0):
        assert not judged(held, {}, condition)
    assert judged(held, {}, (A.i.min() == -5) & (A.i.max() == INT64_MAX) & (A.i.count() == 3))


def test_a_large_is_in_is_searched_in_order() -> None:
    values = list(range(0, 20_000, 3))
    assert verdict(col.i.is_in(values), i=9_999)
    assert not verdict(col.i.is_in(values), i=10_000)
    words = [f"word{n}" for n in range(3_000)]
    assert verdict(col.s.is_in(words), s="word2999")
    assert not verdict(col.s.is_in(words), s="word3000")


@pytest.mark.parametrize("n", [255, 256, 257, 511, 512, 513, 2_000])
def test_a_batch_of_any_length_is_judged_whole(n: int) -> None:
    rows = pa.table({"n": pa.array(range(n)), "i": pa.array([k % 7 if k % 5 else None for k in range(n)], pa.int64())})
    engine = fyke.Engine(begin("x", (col.i * 2 > 6) & (prev.i != 1)), time="n", unit="s")
    found = [m["x"]["n"] for m in [*engine.push(rows), *engine.flush()]]
    values = [k % 7 if k % 5 else None for k in range(n)]
    pairs = enumerate(pairwise(values), 1)
    assert found == [k for k, (before, now) in pairs if now is not None and now > 3 and before not in (None, 1)]


# -------------------------------------------------------------------------------- conditions in Python


def rows_of(*xs: float) -> list[Row]:
    return [{"t": n, "x": x} for n, x in enumerate(xs)]


def test_a_callable_of_the_event_sees_one_row_by_name_and_by_attribute() -> None:
    seen: list[Any] = []

    def judge(event: Any) -> bool:
        seen.append((dict(event), event.x))
        return event["x"] > 1

    engine = fyke.Engine(begin("x", judge), time="t", unit="s")
    found = [m["x"]["x"] for m in [*engine.push(rows_of(1.0, 2.0)), *engine.flush()]]
    assert found == [2.0]
    assert seen == [({"t": 0, "x": 1.0}, 1.0), ({"t": 1, "x": 2.0}, 2.0)]


def test_a_callable_of_the_match_so_far_sees_each_stage_as_a_list() -> None:
    def more_than_all(event: Any, so_far: Any) -> bool:
        return event["x"] > sum(e["x"] for e in so_far["up"])

    pattern = begin("up", more_than_all).times(3).within("1h")
    engine = fyke.Engine(pattern, time="t", unit="s")
    found = [[e["x"] for e in m["up"]] for m in [*engine.push(rows_of(1.0, 2.0, 3.0, 4.0)), *engine.flush()]]
    assert found == [[1.0, 2.0, 4.0]]


def test_a_callable_and_expressions_join_with_and_or_not() -> None:
    def odd(event: Any, so_far: Any) -> bool:
        return event["x"] % 2 == 1

    for condition, wanted in (
        (fyke.call(odd) & (col.x > 2), [3.0]),
        (fyke.call(odd) | (col.x > 3), [1.0, 3.0, 4.0]),
        (~fyke.call(odd) & (col.x > 2), [4.0]),
        (~(fyke.call(odd) | (col.x > 3)), [2.0]),
    ):
        pattern = begin("zero", col.t == 0).followed_by_any("x", condition).within("1h")
        engine = fyke.Engine(pattern, time="t", unit="s")
        found = [m["x"]["x"] for m in [*engine.push(rows_of(0.0, 1.0, 2.0, 3.0, 4.0)), *engine.flush()]]
        assert found == wanted, condition


def test_a_callable_of_the_event_that_raises_leaves_the_engine_as_it_was() -> None:
    def judge(event: Any) -> bool:
        return 1 / event["x"] > 0

    engine = fyke.Engine(begin("a", judge).followed_by("b").within("1h"), time="t", unit="s")
    engine.push(rows_of(1.0))
    before = engine.statistics()
    with pytest.raises(ZeroDivisionError):
        engine.push([{"t": 1, "x": 1.0}, {"t": 2, "x": 0.0}])
    assert engine.statistics() == before
    assert len([*engine.push([{"t": 3, "x": 5.0}]), *engine.flush()]) == 1


def test_a_callable_of_the_match_that_raises_stops_the_engine_and_says_so() -> None:
    def judge(event: Any, so_far: Any) -> bool:
        raise LookupError("no such card")

    engine = fyke.Engine(begin("a").followed_by("b", judge).within("1h"), time="t", unit="s", out_of_order="1s")
    engine.push(rows_of(1.0))
    with pytest.raises(LookupError, match="no such card"):
        engine.push([{"t": 5, "x": 1.0}, {"t": 9, "x": 1.0}])
    said = "this engine has stopped: a Python condition raised LookupError at position 1"
    for use in (lambda: engine.push([]), lambda: engine.advance(5), engine.flush):
        with pytest.raises(fyke.FykeError, match=said):
            use()
    assert engine.statistics().rows == 3
