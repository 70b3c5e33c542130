"""Expressions as frozen trees: what they are built of, their code, their JSON, and the mistakes they catch."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from fyke import Expr, ExpressionError, call, col, expr, func, lit, prev, ref
from tests.unit.expressions import EXPRESSIONS

NAMES: dict[str, Any] = {"col": col, "prev": prev, "ref": ref, "func": func, "lit": lit, "call": call, "datetime": dt}


def is_large(event: Any) -> bool:
    """Stand in for a condition in Python."""
    return bool(event["amount"] > 500)


def is_larger(event: Any, match: Any) -> bool:
    """Stand in for a condition in Python that reads the match so far."""
    return bool(event["amount"] > match["a"][-1]["amount"])


# --- for all expressions --------------------------------------------------------------------------------------------


@given(EXPRESSIONS)
def test_repr_is_code_that_makes_the_same_expression(expression: Expr) -> None:
    """Brackets, quotes and names that are no identifiers come out right."""
    assert expression.equals(eval(repr(expression), NAMES))


@given(EXPRESSIONS)
def test_json_gives_the_same_expression(expression: Expr) -> None:
    """Through text, as another program would read it; NaN and infinities included."""
    text = json.dumps(expression.to_json(), allow_nan=False)
    assert expression.equals(expr.from_json(json.loads(text)))


@given(EXPRESSIONS)
def test_equal_structure_has_equal_hash(expression: Expr) -> None:
    """So that expressions are found in sets and dicts; also after copying and pickling."""
    for same in (copy.deepcopy(expression), pickle.loads(pickle.dumps(expression))):
        assert same.equals(expression)
        assert hash(same) == hash(expression)
        assert same in {expression}


# --- structure ------------------------------------------------------------------------------------------------------


def test_operators_build_the_named_nodes() -> None:
    """The trees that the compiler reads."""
    x, one = expr.Column("x"), expr.Literal(1)
    assert (col.x + 1).equals(expr.Binary("add", x, one))
    assert (1 - col.x).equals(expr.Binary("sub", one, x))
    assert (col.x // 1 % 1).equals(expr.Binary("mod", expr.Binary("floordiv", x, one), one))
    assert (1 < col.x).equals(expr.Binary("gt", x, one))  # noqa: SIM300
    assert (~(col.x != 1)).equals(expr.Unary("not", expr.Binary("ne", x, one)))
    assert (-col.x).equals(expr.Unary("neg", x))
    assert col.x.is_not_null().equals(expr.Unary("not", expr.Unary("is_null", x)))
    assert prev.x.equals(expr.Prev("x"))
    assert func.atan2(col.x, 1).equals(expr.Func("atan2", (x, one)))
    assert col["x"].abs().equals(expr.Func("abs", (x,)))


def test_a_bare_ref_is_the_last_value() -> None:
    """ref("a").x and its methods are one node each."""
    assert ref("a").x.equals(expr.Agg("last", "a", "x", None))
    assert ref("a").x.sum(empty=0).equals(expr.Agg("sum", "a", "x", 0))
    assert ref("a")["x"].avg().equals(expr.Agg("avg", "a", "x", None))
    with pytest.raises(ExpressionError, match="an aggregate of an aggregate"):
        ref("a").x.sum().max()


def test_literals_of_different_type_are_different() -> None:
    """1, 1.0 and True hash alike in Python; here they mean different comparisons."""
    assert len({lit(1), lit(1.0), lit(True)}) == 3
    assert len({lit(float("nan")), lit(float("nan"))}) == 1


def test_expressions_are_frozen() -> None:
    """An assignment to a column is a mistyped comparison."""
    with pytest.raises(AttributeError):
        (col.x > 1).op = "lt"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="did you mean =="):
        col.x = 1  # type: ignore[assignment]


def test_times_are_kept_in_utc() -> None:
    """A naive datetime is UTC; one with a zone is moved."""
    zoned = dt.datetime(2024, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert lit(zoned).equals(lit(dt.datetime(2024, 1, 1)))
    assert repr(col.ts > zoned) == "col.ts > datetime.datetime(2024, 1, 1, 0, 0)"


def test_numpy_scalars_are_plain_values_on_either_side() -> None:
    """NumPy must not turn an expression into an array."""
    assert (col.x > np.int64(3)).equals(col.x > 3)
    assert (np.float64(2.5) < col.x).equals(col.x > 2.5)
    assert (col.t < np.datetime64("2024-01-01T00:00:00", "s")).equals(col.t < dt.datetime(2024, 1, 1))


def test_walk_columns_and_children_see_every_node() -> None:
    """The helpers for whoever reads a tree."""
    tree = (col.a + prev.b > ref("s").c) & col.d.is_in([1])
    assert expr.columns(tree) == ("a", "b", "c", "d")
    assert [type(node).__name__ for node in expr.walk(tree)] == [
        "Column", "Prev", "Binary", "Agg", "Binary", "Column", "IsIn", "Binary",
    ]  # fmt: skip
    assert expr.children(col.a) == ()


def test_is_in_brings_its_values_to_one_type() -> None:
    """Twice the same value counts once; an int beside floats is a float."""
    assert col.x.is_in([1, 1, 2]).values == (1, 2)
    assert [type(value) for value in col.x.is_in([1, 2.5]).values] == [float, float]
    assert col.x.is_in([]).values == ()
    with pytest.raises(ExpressionError, match="must be of one type, not int and str"):
        col.x.is_in([1, "a"])
    with pytest.raises(ExpressionError, match=r"write is_in\(\['abc'\]\)"):
        col.x.is_in("abc")
    with pytest.raises(ExpressionError, match="would be rounded"):
        col.x.is_in([2**53 + 1, 0.5])


# --- Python callables -----------------------------------------------------------------------------------------------


def test_a_function_is_wrapped_with_its_arity_and_name() -> None:
    """Its name is the one by which it can be imported again."""
    one, two = call(is_large), call(is_larger)
    assert (one.fn, one.arity, two.arity) == (is_large, 1, 2)
    assert call("os.path:exists").name == "genericpath:exists"
    assert expr.from_json(call("genericpath:exists").to_json(), callables=True).equals(call("genericpath:exists"))
    assert ((col.x > 1) & is_large).equals((col.x > 1) & one)


def test_a_lambda_has_no_name_and_no_json() -> None:
    """It works, but cannot be stored."""
    condition = call(lambda event: True)
    assert condition.name is None
    with pytest.raises(ExpressionError, match="define it at the top of a module"):
        condition.to_json()


def test_json_does_not_import_code_unless_told_to() -> None:
    """A stored pattern from elsewhere must not run anything."""
    node = {"op": "call", "name": "os:getcwd", "arity": 1}
    with pytest.raises(ExpressionError, match="importing it runs code"):
        expr.from_json(node)


@pytest.mark.parametrize("function", [lambda: True, lambda a, b, c: True, lambda a, *, b: True])
def test_a_function_of_another_arity_is_refused(function: Any) -> None:
    """A condition takes the event, or the event and the match so far."""
    with pytest.raises(ExpressionError, match=r"takes \(event\) or \(event, match_so_far\)"):
        call(function)


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_truth_of_an_expression_is_refused() -> None:
    """`and`, `or`, `not`, `in` and chains would silently lose a part of the condition."""
    with pytest.raises(ExpressionError, match="use & | ~ instead of and, or, not"):
        col.x > 1 and col.y > 2  # noqa: B018
    with pytest.raises(ExpressionError, match="use & | ~"):
        col.x == 1 and col.y == 2  # noqa: B018
    with pytest.raises(ExpressionError, match="use & | ~"):
        not col.x  # noqa: B018
    with pytest.raises(ExpressionError, match="instead of a chained comparison"):
        1 < col.x < 5  # noqa: B015
    with pytest.raises(ExpressionError, match="is_in"):
        col.x in (1, 2)  # noqa: B015
    with pytest.raises(ExpressionError, match="is_in"):
        1 in col.x  # noqa: B015


def test_two_expressions_can_be_asked_for_equality() -> None:
    """That is what sets, dicts and tuples do."""
    assert col.x == col.x
    assert not col.x == col.y  # noqa: SIM201
    assert (col.x, 1) == (col.x, 1)
    assert {col.x: 1}[expr.Column("x")] == 1


def test_comparison_with_none_says_is_null() -> None:
    """It would never be true."""
    with pytest.raises(ExpressionError, match=r"write col\.x\.is_null\(\)"):
        col.x == None  # noqa: B015, E711
    with pytest.raises(ExpressionError, match=r"write ~col\.x\.is_null\(\)"):
        col.x != None  # noqa: B015, E711
    with pytest.raises(ExpressionError, match="is_null"):
        lit(None)


@pytest.mark.parametrize(
    ("value", "says"),
    [(Decimal("1.5"), "decimals"), (2**63, "beyond int64"), ([1], "is no constant"), ({"a": 1}, "is no constant")],
)
def test_a_value_that_no_column_can_have_is_refused(value: object, says: str) -> None:
    """Also on the other side of an operator, where the expression is quoted."""
    with pytest.raises(ExpressionError, match=says):
        lit(value)
    with pytest.raises(ExpressionError, match=rf"col\.x > \.\.\.: .*{says}"):
        col.x > value  # noqa: B015


def test_forgotten_brackets_around_a_comparison_are_found() -> None:
    """`&` binds tighter than `==`, so this is `5 & col.y`."""
    with pytest.raises(ExpressionError, match="need brackets"):
        col.x == 5 & col.y == 3  # noqa: B015


def test_a_whole_stage_is_no_value() -> None:
    """The column is missing."""
    with pytest.raises(ExpressionError, match=r"name a column, as in ref\('a'\)\.amount"):
        col.x > ref("a")  # noqa: B015
    with pytest.raises(ExpressionError, match="name a column"):
        ref("a") == 5  # noqa: B015


def test_a_regular_expression_is_checked_when_written() -> None:
    """RE2 has no look-around, so the engine could not run it."""
    assert col.x.matches("^a+$").pattern == "^a+$"
    for wrong in ("(", "(?=a)", r"(a)\1"):
        with pytest.raises(ExpressionError, match="RE2"):
            col.x.matches(wrong)


def test_functions_know_their_arguments() -> None:
    """The wrong number is found when written."""
    with pytest.raises(ExpressionError, match=r"func\.atan2 takes two arguments, got 1"):
        func.atan2(col.x)
    with pytest.raises(AttributeError, match="no 'sinh'"):
        func.sinh  # noqa: B018


@pytest.mark.parametrize(
    "node",
    [
        {}, [], {"op": "zz"}, {"op": "col"}, {"op": "add", "left": 1, "right": 2},
        {"op": "lit", "type": "int", "value": True}, {"op": "lit", "type": "q", "value": 1},
        {"op": "lit", "type": "bytes", "value": "?"},
    ],
)  # fmt: skip
def test_damaged_json_is_an_expression_error(node: Any) -> None:
    """Never a KeyError from inside."""
    with pytest.raises(ExpressionError):
        expr.from_json(node)


def test_a_number_beside_a_logical_operator_is_written_as_lit() -> None:
    """Found by the random test: `col.x & 0` is refused, so it is no code for the expression."""
    expression = expr.Binary("and", expr.Column("x"), expr.Literal(0))
    assert repr(expression) == "col.x & lit(0)"
    assert expression.equals(eval(repr(expression), NAMES))
