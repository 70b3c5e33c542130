"""The exception tree: every error that fyke raises on purpose is a FykeError and says what, where, and what is allowed.

Those that mean "a value you gave is wrong" are ValueErrors too, so that code that knows nothing of fyke can catch them.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DataError",
    "DefinitionError",
    "EngineStopped",
    "ExpressionError",
    "FykeError",
    "LimitError",
    "PatternError",
    "ProcessError",
    "SchemaError",
    "SkipError",
    "StateError",
]


class FykeError(Exception):
    """Base of all errors of this package."""


class DefinitionError(FykeError, ValueError):
    """A pattern, expression or duration is wrong, whatever the data; raised where it is written."""


class PatternError(DefinitionError):
    """A pattern is wrong; the text names the stage and says what to write instead."""


class ExpressionError(DefinitionError):
    """An expression is wrong; the text quotes it."""


class SchemaError(FykeError, ValueError):
    """A pattern and a schema do not meet (unknown column, wrong type); the text quotes the part of the pattern."""


class DataError(FykeError, ValueError):
    """Input data is wrong; the text says what was given, what is allowed, and where (field, row, partition, offset)."""


class EngineStopped(FykeError):
    """Base of what stops an engine in the middle of its input.

    Attributes:
        position: of the event being stepped; None if a deadline brought it about.
        time: of that event, or the deadline; ns.
        results: what the same push had found before (an engine's Results); nothing that was found is lost.
    """

    position: int | None = None
    time: int | None = None
    found: Any = None
    results: Any = None

    @property
    def cause(self) -> tuple[str, int | None]:
        """Give what brought it about, as Match.cause does: ("event", position) or ("time", deadline)."""
        return ("time", self.time) if self.position is None else ("event", self.position)


class LimitError(EngineStopped):
    """A bound that the user set (max_partials, max_memory) is exceeded under the policy "error"."""


class StateError(FykeError, ValueError):
    """State cannot be restored (damaged, of another version, of another pattern) or kept (the medium failed)."""


class SkipError(EngineStopped):
    """A skip strategy with throw=True found no event to skip to, or the match's own first event."""


class ProcessError(EngineStopped):
    """The user's code in a process raised an error (the cause of this one); says where, and for which key.

    Attributes:
        key: that was being handled.
    """

    key: Any = None
