"""Where rows leave an app: as records of a topic, or as calls of a function.

Boxes at the end of a stream that keep no state and that no snapshot can name, a `map` with a lambda say, are run here,
behind the engine: there is nothing of them to be kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa

from fyke.app.inbox import Inbox
from fyke.app.rekey import Rekey
from fyke.box import Box
from fyke.columns import readable
from fyke.errors import DataError, DefinitionError
from fyke.io.sinks import to_text
from fyke.nodes import Node
from fyke.operator import Batch, Marks
from fyke.streams import Stream, Table

__all__ = ["Encoded", "Function", "Outlet", "Tail", "encoded", "outlet_of"]

Function: TypeAlias = "Callable[[list[dict[str, Any]]], object]"
NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where the rows of a stream go.

    Attributes:
        stream: what the engine runs.
        tail: the boxes behind it, run outside of the engine.
        target: a topic, a function of a list of rows, who reads committed rows, or a topic of the app's own.
        key: the columns of the record's key.
        event_time: whether the record's time is that of the row.
    """

    stream: Stream | Table
    tail: tuple[Node, ...]
    target: str | Function | Inbox | Rekey
    key: tuple[str, ...]
    event_time: bool = False


def outlet_of(
    stream: Any, target: str | Function | Inbox, key: str | Sequence[str] | None, event_time: bool = False
) -> Outlet:
    """Check what was written; see Flow.to.

    Raises:
        DefinitionError: no stream of rows, no target, or no columns.
    """
    if not isinstance(stream, Stream | Table):
        raise DefinitionError(f"to({target!r:.60}): {type(stream).__name__} has no rows yet: say what is made of it")
    if not callable(target) and not isinstance(target, Inbox) and not (isinstance(target, str) and target):
        raise DefinitionError(f"to({target!r:.60}): expected a topic or a function of a list of rows")
    columns = (key,) if isinstance(key, str) else tuple(key or ())
    if columns and callable(target):
        raise DefinitionError("to(function): a key is of records only")
    schema = stream.schema if isinstance(stream, Stream) else None
    for name in columns:
        if schema is not None and schema.get_field_index(name) < 0:
            there = ", ".join(schema.names)
            raise DefinitionError(f"to({target!r}, key={name!r}): no such column; there are {there}")
    tail: list[Node] = []
    node = stream.node
    while isinstance(stream, Stream) and node.is_stateless and not node.is_serialisable and len(node.inputs) == 1:
        tail.append(node)
        node = node.inputs[0]
    return Outlet(Stream(node) if tail else stream, tuple(reversed(tail)), target, columns, event_time)


class Tail:
    """The boxes of an outlet that are run behind the engine."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._boxes = [Box(node, node.path) for node in nodes]

    def take(self, batch: Batch) -> Batch:
        """Give what the boxes make of rows."""
        batch = Batch(batch.rows, batch.times, batch.origins, Marks.none())
        for box in self._boxes:
            if not len(batch):
                return batch
            if box.operator is None:
                box.make([batch.rows.schema])
            output = box.step([batch], ())
            assert output is not None
            batch = output.results
        return batch


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record to be written: value, key, and the time of its row in ms, 0 where it has none."""

    value: bytes
    key: bytes | None
    timestamp_ms: int


def encoded(batch: Batch, key: Sequence[str], where: str) -> Iterator[Encoded]:
    """Give rows as records: JSON objects; times as ISO 8601 text, a number that is none as null.

    Raises:
        DataError: a column of the key is missing.
    """
    rows = batch.rows
    for name in key:
        if rows.schema.get_field_index(name) < 0:
            raise DataError(f"{where}: no column `{name}` for the key; there are {', '.join(rows.schema.names)}")
    texts = [to_text(column) for column in rows.columns]
    plain = pa.RecordBatch.from_arrays(texts, names=rows.schema.names).to_pylist() if texts else [{}] * len(batch)
    for row, time in zip(plain, batch.times.tolist(), strict=True):
        yield Encoded(_json(row), _key([row[name] for name in key]), max(0, time // NS_PER_MS))


def called(batch: Batch, function: Function) -> None:
    """Call a function with rows."""
    if len(batch):
        function(readable(batch.rows))


def _json(row: Any) -> bytes:
    try:
        return json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(row), separators=(",", ":"), ensure_ascii=False).encode()


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def _key(parts: list[Any]) -> bytes | None:
    if not parts:
        return None
    if len(parts) > 1:
        return _json(parts)
    return None if parts[0] is None else str(parts[0]).encode()
