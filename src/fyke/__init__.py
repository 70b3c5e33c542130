"""fyke: complex event processing in Python, with a compiled core."""

from fyke.errors import (
    DataError,
    DefinitionError,
    ExpressionError,
    FykeError,
    LimitError,
    PatternError,
    SchemaError,
    SkipError,
    StateError,
)
from fyke.expr import Expr, call, col, func, lit, prev, ref
from fyke.pattern import Pattern, Quantifier, Skip, Stage, begin, skip

__all__ = [
    "DataError",
    "DefinitionError",
    "Expr",
    "ExpressionError",
    "FykeError",
    "LimitError",
    "Pattern",
    "PatternError",
    "Quantifier",
    "SchemaError",
    "Skip",
    "SkipError",
    "Stage",
    "StateError",
    "begin",
    "call",
    "col",
    "func",
    "lit",
    "prev",
    "ref",
    "skip",
]
