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
from fyke.explain import diagram_mermaid, diagram_text
from fyke.expr import Expr, call, col, func, lit, prev, ref
from fyke.pattern import Pattern, Quantifier, Skip, Stage, begin, skip
from fyke.schema import Field, Schema

__all__ = [
    "DataError",
    "DefinitionError",
    "Expr",
    "ExpressionError",
    "Field",
    "FykeError",
    "LimitError",
    "Pattern",
    "PatternError",
    "Quantifier",
    "Schema",
    "SchemaError",
    "Skip",
    "SkipError",
    "Stage",
    "StateError",
    "begin",
    "call",
    "col",
    "diagram_mermaid",
    "diagram_text",
    "func",
    "lit",
    "prev",
    "ref",
    "skip",
]
