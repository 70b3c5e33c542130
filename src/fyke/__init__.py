"""fyke: complex event processing in Python, with a compiled core."""

from typing import TYPE_CHECKING, Any

from fyke import agg, join, trigger
from fyke.backtest import Backtest, backtest
from fyke.deltas import merged
from fyke.engine import Engine, Statistics
from fyke.errors import (
    DataError,
    DefinitionError,
    EngineStopped,
    ExpressionError,
    FykeError,
    LimitError,
    PatternError,
    ProcessError,
    SchemaError,
    SkipError,
    StateError,
)
from fyke.explain import diagram_mermaid, diagram_text
from fyke.expr import Expr, call, col, func, lit, prev, ref
from fyke.frozen import Frozen
from fyke.graph import InputStatistics, StreamEngine, StreamStatistics
from fyke.match import Event, Match, Matches, Results, Rows
from fyke.outcome import Records, StreamResults
from fyke.pattern import Pattern, Quantifier, Skip, Stage, begin, skip
from fyke.process import Context, ListState, MapState, Process, ValueState
from fyke.replay import Replay, replay
from fyke.resumable import Resumable
from fyke.schema import Field, Schema
from fyke.stream_replay import StreamReplay
from fyke.streams import KeyedStream, Stream, Table, WindowedStream, stream
from fyke.upgrade import Upgrade
from fyke.window import count_window, global_window, hopping, session, sliding, tumbling

if TYPE_CHECKING:
    from fyke.app import App

__version__ = "0.1.0"

__all__ = [
    "App",
    "Backtest",
    "Context",
    "DataError",
    "DefinitionError",
    "Engine",
    "EngineStopped",
    "Event",
    "Expr",
    "ExpressionError",
    "Field",
    "Frozen",
    "FykeError",
    "InputStatistics",
    "KeyedStream",
    "LimitError",
    "ListState",
    "MapState",
    "Match",
    "Matches",
    "Pattern",
    "PatternError",
    "Process",
    "ProcessError",
    "Quantifier",
    "Records",
    "Replay",
    "Results",
    "Resumable",
    "Rows",
    "Schema",
    "SchemaError",
    "Skip",
    "SkipError",
    "Stage",
    "StateError",
    "Statistics",
    "Stream",
    "StreamEngine",
    "StreamReplay",
    "StreamResults",
    "StreamStatistics",
    "Table",
    "Upgrade",
    "ValueState",
    "WindowedStream",
    "agg",
    "backtest",
    "begin",
    "call",
    "col",
    "count_window",
    "diagram_mermaid",
    "diagram_text",
    "func",
    "global_window",
    "hopping",
    "join",
    "lit",
    "merged",
    "prev",
    "ref",
    "replay",
    "session",
    "skip",
    "sliding",
    "stream",
    "trigger",
    "tumbling",
]


def __getattr__(name: str) -> Any:
    """Load what needs Kafka's client only when it is asked for."""
    if name == "App":
        from fyke.app import App

        return App
    raise AttributeError(f"module 'fyke' has no attribute {name!r}")
