"""Boxes to operators: the only place that knows what runs which. A new operator is a line here."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from fyke.join import Interval
from fyke.nodes import Filter, Finals, Map, Matching, Node, Project, Side, Source, Union
from fyke.operator import Operator
from fyke.operators.asof_join import AsOfJoin
from fyke.operators.interval_join import IntervalJoin
from fyke.operators.matcher import Matcher
from fyke.operators.rows import FilterRows, MapRows, ProjectRows, TakeFinals
from fyke.operators.sliding import SlidingWindows
from fyke.operators.union import UnionRows
from fyke.operators.windowed import Windowed
from fyke.timed_nodes import Joined, Windowing
from fyke.window import Sliding

__all__ = ["operator_for", "schema_of"]


def operator_for(node: Node, schemas: Sequence[pa.Schema]) -> Operator:
    """Make what runs a box.

    Args:
        node: neither a source nor a side output: these are the engine's own.
        schemas: of its inputs.

    Raises:
        SchemaError, DefinitionError: box and schemas do not meet.
    """
    match node:
        case Filter():
            return FilterRows(node, schemas[0])
        case Project():
            return ProjectRows(node, schemas[0])
        case Map():
            return MapRows(node, schemas[0])
        case Finals():
            return TakeFinals(node, schemas[0])
        case Union():
            return UnionRows(node, schemas)
        case Matching():
            return Matcher(node, schemas[0])
        case Windowing():
            return _windows(node, schemas[0])
        case Joined():
            return _join(node, schemas)
    raise TypeError(f"nothing runs {node!r:.80}")


def _windows(node: Windowing, schema: pa.Schema) -> Operator:
    aggregates, keys = dict(node.aggregates), dict(node.keys)
    if isinstance(node.window, Sliding):
        return SlidingWindows(node.window, aggregates, schema, keys)
    return Windowed(
        node.window,
        aggregates,
        schema,
        keys,
        trigger=node.trigger,
        allowed_lateness=f"{node.allowed_lateness}ns",
        emit_rest=node.emit_rest,
    )


def _join(node: Joined, schemas: Sequence[pa.Schema]) -> Operator:
    left = (schemas[0], [e for _, e in node.left_keys])
    right = (schemas[1], [e for _, e in node.right_keys])
    if isinstance(node.by, Interval):
        return IntervalJoin(node.by, left, right, node.how, node.suffix)
    return AsOfJoin(node.by, left, right, node.how, node.suffix, node.delete)


def schema_of(node: Node, schemas: Sequence[pa.Schema | None]) -> pa.Schema | None:
    """Give the schema of a box's rows as far as it is known, after checking the box.

    Raises:
        SchemaError, DefinitionError: box and schemas do not meet.
    """
    if isinstance(node, Source | Map):
        return node.given
    known = [each for each in schemas if each is not None]
    if len(known) < len(node.inputs):
        return None
    if isinstance(node, Side):
        above = node.inputs[0]
        schemas = [each.schema for each in above.inputs if each.schema is not None]
        return above.side_schema(node.output, schemas, known[0]) if len(schemas) == len(above.inputs) else None
    typed = node.typed(known)
    return operator_for(node, known).schema if typed is None else typed
