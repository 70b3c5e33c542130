"""Boxes to operators: the only place that knows what runs which. A new operator is a line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fyke.errors import DefinitionError, SchemaError
from fyke.expr import Expr
from fyke.join import Interval
from fyke.join_nodes import Grouped, Joined, TwoSided, WindowJoined
from fyke.nodes import Filter, Finals, Map, Matching, Node, Project, Side, Source, Union
from fyke.operator import Operator
from fyke.operators.aggregate_table import AggregateTable
from fyke.operators.asof_join import AsOfJoin
from fyke.operators.enrichment import Enrichment, versioned
from fyke.operators.interval_join import IntervalJoin
from fyke.operators.matcher import Matcher
from fyke.operators.processor import Processor
from fyke.operators.rows import FilterRows, MapRows, ProjectRows, TakeFinals
from fyke.operators.sides import Given
from fyke.operators.sliding import SlidingWindows
from fyke.operators.table import CompactedTable, TableJoin
from fyke.operators.union import UnionRows
from fyke.operators.window_join import CoGroup, WindowJoin
from fyke.operators.windowed import Windowed
from fyke.table_nodes import Aggregated, Enriched, Tabled, TableJoined
from fyke.timed_nodes import Keys, Processing, Windowing
from fyke.window import Sliding

__all__ = ["operator_for", "schema_of"]


def operator_for(node: Node, schemas: Sequence[pa.Schema]) -> Operator:
    """Make what runs a box.

    Args:
        node: neither a source nor a side output: these are the engine's own.
        schemas: of its inputs.

    Raises:
        SchemaError, DefinitionError: box and schemas do not meet; the text says which box.
    """
    try:
        return _operator_for(node, schemas)
    except (SchemaError, DefinitionError) as error:
        raise _of_box(error, node) from None


def _of_box(error: SchemaError | DefinitionError, node: Node) -> SchemaError | DefinitionError:
    """The error with the box in front."""
    return error if str(error).startswith(node.path) else type(error)(f"{node.path}: {error}")


def _operator_for(node: Node, schemas: Sequence[pa.Schema]) -> Operator:
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
        case Joined():
            return _join(node, schemas)
        case WindowJoined():
            return _window_join(node, schemas)
        case Processing():
            return Processor(node, schemas[0])
        case Windowing():
            return _windows(node, schemas[0])
        case Aggregated():
            return AggregateTable(dict(node.aggregates), schemas[0], dict(node.keys))
        case Tabled():
            return CompactedTable((schemas[0], _parts(node.keys)), node.delete, node.retract)
        case TableJoined():
            return TableJoin(*_sides(node, schemas), node.how, node.suffix)
        case Enriched():
            return (versioned if node.versioned else Enrichment)(*_sides(node, schemas), node.how, node.suffix)
    raise TypeError(f"nothing runs {node!r:.80}")


def _join(node: Joined, schemas: Sequence[pa.Schema]) -> Operator:
    left, right = _sides(node, schemas)
    if isinstance(node.by, Interval):
        return IntervalJoin(node.by, left, right, node.how, node.suffix)
    return AsOfJoin(node.by, left, right, node.how, node.suffix, node.delete)


def _window_join(node: WindowJoined, schemas: Sequence[pa.Schema]) -> Operator:
    left, right = (schemas[0], dict(node.left_keys)), (schemas[1], dict(node.right_keys))
    lateness = f"{node.allowed_lateness}ns"
    options: dict[str, Any] = {"trigger": node.trigger, "allowed_lateness": lateness, "emit_rest": node.emit_rest}
    if isinstance(node, Grouped):
        return CoGroup(node.window, left, right, **options)
    return WindowJoin(node.window, left, right, node.how, node.suffix, **options)


def _windows(node: Windowing, schema: pa.Schema) -> Operator:
    if isinstance(node.window, Sliding):
        return SlidingWindows(node.window, dict(node.aggregates), schema, dict(node.keys))
    return Windowed(
        node.window,
        dict(node.aggregates),
        schema,
        dict(node.keys),
        trigger=node.trigger,
        allowed_lateness=f"{node.allowed_lateness}ns",
        emit_rest=node.emit_rest,
    )


def _sides(node: TwoSided, schemas: Sequence[pa.Schema]) -> tuple[Given, Given]:
    return (schemas[0], _parts(node.left_keys)), (schemas[1], _parts(node.right_keys))


def _parts(keys: Keys) -> list[Expr]:
    return [e for _, e in keys]


def schema_of(node: Node, schemas: Sequence[pa.Schema | None]) -> pa.Schema | None:
    """Give the schema of a box's rows as far as it is known, after checking the box.

    Raises:
        SchemaError, DefinitionError: box and schemas do not meet.
    """
    if isinstance(node, Source | Map):
        return node.given
    if isinstance(node, Processing) and node.given is not None and any(each is None for each in schemas):
        return node.given
    known = [each for each in schemas if each is not None]
    if len(known) < len(node.inputs):
        return None
    if isinstance(node, Side):
        above = node.inputs[0]
        schemas = [each.schema for each in above.inputs if each.schema is not None]
        return above.side_schema(node.output, schemas, known[0]) if len(schemas) == len(above.inputs) else None
    try:
        typed = node.typed(known)
    except (SchemaError, DefinitionError) as error:
        raise _of_box(error, node) from None
    return operator_for(node, known).schema if typed is None else typed
