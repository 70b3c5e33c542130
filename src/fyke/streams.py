"""Streams: a graph of boxes, written by naming what is done with rows, run by an Engine or a replay.

Every method gives a new stream and leaves the old one as it is, so that a stream can go several ways. Nothing runs
while a stream is written; what can be checked is checked at once, and the error quotes the box.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from fyke import expr as ex
from fyke import join
from fyke.agg import Aggregate
from fyke.columns import plain_schema
from fyke.duration import DurationLike, to_ns
from fyke.errors import DataError, DefinitionError
from fyke.expr import Expr
from fyke.flowchart import drawn
from fyke.join import HOWS, AsOf, Interval, check_how
from fyke.join_nodes import Grouped, Joined, WindowJoined
from fyke.matching import Limits, Patterns, can_wait, checked_keep, normalise
from fyke.nodes import (
    SIDES,
    Filter,
    Map,
    Matching,
    Node,
    Project,
    Side,
    Source,
    Union,
    only_finals,
    row_expression,
)
from fyke.operators.build import schema_of
from fyke.operators.window_spec import check_together
from fyke.operators.windowed import RESULT_COLUMNS
from fyke.pattern import Pattern
from fyke.process import Process, StateDeclaration, copied
from fyke.schema import Schema
from fyke.table_nodes import Aggregated, Enriched, Tabled, TableJoined
from fyke.timed_nodes import Keys, Processing, Windowing, keys_text
from fyke.trigger import Trigger
from fyke.window import GlobalWindow, Session, Sliding, Window

__all__ = ["KeyedStream", "Stream", "Table", "WindowedStream", "stream"]

Row: TypeAlias = Mapping[str, Any]
SchemaLike: TypeAlias = pa.Schema | Schema


def stream(
    name: str = "events",
    *,
    time: str,
    unit: str | None = None,
    out_of_order: DurationLike = 0,
    schema: SchemaLike | None = None,
) -> Stream:
    """Begin a stream: rows that come from outside.

    Args:
        name: what the engine's push and a replay call it; unique in a graph.
        time: the column of the event time.
        unit: of a numeric time column: "s", "ms", "us" or "ns". None: it holds timestamps (or datetimes).
        out_of_order: the bound of disorder: a row this much behind the highest time seen is still in time.
        schema: the columns, as a pyarrow Schema or a fyke Schema; then all that is done with them is checked when it is
            written. None: those of the first data, whose types hold from then on.

    Raises:
        DefinitionError: one of them is wrong.

    >>> payments = stream("payments", time="ts", unit="s", out_of_order="30s")
    >>> payments.filter(ex.col.amount > 500).select("card", cents=ex.col.amount * 100)
    stream('payments').filter(col.amount > 500).select(card, cents = col.amount * 100)
    """
    if schema is not None and not isinstance(schema, pa.Schema | Schema):
        raise DefinitionError(f"schema: expected a pyarrow Schema or a fyke Schema, got {schema!r:.80}")
    disorder = 0 if type(out_of_order) is int and out_of_order == 0 else to_ns(out_of_order)
    return _made(Source((), name, time, unit, disorder, _arrow(schema)))


@dataclass(frozen=True, slots=True, repr=False)
class Stream:
    """Rows in the order of their arrival, each with a time, and watermarks between them. Made by `fyke.stream`.

    Attributes:
        node: the box that its rows come out of.
    """

    node: Node

    # -- each row by itself

    def filter(self, *conditions: Expr | Callable[[Row], object]) -> Stream:
        """Keep the rows for which all conditions hold; where one is null it does not.

        Args:
            conditions: expressions over a row, or Python functions of it.

        Raises:
            DefinitionError: one reads more than its row. SchemaError: it does not fit the columns.

        >>> stream(time="ts").filter(ex.col.amount > 500, ex.col.country != "CH")
        stream('events').filter((col.amount > 500) & (col.country != 'CH'))
        """
        where = f"{self.node.path}.filter"
        if not conditions:
            raise DefinitionError(f"{where}: needs a condition")
        made = [_condition(each, where) for each in conditions]
        whole = made[0]
        for each in made[1:]:
            whole = ex.Binary("and", whole, each)
        return _made(Filter((self.node,), whole))

    def branch(self, **conditions: Expr | Callable[[Row], object]) -> dict[str, Stream]:
        """Send each row one of several ways: the first whose condition holds, else "rest".

        Args:
            conditions: a condition for each way, by its name; tried in this order.

        Returns:
            The ways by name, "rest" last.

        >>> ways = stream(time="ts").branch(big=ex.col.amount > 500, swiss=ex.col.country == "CH")
        >>> list(ways)
        ['big', 'swiss', 'rest']
        """
        where = f"{self.node.path}.branch"
        if not conditions or "rest" in conditions:
            raise DefinitionError(f'{where}: needs conditions by name; "rest" is what none of them takes')
        made = {name: _condition(each, f"{where}({name}=)") for name, each in conditions.items()}
        before: tuple[Expr, ...] = ()
        ways = {}
        for name, condition in made.items():
            ways[name] = _made(Filter((self.node,), condition, before))
            before = (*before, condition)
        ways["rest"] = _made(Filter((self.node,), None, before))
        return ways

    def select(self, *names: str, **columns: object) -> Stream:
        """Keep these columns only, and compute others.

        A row keeps its time, whether its column is among them or not.

        Args:
            names: columns; "probe.amount" is a field of the struct `probe`, and named so.
            columns: name=expression; a plain value is the same for all rows.

        >>> stream(time="ts").select("card", euros=ex.col.cents / 100, source="web")
        stream('events').select(card, euros = col.cents / 100, source = lit('web'))
        """
        where = f"{self.node.path}.select"
        if not names and not columns:
            raise DefinitionError(f"{where}: needs columns")
        for name in names:
            if not isinstance(name, str) or not name:
                raise DefinitionError(f"{where}: {name!r:.80} is no name of a column; give others as name=expression")
        given = [*((name, ex.Column(name)) for name in names), *self._columns(where, columns)]
        twice = [name for name, _ in given if [n for n, _ in given].count(name) > 1]
        if twice:
            raise DefinitionError(f"{where}: column `{twice[0]}` is given twice")
        return _made(Project((self.node,), tuple(given), keep=False))

    def with_columns(self, **columns: object) -> Stream:
        """Keep all columns and compute others; one of the same name is replaced.

        Args:
            columns: name=expression; a plain value is the same for all rows.

        >>> stream(time="ts").with_columns(euros=ex.col.cents / 100)
        stream('events').with_columns(euros = col.cents / 100)
        """
        where = f"{self.node.path}.with_columns"
        if not columns:
            raise DefinitionError(f"{where}: needs columns")
        return _made(Project((self.node,), tuple(self._columns(where, columns)), keep=True))

    def _columns(self, where: str, columns: Mapping[str, object]) -> list[tuple[str, Expr]]:
        made = []
        for name, given in columns.items():
            if isinstance(given, Expr) or not callable(given):
                made.append((name, row_expression(ex.to_expr(given), f"{where}({name}=)")))
            else:
                raise DefinitionError(f"{where}({name}=): a Python function of a row is for map(): {given!r:.60}")
        return made

    def map(self, fn: Callable[[Row], Any], *, schema: SchemaLike | None = None) -> Stream:
        """Call a Python function with each row.

        Args:
            fn: takes the row, a mapping that it must not change; gives a row, a list of rows, or None for no row. They
                have the time of the row. It must give the same each time it gets the same row.
            schema: of the rows it gives. None: that of the first that it gives, which holds from then on.

        >>> stream(time="ts").map(dict)
        stream('events').map(dict, in Python)
        """
        return _made(Map((self.node,), fn, _arrow(schema)))

    # -- several streams

    def union(self, *others: Stream) -> Stream:
        """Put streams of the same columns together, in the order of their arrival.

        What is known of time is the least of their watermarks; an idle stream is left out of account.

        >>> stream("a", time="ts").union(stream("b", time="ts"))
        stream('a').union(stream('b'))
        """
        if not others or not all(isinstance(other, Stream) for other in others):
            raise DefinitionError(f"{self.node.path}.union: needs streams, got {others!r:.80}")
        return _made(Union((self.node, *(other.node for other in others))))

    # -- over time

    def key_by(self, *keys: str | Expr, **named: Expr) -> KeyedStream:
        """Say by what rows belong together, for windows, joins, processes, and patterns without a key of their own.

        Args:
            keys: columns, or expressions over a row.
            named: expressions with the name that their column has in results.

        >>> stream(time="ts").key_by("card", hundreds=ex.col.amount // 100)
        stream('events').key_by(card, hundreds = col.amount // 100)
        """
        where = f"{self.node.path}.key_by"
        if not keys and not named:
            raise DefinitionError(f"{where}: needs a column or an expression")
        made: list[tuple[Expr, str | None]] = [(row_expression(key, where), None) for key in keys]
        made += [(row_expression(key, f"{where}({name}=)"), name) for name, key in named.items()]
        parts: dict[str, Expr] = {}
        for i, (key, name) in enumerate(made):
            if not ex.columns(key):
                raise DefinitionError(f"{where}: {key!r} is the same for all rows")
            label = name or (key.name if isinstance(key, ex.Column) else f"key_{i + 1}")
            if label in parts:
                raise DefinitionError(f"{where}: two keys are named `{label}`: write key_by(other={key!r})")
            parts[label] = key
        return KeyedStream(self, tuple(parts.items()))

    def match(self, patterns: Patterns, *, keep: Any = None, **limits: Any) -> Stream:
        """Look for patterns; each match is a row, with the time at which it was certain.

        Columns: those of the key, pattern, start, time (of the last event), released, id, and one for each stage: a
        struct of its event, or a list of them. `col["spree.amount"]` is a field of it.

        Args:
            patterns: one Pattern, several, or a mapping of names to them.
            keep: the columns that stages hold beside those that patterns read; None: all.
            limits: as Engine takes them: timeouts, max_partials, on_max_partials, max_memory, on_max_memory, key_ttl.

        >>> from fyke import begin, col
        >>> stream(time="ts").match(begin("a", col.x > 1).next("b").within("1m").named("pair"))
        stream('events').match(pair)
        """
        return self._match(normalise(patterns), keep, limits)

    def _match(self, found: tuple[Pattern, ...], keep: Any, given: Mapping[str, Any]) -> Stream:
        limits = Limits.of(given, f"{self.node.path}.match")
        for p in found:
            if p.window is None and limits.key_ttl is None and limits.max_partials is None and can_wait(p):
                raise DefinitionError(
                    f"{self.node.path}.match: {p.name or p!r:.60}: without within() its partial matches can wait for "
                    "ever; add .within(...), or key_ttl= or max_partials="
                )
        read = [e for p in found for e in (*(condition for _, condition in p.conditions()), *p.key)]
        node = _reading(_timed(only_finals(self.node), "match"), read)
        return _made(Matching((node,), found, limits, checked_keep(keep, found)))

    def window(
        self,
        window: Window,
        *,
        allowed_lateness: DurationLike = 0,
        trigger: Trigger | None = None,
        emit_rest: bool = False,
    ) -> WindowedStream:
        """Put rows together in windows, all of one key; see KeyedStream.window."""
        return _windowed(self, (), window, allowed_lateness, trigger, emit_rest)

    def aggregate(self, **aggregates: Aggregate) -> Table:
        """Sum up all rows so far: a table of one row; see KeyedStream.aggregate."""
        return _aggregated(self, (), aggregates)

    def process(self, make: type[Process] | Callable[..., Any], **options: Any) -> Stream:
        """Let Python code see the rows in the order of their times, all of one key; see KeyedStream.process."""
        return _processed(self, (), make, **options)

    def table(self, *keys: str | Expr, delete: Expr | None = None, retract: bool = False) -> Table:
        """Keep the latest row of each key, by arrival; see KeyedStream.table."""
        return self.key_by(*keys).table(delete=delete, retract=retract)

    # -- other outputs

    def side(self, name: str) -> Stream:
        """Give another output of the last box as a stream: "late", "errors", "timeouts", or one that a process names.

        Late rows and rows in error have no place in time any more: they can be filtered, mapped and given out.

        Raises:
            DefinitionError: the box has no such output.
        """
        if name not in self.node.sides:
            has = ", ".join(self.node.sides) or "none"
            raise DefinitionError(f'{self.node.path}: it has no output "{name}"; its outputs beside the results: {has}')
        if name == "timeouts" and isinstance(self.node, Matching) and not self.node.limits.timeouts:
            raise DefinitionError(f"{self.node.path}: time-outs are not reported: write match(..., timeouts=True)")
        return _made(Side((self.node,), name))

    @property
    def late(self) -> Stream:
        """The rows that came too late for the last box; of a join: side("late_left"), side("late_right")."""
        return self.side("late")

    @property
    def errors(self) -> Stream:
        """The rows that the last box could not take: without a key, or for which a process failed."""
        return self.side("errors")

    @property
    def no_window(self) -> Stream:
        """The rows that lie in no window of the last box."""
        return self.side("no_window")

    @property
    def timeouts(self) -> Stream:
        """The partial matches of the last box whose time ran out."""
        return self.side("timeouts")

    # -- about it

    def named(self, name: str) -> Stream:
        """Give the last box a name of its own: for statistics, snapshots and drawings."""
        return replace(self, node=replace(self.node, title=name))

    @property
    def schema(self) -> pa.Schema | None:
        """The columns, where the sources' schemas tell them; else None until the first data comes."""
        return self.node.schema

    def describe(self, style: str = "text") -> str:
        """Draw the graph.

        Args:
            style: "text" for the terminal, "mermaid" for documents.
        """
        return drawn([self.node], [], style)

    def __repr__(self) -> str:
        return _written(self.node)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_where_else(self, name))


@dataclass(frozen=True, slots=True, repr=False)
class KeyedStream:
    """A stream and by what its rows belong together. Made by `Stream.key_by`.

    Attributes:
        stream: the rows.
        keys: (name, expression) for each part of the key.
    """

    stream: Stream
    keys: Keys

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions of the key."""
        return tuple(e for _, e in self.keys)

    def match(self, patterns: Patterns, *, keep: Any = None, **limits: Any) -> Stream:
        """Look for patterns, each key by itself, as `Stream.match`; a pattern with by() keeps that."""
        found = tuple(p if p.key else p.by(*self.parts) for p in normalise(patterns))
        return self.stream._match(found, keep, limits)

    def window(
        self,
        window: Window,
        *,
        allowed_lateness: DurationLike = 0,
        trigger: Trigger | None = None,
        emit_rest: bool = False,
    ) -> WindowedStream:
        """Put the rows of each key together in windows.

        Args:
            window: tumbling(...), hopping(...), session(...), count_window(...), global_window() or sliding(...).
            allowed_lateness: for how long after its end a window still takes rows and gives new results.
            trigger: when results come out (fyke.trigger); None: at the end of the window.
            emit_rest: what a count window or a count trigger has not told comes out when the window goes.

        >>> from fyke import agg, tumbling
        >>> hourly = stream(time="ts").key_by("card").window(tumbling("1h"))
        >>> hourly.aggregate(n=agg.count(), total=agg.sum("amount"))
        stream('events').window(tumbling('1h') for each col.card, n = agg.count(), total = agg.sum(col.amount))
        """
        return _windowed(self.stream, self.keys, window, allowed_lateness, trigger, emit_rest)

    def join(
        self,
        right: KeyedStream,
        by: Interval | Window,
        *,
        how: str = "inner",
        suffix: str = "_right",
        **options: Any,
    ) -> Stream:
        """Join with the rows of another stream of the same key: as far apart as an interval says, or of one window.

        An interval gives the columns of both rows; a window gives the key, window_start, window_end, revision, final,
        then the columns of both. Rows without a partner come alone as `how` says, the other columns null.

        Args:
            right: the other stream; with as many parts of the key.
            by: fyke.join.interval("-5m", "5m"), or a window: tumbling("1m"), hopping(...), session(...), ...
            how: inner, left, right or outer: which side's rows come alone if they find no partner.
            suffix: for columns of the right side whose names are there on the left.
            options: of a join by window: allowed_lateness, trigger, emit_rest, as `window` takes them.

        Raises:
            DefinitionError: keys of different length, an unknown option, or one that does not go with `by`.
            SchemaError: parts of the key of different types.

        >>> from fyke import join, tumbling
        >>> orders, payments = stream("orders", time="ts"), stream("payments", time="ts")
        >>> orders.key_by("id").join(payments.key_by("order"), join.interval(0, "1h"))
        stream('orders').join(stream('payments'), inner join.interval('0s', '1h') by col.id = col.order)
        >>> orders.key_by("id").join(payments.key_by("id"), tumbling("1m"), how="left")
        stream('orders').window_join(stream('payments'), left tumbling('1m') by col.id)
        """
        where = f"{self.stream.node.path}.join"
        if isinstance(by, Window):
            return self._by_window(WindowJoined, where, right, by, _how(where, how), suffix, options)
        if not isinstance(by, Interval):
            raise DefinitionError(
                f"{where}: expected fyke.join.interval(...) or a window, as fyke.tumbling('1m'), got {by!r:.80}"
            )
        if options:
            raise DefinitionError(f"{where}: {next(iter(options))}= is for joins by window, not for {by!r}")
        return self._joined(right, by, _how(where, how), suffix, None)

    def cogroup(self, right: KeyedStream, window: Window, **options: Any) -> Stream:
        """Put the rows of both streams that lie in one window of their key together, as two lists.

        The columns are the key, window_start, window_end, revision, final, then `left` and `right`: lists of rows in
        the order of their arrival, one of which may be empty.

        Args:
            right: the other stream; with as many parts of the key.
            window: as of `join`.
            options: allowed_lateness, trigger, emit_rest, as `window` takes them.

        Raises:
            DefinitionError, SchemaError: as of `join`.

        >>> from fyke import session
        >>> orders, payments = stream("orders", time="ts"), stream("payments", time="ts")
        >>> orders.key_by("id").cogroup(payments.key_by("id"), session("5m"))
        stream('orders').cogroup(stream('payments'), session('5m') by col.id)
        """
        where = f"{self.stream.node.path}.cogroup"
        if not isinstance(window, Window):
            raise DefinitionError(f"{where}: {window!r:.80} is no window, as fyke.tumbling('1h') is one")
        return self._by_window(Grouped, where, right, window, "outer", "_right", options)

    def asof(
        self,
        right: KeyedStream,
        tolerance: DurationLike | None = None,
        *,
        how: str = "left",
        suffix: str = "_right",
        delete: Expr | None = None,
    ) -> Stream:
        """Join each row with the latest row of another stream's key that is not after it.

        Args:
            right: the other stream; with as many parts of the key.
            tolerance: how far back at most, inclusive; None: any time.
            how: left or inner: whether rows without a partner come, with nulls.
            suffix: for columns of the right side whose names are there on the left.
            delete: a condition on rows of the right side: from such a row on its key has none.

        >>> trades, quotes = stream("trades", time="ts"), stream("quotes", time="ts")
        >>> trades.key_by("symbol").asof(quotes.key_by("symbol"), "10s")
        stream('trades').join(stream('quotes'), left join.asof('10s') by col.symbol)
        """
        where = f"{self.stream.node.path}.asof"
        by = join.asof(tolerance)
        condition = None if delete is None else _condition(delete, f"{where}(delete=)")
        return self._joined(right, by, _how(where, how, ("inner", "left")), suffix, condition)

    def process(
        self,
        make: type[Process] | Callable[..., Any],
        *,
        params: Mapping[str, Any] | None = None,
        state: Mapping[str, StateDeclaration] | None = None,
        schema: SchemaLike | None = None,
        outputs: Sequence[str] | Mapping[str, SchemaLike | None] = (),
        on_error: str = "stop",
    ) -> Stream:
        """Let Python code see the rows of each key in the order of their times, with state and timers.

        Args:
            make: a subclass of fyke.Process, or a function of (row, ctx) that gives a row, rows or None.
            params: keyword arguments for the class; what JSON can say.
            state: of a function: its states by name, as {"n": ValueState(int)}; it finds them in ctx.state.
            schema: of the rows it gives. None: that of the first, which holds from then on.
            outputs: names of side outputs for ctx.emit_to, or names mapped to their schemas.
            on_error: what an error in the code does: "stop" the engine with a ProcessError, or put the row, with the
                text of the error, into the output "errors"; nothing that the call did then stays.

        >>> from fyke import ValueState
        >>> def first(row, ctx):
        ...     if ctx.state["seen"].get():
        ...         return None
        ...     ctx.state["seen"].set(True)
        ...     return row
        >>> stream(time="ts").key_by("card").process(first, state={"seen": ValueState(bool, ttl="1d")})
        stream('events').process(first, in Python for each col.card)
        """
        return _processed(self.stream, self.keys, make, params, state, schema, outputs, on_error)

    def aggregate(self, **aggregates: Aggregate) -> Table:
        """Sum up all rows of each key so far: a table with the key, the aggregates, and `revision`, 0 for the first.

        Every row changes it, in the order of arrival; nothing is late, and nothing waits.

        Args:
            aggregates: name=fyke.agg.count() and so on.

        Raises:
            DefinitionError: one is no aggregate, or two columns have one name.

        >>> from fyke import agg
        >>> stream("payments", time="ts").key_by("card").aggregate(n=agg.count())
        stream('payments').aggregate(so far, of each col.card, n = agg.count())
        """
        return _aggregated(self.stream, self.keys, aggregates)

    def table(self, *, delete: Expr | None = None, retract: bool = False) -> Table:
        """Keep the latest row of each key, by arrival; event time plays no part in it.

        Args:
            delete: a condition; such a row deletes its key.
            retract: whether the changes say a row once more when it is replaced, as -U.
        """
        where = f"{self.stream.node.path}.table"
        if not isinstance(retract, bool):
            raise DefinitionError(f"{where}: retract={retract!r}: expected True or False")
        condition = None if delete is None else _condition(delete, f"{where}(delete=)")
        node = _reading(_timed(self.stream.node, "table"), self.parts)
        keys = tuple((name, e if isinstance(e, ex.Column) else ex.Column(name)) for name, e in self.keys)
        if keys != self.keys:
            node = self.stream.with_columns(**{n: e for n, e in self.keys if not isinstance(e, ex.Column)}).node
        return Table(_made(Tabled((node,), keys, condition, retract)).node, keys)

    def enrich(self, table: Table, *, how: str = "left", versioned: bool = False, suffix: str = "_right") -> Stream:
        """Give each row what a table says of its key.

        Args:
            table: with as many parts of the key.
            how: left or inner: whether rows come whose key the table does not have, with nulls.
            versioned: as the table was at the row's event time; rows and changes then wait for the watermark of both.
                Else as it is when the row arrives.
            suffix: for columns of the table whose names are there in the stream.

        >>> customers = stream("customers", time="ts").table("id")
        >>> stream("payments", time="ts").key_by("customer").enrich(customers)
        stream('payments').enrich(stream('customers').table(the latest row of each col.id), left by col.customer = \
            col.id, as the table is when the row arrives)
        """
        where = f"{self.stream.node.path}.enrich"
        if not isinstance(table, Table):
            raise DefinitionError(f"{where}: expected a table, as customers.table('id'), got {table!r:.80}")
        if not isinstance(versioned, bool):
            raise DefinitionError(f"{where}: versioned={versioned!r}: expected True or False")
        _check_sides(where, self.keys, table.keys, suffix)
        node = _reading(_timed(only_finals(self.stream.node), "enrich"), self.parts)
        how = _how(where, how, ("inner", "left"))
        return _made(Enriched((node, table.node), self.keys, table.keys, how, suffix, versioned))

    def _by_window(
        self,
        box: type[WindowJoined],
        where: str,
        right: KeyedStream,
        window: Window,
        how: str,
        suffix: str,
        options: Mapping[str, Any],
    ) -> Stream:
        known = ("allowed_lateness", "trigger", "emit_rest")
        unknown = next((name for name in options if name not in known), None)
        if unknown is not None:
            raise DefinitionError(f"{where}: {unknown}= is not one of {', '.join(known)}")
        if isinstance(window, Sliding) or (isinstance(window, Session) and isinstance(window.gap, Expr)):
            raise DefinitionError(f"{where}: {window!r} cannot join: its bounds belong to single rows")
        given = _windowed(self.stream, self.keys, window, **options)
        inputs = self._inputs_with(where, right, suffix)
        made = box(inputs, self.keys, right.keys, how, suffix, window, given.trigger, given.allowed_lateness,
                   given.emit_rest)  # fmt: skip
        return _made(made)

    def _joined(self, right: KeyedStream, by: Interval | AsOf, how: str, suffix: str, delete: Expr | None) -> Stream:
        inputs = self._inputs_with(f"{self.stream.node.path}.join", right, suffix)
        return _made(Joined(inputs, self.keys, right.keys, how, suffix, by, delete))

    def _inputs_with(self, where: str, right: KeyedStream, suffix: object) -> tuple[Node, ...]:
        """The boxes of both sides of a join."""
        if not isinstance(right, KeyedStream):
            raise DefinitionError(f"{where}: the other side needs a key, as other.key_by(...): {right!r:.80}")
        _check_sides(where, self.keys, right.keys, suffix)
        return tuple(_reading(_timed(only_finals(x.stream.node), "join"), x.parts) for x in (self, right))

    def __repr__(self) -> str:
        return f"{self.stream!r}.key_by({_listed(self.keys)})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_where_else(self, name))


@dataclass(frozen=True, slots=True, repr=False)
class WindowedStream:
    """A stream whose rows lie in windows. Made by `window`; what it gives is said with `aggregate`."""

    stream: Stream
    keys: Keys
    window: Window
    allowed_lateness: int
    trigger: Trigger | None
    emit_rest: bool

    def aggregate(self, **aggregates: Aggregate) -> Stream:
        """Give a row for each result of a window: the key, window_start, window_end, revision, final, the aggregates.

        Windows, patterns and joins behind it take only the rows that are final; a sink gets all.

        Args:
            aggregates: name=fyke.agg.count() and so on.

        Raises:
            DefinitionError: one is no aggregate, or window and trigger do not go together.
        """
        columns = [*(name for name, _ in self.keys), *RESULT_COLUMNS]
        _check_aggregates(f"{self.stream.node.path}.window", aggregates, columns)
        gap = [self.window.gap] if isinstance(self.window, Session) and isinstance(self.window.gap, Expr) else []
        read = [*(e for _, e in self.keys), *gap, *(e for each in aggregates.values() for e in each.args)]
        node = _reading(_timed(only_finals(self.stream.node), "window"), read)
        return _made(
            Windowing(
                (node,),
                self.keys,
                self.window,
                tuple(aggregates.items()),
                self.trigger,
                self.allowed_lateness,
                self.emit_rest,
            )
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_where_else(self, name))


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """The latest row of each key, by arrival. Made by `table` and `aggregate`; the engine's `table` reads it.

    Attributes:
        node: the box that holds it.
        keys: what a row belongs to.
    """

    node: Node
    keys: Keys

    @property
    def changes(self) -> Stream:
        """What it gives: a row for each change, with the column `change` in front: +I, +U, -D, and -U.

        As an output of an engine a table gives this, too.
        """
        return Stream(self.node)

    def join(self, other: Table, *, how: str = "inner", suffix: str = "_right") -> Table:
        """Join with another table by the keys of both: a table whose rows follow those of both.

        Args:
            other: with as many parts of the key.
            how: inner, left, right or outer: which table's rows need none of the other.
            suffix: for columns of the other table whose names are there.
        """
        where = f"{self.node.path}.join"
        if not isinstance(other, Table):
            raise DefinitionError(f"{where}: expected a table, got {other!r:.80}")
        _check_sides(where, self.keys, other.keys, suffix)
        made = _made(TableJoined((self.node, other.node), self.keys, other.keys, _how(where, how), suffix))
        return Table(made.node, self.keys)

    def named(self, name: str) -> Table:
        """Give it a name of its own."""
        return replace(self, node=replace(self.node, title=name))

    def describe(self, style: str = "text") -> str:
        """Draw the graph; see Stream.describe."""
        return self.changes.describe(style)

    def __repr__(self) -> str:
        return _written(self.node)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_where_else(self, name))


# ------------------------------------------------------------------------------------------------ helpers


_BY_ROW = ("filter", "branch", "select", "with_columns", "map", "union")
_BY_KEY = ("join", "asof", "cogroup", "enrich")


def _where_else(of: object, name: str) -> str:
    """What to say of a method that is not there: mostly it is one step further on."""
    text = f"{type(of).__name__} has no {name!r}"
    if isinstance(of, Stream) and name in _BY_KEY:
        return f"{text}: say first by what rows belong together: key_by(...).{name}(...)"
    if isinstance(of, KeyedStream) and name in _BY_ROW:
        return f"{text}: what is done with each row comes before the key: {name}(...).key_by(...)"
    if isinstance(of, WindowedStream):
        return f"{text}: say first what comes out of the windows: aggregate(...)"
    if isinstance(of, Table) and name in (*_BY_ROW, *_BY_KEY, "key_by", "window", "match"):
        return f"{text}: its changes are a stream: changes.{name}(...)"
    return text


def _how(where: str, how: object, allowed: tuple[str, ...] = HOWS) -> str:
    try:
        return check_how(how, allowed)
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error}") from None


def _check_sides(where: str, left: Keys, right: Keys, suffix: object) -> None:
    if len(left) != len(right):
        raise DefinitionError(
            f"{where}: the key has {len(left)} parts on the left ({keys_text(left)}), "
            f"{len(right)} on the right ({keys_text(right)})"
        )
    if not isinstance(suffix, str) or not suffix:
        raise DefinitionError(f"{where}: suffix={suffix!r}: expected a string that is not empty")


def _made(node: Node) -> Stream:
    """The stream of a box, after checking it as far as schemas are known."""
    schema = schema_of(node, [each.schema for each in node.inputs])
    return Stream(node if schema is None else replace(node, schema=schema))


def _windowed(
    stream: Stream,
    keys: Keys,
    window: Window,
    allowed_lateness: DurationLike = 0,
    trigger: Trigger | None = None,
    emit_rest: bool = False,
) -> WindowedStream:
    where = f"{stream.node.path}.window"
    if not isinstance(window, Window):
        raise DefinitionError(f"{where}: {window!r:.80} is no window, as fyke.tumbling('1h') is one")
    if trigger is not None and not isinstance(trigger, Trigger):
        raise DefinitionError(f"{where}: trigger={trigger!r:.80}: expected one of fyke.trigger, or None")
    if not isinstance(emit_rest, bool):
        raise DefinitionError(f"{where}: emit_rest={emit_rest!r}: expected True or False")
    if isinstance(window, Sliding) and (trigger is not None or emit_rest or allowed_lateness != 0):
        raise DefinitionError(f"{where}: {window!r} has one result for each row: it takes no other option")
    if isinstance(window, GlobalWindow) and trigger is None:
        raise DefinitionError(
            f"{where}: {window!r} never ends, so it needs a trigger: fyke.trigger.end_of_stream(), count(n), ...; "
            "a sum that goes on is aggregate() without a window"
        )
    try:
        check_together(window, trigger, emit_rest)
        lateness = 0 if type(allowed_lateness) is int and allowed_lateness == 0 else to_ns(allowed_lateness)
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error}") from None
    return WindowedStream(stream, keys, window, lateness, trigger, emit_rest)


def _check_aggregates(where: str, aggregates: Mapping[str, Aggregate], columns: Sequence[str]) -> None:
    if not aggregates:
        raise DefinitionError(f"{where}: aggregate() needs an aggregate, as n=fyke.agg.count()")
    for name, each in aggregates.items():
        if not isinstance(each, Aggregate):
            raise DefinitionError(f"{where}: {name}={each!r:.80} is no aggregate, as fyke.agg.count() is one")
        if name in columns:
            raise DefinitionError(
                f"{where}: {name}={each!r:.80}: the result has a column `{name}` already ({', '.join(columns)}); "
                "give the aggregate another name"
            )


def _aggregated(stream: Stream, keys: Keys, aggregates: Mapping[str, Aggregate]) -> Table:
    where = f"{stream.node.path}.aggregate"
    _check_aggregates(where, aggregates, ["change", *(name for name, _ in keys), "revision"])
    read = [*(e for _, e in keys), *(e for each in aggregates.values() for e in each.args)]
    node = _reading(_timed(only_finals(stream.node), "aggregate"), read)
    made = _made(Aggregated((node,), keys, tuple(aggregates.items())))
    return Table(made.node, tuple((name, ex.Column(name)) for name, _ in keys))


def _processed(
    stream: Stream,
    keys: Keys,
    make: type[Process] | Callable[..., Any],
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, StateDeclaration] | None = None,
    schema: SchemaLike | None = None,
    outputs: Sequence[str] | Mapping[str, SchemaLike | None] = (),
    on_error: str = "stop",
) -> Stream:
    where = f"{stream.node.path}.process"
    if not callable(make) or (isinstance(make, type) and not issubclass(make, Process)):
        raise DefinitionError(f"{where}: expected a subclass of fyke.Process or a function, got {make!r:.80}")
    is_class = isinstance(make, type)
    if on_error not in ("stop", "errors"):
        raise DefinitionError(f'{where}: on_error={on_error!r}: expected "stop" or "errors"')
    if is_class and state is not None:
        raise DefinitionError(f"{where}: the states of a class are its attributes; leave state= out")
    if not is_class and params is not None:
        raise DefinitionError(f"{where}: params= are for a class")
    for name, each in (state or {}).items():
        if not isinstance(each, StateDeclaration):
            raise DefinitionError(f"{where}: state {name!r} is {each!r:.60}, no ValueState, ListState or MapState")
    named = dict(outputs) if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
    for name in named:
        if not isinstance(name, str) or not name or name.split("_")[0] in ("late", "errors", "no", "held", "timeouts"):
            raise DefinitionError(f"{where}: {name!r} is no name for an output of its own")
    texts = []
    for name, value in (params or {}).items():
        try:
            texts.append((name, json.dumps(copied(value, f"params: {name}"), sort_keys=True)))
        except DataError as error:
            raise DefinitionError(f"{where}: {error}") from None
    if is_class:
        try:
            inspect.signature(make).bind(**(params or {}))
        except TypeError as error:
            raise DefinitionError(f"{where}: params= do not fit {make.__qualname__}: {error}") from None
    node = _timed(only_finals(stream.node), "process")
    given = tuple((name, _arrow(each)) for name, each in named.items())
    return _made(
        Processing((node,), keys, make, tuple(texts), tuple((state or {}).items()), _arrow(schema), given, on_error)
    )


def _timed(node: Node, what: str) -> Node:
    if not node.is_timed:
        raise DefinitionError(
            f"{node.path}.{what}: these rows have no place in time any more; filter, select, map, or give them out"
        )
    return node


def _reading(node: Node, expressions: Iterable[Expr]) -> Node:
    """The box, with fields of structs that are read, as col["probe.amount"], as columns of their own."""
    names = dict.fromkeys(name for e in expressions for name in ex.columns(e) if "." in name)
    known = node.schema
    wanted = [name for name in names if known is None or known.get_field_index(name) < 0]
    if not wanted:
        return node
    return _made(Project((node,), tuple((name, ex.Column(name)) for name in wanted), keep=True)).node


def _arrow(schema: SchemaLike | None) -> pa.Schema | None:
    if schema is None:
        return None
    return plain_schema(schema.to_arrow() if isinstance(schema, Schema) else schema)


def _condition(given: object, where: str) -> Expr:
    if isinstance(given, str | bool):
        raise DefinitionError(f"{where}: got {given!r}, not an expression: write for example col.amount > 0")
    return row_expression(given, where)


def _listed(columns: Keys) -> str:
    return ", ".join(name if isinstance(e, ex.Column) and e.name == name else f"{name} = {e!r}" for name, e in columns)


def _written(node: Node) -> str:
    """The calls that make it."""
    if isinstance(node, Source):
        return f"stream({node.name!r})"
    first = _written(node.inputs[0])
    if isinstance(node, Side):
        return f"{first}.{node.output}" if node.output in SIDES else f"{first}.side({node.output!r})"
    others = [_written(each) for each in node.inputs[1:]]
    text = f"{first}.{node.kind}({', '.join([*others, *node.words()])})"
    return text if node.title is None else f"{text}.named({node.title!r})"
