"""The exception tree."""

import pytest

import fyke
from fyke import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_fyke_error_and_public(name: str) -> None:
    """One except clause catches whatever fyke raises on purpose."""
    assert issubclass(getattr(fyke, name), fyke.FykeError)


@pytest.mark.parametrize("name", ["DefinitionError", "PatternError", "ExpressionError", "SchemaError", "DataError"])
def test_a_wrong_value_is_a_value_error(name: str) -> None:
    """Code that knows nothing of fyke can catch them."""
    assert issubclass(getattr(fyke, name), ValueError)


def test_wrong_patterns_and_expressions_are_definition_errors() -> None:
    """What is wrong whatever the data has one base."""
    assert issubclass(fyke.PatternError, fyke.DefinitionError)
    assert issubclass(fyke.ExpressionError, fyke.DefinitionError)
    assert not issubclass(fyke.SchemaError, fyke.DefinitionError)
