"""Random expressions, for the tests of what holds for all of them."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st

from fyke import Expr, expr

NAMES = st.sampled_from(["x", "amount", "two words", "class", "_hidden", "é"])
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats())
# what nanoseconds in an int64 can say, with some room for time zones
EARLIEST, LATEST = dt.datetime(1678, 1, 1), dt.datetime(2261, 12, 31)
LONGEST = dt.timedelta(days=100_000)
VALUES = st.one_of(
    st.booleans(),
    NUMBERS,
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(EARLIEST, LATEST),
    st.datetimes(EARLIEST, LATEST, timezones=st.just(dt.timezone(dt.timedelta(hours=2)))),
    st.dates(),
    st.timedeltas(-LONGEST, LONGEST),
)
LEAVES = st.one_of(
    NAMES.map(expr.Column),
    NAMES.map(expr.Prev),
    VALUES.map(expr.Literal),
    st.builds(
        expr.Agg,
        st.sampled_from(expr.AGGREGATES),
        st.sampled_from(["a", "b c"]),
        NAMES,
        st.none() | NUMBERS,
    ),
)


def _extend(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(expr.Unary, st.sampled_from(expr.UNARY_OPS), inner),
        st.builds(expr.Binary, st.sampled_from(sorted(expr.BINARY_SIGNS)), inner, inner),
        st.builds(expr.IsIn, inner, st.lists(st.integers(-9, 9), max_size=3).map(tuple)),
        st.builds(expr.IsIn, inner, st.lists(st.text(max_size=3), max_size=3).map(tuple)),
        st.builds(expr.StrOp, st.sampled_from(["starts_with", "ends_with", "contains"]), inner, st.text(max_size=4)),
        st.builds(expr.Func, st.sampled_from(expr.FUNCTIONS_1), st.tuples(inner)),
        st.builds(expr.Func, st.sampled_from(expr.FUNCTIONS_2), st.tuples(inner, inner)),
        st.builds(expr.Func, st.sampled_from(expr.FUNCTIONS_N), st.lists(inner, min_size=2, max_size=3).map(tuple)),
    )


EXPRESSIONS: st.SearchStrategy[Expr] = st.recursive(LEAVES, _extend, max_leaves=8)
