"""Patterns + schema -> Plan: the only place that knows both sides.

    Pattern --automaton--> states and guards --this file--> condition bits, guard code, run registers, tables

A condition is split along its `&`: the part that reads only the row becomes a bit of the row's mask, judged once per
batch for all patterns that have it; the part that reads the key's previous event becomes a bit judged when rows leave
the reorder buffer; the part that reads the partial match becomes a program (or a Python callable) that the engine runs
per run and event, after the bits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fyke import automaton as am
from fyke import expr as ex
from fyke.compact import FINAL, Compact
from fyke.duration import format_ns
from fyke.equality import Pair, common_equality
from fyke.errors import DefinitionError, PatternError
from fyke.expr import Expr
from fyke.lower import Builder, Shared
from fyke.pattern import Pattern, Stage
from fyke.plan import F64, NONE, PHYSICAL, PatternPlan, Plan, Program, StagePlan, Tables
from fyke.schema import Schema, infer_schema, typecheck, with_keys
from fyke.strategy import COMPACT, GENERAL, STRICT, choose

ALWAYS, NEVER, IF_BIT, UNLESS_BIT, CODE = range(5)
G_BIT, G_CONDITION, G_NOT, G_JUMP_FALSE, G_JUMP_TRUE, G_TRUE, G_FALSE = range(7)
ACTIONS: Final = {"take": 0, "ignore": 1, "stop": 2}
KINDS: Final = {am.NORMAL: 0, am.START: 1, am.FINAL: 2, am.STOP: 3, am.PENDING: 4}
SKIPS: Final = {"no_skip": 0, "to_next": 1, "past_last_event": 2, "to_first": 3, "to_last": 4}
UPDATES: Final = {
    "events": 0, "first": 1, "last": 2, ("sum", 0): 3, ("sum", 1): 4, ("min", 0): 5, ("min", 1): 6, ("max", 0): 7,
    ("max", 1): 8, "values": 9, "sum_values": 9,
}  # fmt: skip


def compile_plan(
    patterns: Sequence[Pattern],
    schema: Schema | None,
    strategy: str = "auto",
    n_retired: int = 0,
    one_by_one: str | None = None,
) -> Plan:
    """Compile patterns over a schema.

    Args:
        patterns: checked and compiled in order; results name them by their place.
        schema: the columns; None: types follow from the patterns' own use.
        strategy: how they are run, as in fyke.strategy.STRATEGIES.
        n_retired: so many of the patterns, the last, only finish partial matches that are open, and begin none.
        one_by_one: the option that asks for partial matches one by one, if any does.

    Raises:
        PatternError: a pattern is wrong as a whole.
        SchemaError: a pattern and the schema do not meet.
    """
    for p in patterns:
        p.check()
    resolved = _resolve(patterns, schema)
    return _Compiler(patterns, resolved, strategy, n_retired, one_by_one).plan()


def _resolve(patterns: Sequence[Pattern], schema: Schema | None) -> Schema:
    """Check every expression against the schema; infer the types of the columns used that it does not say."""
    conditions = [c for p in patterns for c in p.conditions()]
    keys = [("key", k) for p in patterns for k in p.key]
    if schema is not None:
        for where, condition in conditions:
            typecheck(condition, schema, where, condition=True)
        for where, key in keys:
            typecheck(key, schema, where)
    if schema is None or any(f.type == "any" for f in schema):
        schema = infer_schema(conditions, keys, known=schema)
    return with_keys(schema, [key for _, key in keys])


# ------------------------------------------------------------------------------------------------ conditions


def _reads_match(e: Expr) -> bool:
    return any(isinstance(x, ex.Agg) or (isinstance(x, ex.Call) and x.arity == 2) for x in ex.walk(e))


def _reads_previous(e: Expr) -> bool:
    return any(isinstance(x, ex.Prev) for x in ex.walk(e))


def _has_callable(e: Expr) -> bool:
    return any(isinstance(x, ex.Call) and x.arity == 2 for x in ex.walk(e))


def _conjoin(parts: Sequence[Expr]) -> Expr:
    whole = parts[0]
    for p in parts[1:]:
        whole = whole & p
    return whole


@dataclass(slots=True)
class _Bits:
    """Row conditions of one kind (of the row, or of a keyspace's lag), each a bit of the mask."""

    builder: Builder
    bits: dict[Expr, int] = field(default_factory=dict)


class _Compiler:
    def __init__(
        self, patterns: Sequence[Pattern], schema: Schema, strategy: str, n_retired: int, one_by_one: str | None
    ) -> None:
        self.n_retired = n_retired
        self.patterns = patterns
        self.strategy = strategy
        self.one_by_one = one_by_one
        self.schema = schema
        self.tables = Tables()
        self.shared = Shared(self.tables, schema)
        self.n_bits = 0
        self.row = _Bits(Builder(self.shared))
        self.lags: dict[int, _Bits] = {}
        self.keyspaces: dict[tuple[Expr, ...], int] = {}
        self.keyspace_columns: list[tuple[int, ...]] = []
        self.lag_used: set[int] = set()
        self.computed = Builder(self.shared)
        self.guard_index: dict[tuple[object, ...], int] = {}
        self.callables: list[tuple[int, Callable[..., Any]]] = []
        self.infos: list[PatternPlan] = []
        self.notes: list[str] = []

    def plan(self) -> Plan:
        compiled = [_PatternCompiler(self, i, p) for i, p in enumerate(self.patterns)]
        t = self.tables
        t.mask_words = max(1, -(-self.n_bits // 64))
        for c in compiled:
            c.write()
        t.row_program = self._program(self.row.builder)
        t.computed_program = self._program(self.computed)
        for i, columns in enumerate(self.keyspace_columns):
            lag = self._program(self.lags[i].builder) if i in self.lags else NONE
            t.keyspaces.append((len(t.key_columns), len(columns), int(i in self.lag_used or i in self.lags), lag))
            t.key_columns += columns
        return Plan(
            t.to_bytes(),
            tuple(t.columns),
            tuple(self.infos),
            tuple(self.callables),
            self._types(),
            self._definition(),
            tuple(self.notes),
            _serialisable(self.patterns),
        )

    def _program(self, builder: Builder) -> int:
        return self.add_program(builder.finish()) if builder.code else NONE

    def add_program(self, program: Program) -> int:
        self.tables.programs.append(program)
        return len(self.tables.programs) - 1

    def _types(self) -> tuple[tuple[str, str], ...]:
        expressions = [e for p in self.patterns for e in (*(c for _, c in p.conditions()), *p.key)]
        names = dict.fromkeys(name for e in expressions for name in ex.columns(e))
        return tuple((name, self.schema[name].type) for name in names)

    def _definition(self) -> str:
        named = [p.to_json() if _serialisable([p]) else repr(p) for p in self.patterns]
        retired = {"retired": self.n_retired} if self.n_retired else {}
        return json.dumps({"patterns": named, "types": dict(self._types())} | retired, sort_keys=True)

    # -- keys

    def keyspace(self, key: tuple[Expr, ...]) -> int:
        if key not in self.keyspaces:
            self.keyspaces[key] = len(self.keyspace_columns)
            self.keyspace_columns.append(tuple(self.key_column(k) for k in key))
        return self.keyspaces[key]

    def key_column(self, key: Expr) -> int:
        if isinstance(key, ex.Column):
            return self.shared.column(key.name)
        if _reads_match(key) or _reads_previous(key):
            raise DefinitionError(f"key {key!r}: a key is made of the event's own columns")
        column = self.shared.hidden("computed", typecheck(key, self.schema, "key"), key)
        self.computed.effect("store", self.computed.lower(key), column)
        return column

    # -- conditions as bits

    def bit(self, condition: Expr, keyspace: int | None) -> int:
        """The mask bit of a row condition; with a keyspace, of one that reads the key's previous event."""
        where = self.row if keyspace is None else self.lags.setdefault(keyspace, _Bits(Builder(self.shared)))
        if condition not in where.bits:
            where.builder.effect("bit", where.builder.lower(condition), self.n_bits)
            where.bits[condition] = self.n_bits
            self.n_bits += 1
        return where.bits[condition]


def _serialisable(patterns: Sequence[Pattern]) -> bool:
    return not any(
        isinstance(x, ex.Call) and x.name is None for p in patterns for _, c in p.conditions() for x in ex.walk(c)
    )


# ------------------------------------------------------------------------------------------------ one pattern


class _PatternCompiler:
    """One pattern: run registers, conditions, guards, states."""

    def __init__(self, compiler: _Compiler, index: int, pattern: Pattern) -> None:
        self.c = compiler
        self.index = index
        self.pattern = pattern
        self.keyspace = compiler.keyspace(pattern.key)
        self.registers: dict[tuple[str, str, str], int] = {}
        self.parts: dict[Expr, am.Guard] = {}
        self.primitives: dict[Expr, tuple[str, int]] = {}
        self.run_conditions: dict[Expr, int] = {}
        self.states = am.flatten(am.build(pattern))
        if index >= len(compiler.patterns) - compiler.n_retired:
            self.states[0] = replace(self.states[0], edges=())
        self.strategy = choose(
            compiler.strategy, pattern, self.states, _reads_match, _reads_previous, compiler.one_by_one
        )
        self.equality = self.find_equality()
        self.stages = _taking_stages(pattern)
        self.stage_index = {s.name: i for i, s in enumerate(self.stages)}
        # conditions first: the number of mask words must be known before any table is written
        for state in self.states:
            for edge in state.edges:
                for guard in (edge.guard, edge.final):
                    self.prepare(guard)

    # -- index

    def find_equality(self) -> Pair | None:
        """The columns whose equality finds the partial matches that an event concerns."""
        if self.strategy.number != GENERAL or self.c.strategy == "general":
            return None
        pair = common_equality(self.states)
        same_type = pair is not None and len({PHYSICAL[self.c.schema[name].type] for name in pair}) == 1
        return pair if same_type else None

    # -- registers

    def register(self, kind: str, stage: str, column: str) -> int:
        return self.registers.setdefault((kind, stage, column), len(self.registers))

    def updates(self, stage: str) -> list[tuple[int, int, int, int]]:
        """What an event of a stage does to the registers: counts last, for the others ask whether it is the first."""
        mine = [(k, c, slot) for (k, s, c), slot in self.registers.items() if s == stage]
        out: list[tuple[int, int, int, int]] = []
        for kind, name, slot in mine:
            if kind in ("sum", "min", "max"):
                column = self.c.shared.column(name)
                floats = int(self.c.tables.columns[column].physical == F64)
                count = self.register("sum_values" if kind == "sum" else "values", stage, name)
                out.append((UPDATES[kind, floats], slot, column, count))
        for kind, name, slot in mine:
            if kind in ("values", "sum_values"):
                out.append((UPDATES[kind], slot, self.c.shared.column(name), 0))
            elif kind in ("events", "first", "last"):
                out.append((UPDATES[kind], slot, 0, 0))
        return out

    # -- conditions

    def prepare(self, guard: am.Guard) -> None:
        if guard.cond is not None and guard.cond not in self.parts:
            self.parts[guard.cond] = self.split(guard.cond)
        for g in guard.args:
            self.prepare(g)

    def split(self, condition: Expr) -> am.Guard:
        """A condition as the conjunction of its primitive parts: bits first, cheap before dear."""
        row: list[Expr] = []
        lag: list[Expr] = []
        run: list[Expr] = []
        callables: list[Expr] = []
        for part in ex.split_and(condition):
            where = (
                callables
                if _has_callable(part)
                else run
                if _reads_match(part)
                else lag
                if _reads_previous(part)
                else row
            )
            where.append(part)
        guards: list[am.Guard] = []
        if row:
            guards.append(self.primitive(_conjoin(row), "bit", lambda e: self.c.bit(e, None)))
        if lag:
            guards.append(self.primitive(_conjoin(lag), "bit", lambda e: self.c.bit(e, self.keyspace)))
        if run:
            guards.append(self.primitive(_conjoin(run), "condition", self.run_condition))
        guards += [self.callable_guard(e, False) for e in callables]
        return am.both(*guards)

    def primitive(self, e: Expr, kind: str, number: Callable[[Expr], int]) -> am.Guard:
        if e not in self.primitives:
            self.primitives[e] = (kind, number(e))
        return am.cond(e)

    def run_condition(self, e: Expr) -> int:
        if _reads_previous(e):
            self.c.lag_used.add(self.keyspace)
        builder = Builder(self.c.shared, self.register)
        builder.effect("result", builder.condition(e))
        self.c.tables.conditions.append((self.c.add_program(builder.finish()), 0, self.index))
        return len(self.c.tables.conditions) - 1

    def python_condition(self, e: Expr) -> int:
        assert isinstance(e, ex.Call)
        self.c.tables.conditions.append((NONE, len(self.c.callables), self.index))
        self.c.callables.append((self.index, e.fn))
        return len(self.c.tables.conditions) - 1

    def callable_guard(self, e: Expr, negated: bool) -> am.Guard:
        """and, or, not around a callable become guards; a negation goes down to the leaves, where null is known."""
        if isinstance(e, ex.Unary) and e.op == "not":
            return self.callable_guard(e.arg, not negated)
        if isinstance(e, ex.Binary) and e.op in ("and", "or"):
            join = am.both if (e.op == "and") != negated else am.either
            return join(self.callable_guard(e.left, negated), self.callable_guard(e.right, negated))
        if isinstance(e, ex.Call) and e.arity == 2:
            call = self.primitive(e, "condition", self.python_condition)
            return am.neg(call) if negated else call
        if _has_callable(e):
            raise PatternError(f"{e!r}: a callable that reads the partial match can only be combined with &, | and ~")
        return self.split(~e if negated else e)

    # -- guards

    def resolve(self, guard: am.Guard) -> am.Guard:
        """The guard over primitive conditions."""
        if guard.op == "cond":
            assert guard.cond is not None
            return self.parts[guard.cond]
        if guard.op == "not":
            return am.neg(self.resolve(guard.args[0]))
        if guard.op in ("and", "or"):
            return (am.both if guard.op == "and" else am.either)(*[self.resolve(g) for g in guard.args])
        return guard

    def guard(self, guard: am.Guard) -> int:
        resolved = self.resolve(guard)
        if resolved.op == "const":
            return self.add_guard(ALWAYS if resolved.value else NEVER, 0, 0)
        inner = resolved.args[0] if resolved.op == "not" else resolved
        if inner.cond is not None and self.primitives[inner.cond][0] == "bit":
            return self.add_guard(UNLESS_BIT if resolved.op == "not" else IF_BIT, self.primitives[inner.cond][1], 0)
        steps: list[tuple[int, int]] = []
        self.code(resolved, steps)
        first = len(self.c.tables.guard_steps)
        index = self.add_guard(CODE, first, len(steps), tuple(steps))
        if self.c.tables.guards[index][1] == first:
            self.c.tables.guard_steps += steps
        return index

    def add_guard(self, kind: int, arg: int, n: int, code: tuple[tuple[int, int], ...] = ()) -> int:
        key = (kind, code) if kind == CODE else (kind, arg)
        if key not in self.c.guard_index:
            self.c.guard_index[key] = len(self.c.tables.guards)
            self.c.tables.guards.append((kind, arg, n))
        return self.c.guard_index[key]

    def code(self, guard: am.Guard, steps: list[tuple[int, int]]) -> None:
        """Short-circuit code on one accumulator; jumps go to the end of their and/or."""
        if guard.op == "const":
            steps.append((G_TRUE if guard.value else G_FALSE, 0))
        elif guard.op == "cond":
            assert guard.cond is not None
            kind, number = self.primitives[guard.cond]
            steps.append((G_BIT if kind == "bit" else G_CONDITION, number))
        elif guard.op == "not":
            self.code(guard.args[0], steps)
            steps.append((G_NOT, 0))
        else:
            jump = G_JUMP_FALSE if guard.op == "and" else G_JUMP_TRUE
            holes: list[int] = []
            for i, g in enumerate(sorted(guard.args, key=self.cost)):
                if i:
                    holes.append(len(steps))
                    steps.append((jump, 0))
                self.code(g, steps)
            for h in holes:
                steps[h] = (jump, len(steps))

    def cost(self, guard: am.Guard) -> int:
        """Bits before programs before Python."""
        if guard.cond is not None:
            return 0 if self.primitives[guard.cond][0] == "bit" else 2 if _has_callable(guard.cond) else 1
        return max((self.cost(g) for g in guard.args), default=0)

    # -- what rows matter

    def bits_of(self, guard: am.Guard) -> set[int] | None:
        """For each condition in the guard a bit without which it cannot hold; None if a condition has none."""
        if guard.cond is not None:
            part = self.parts[guard.cond]
            own = [g.cond for g in (part.args if part.op == "and" else (part,)) if g.cond is not None]
            bits = [self.primitives[e][1] for e in own if self.primitives[e][0] == "bit"]
            return {bits[0]} if bits else None
        found: set[int] = set()
        for g in guard.args:
            bits_below = self.bits_of(g)
            if bits_below is None:
                return None
            found |= bits_below
        return found

    def quiet(self, index: int, state: am.FlatState) -> tuple[bool, set[int]]:
        """Whether a row for which no condition holds leaves a run here as it is, and the bits that can change that."""
        care: set[int] = set()
        open_edges: list[am.FlatEdge] = []
        for e in state.edges:
            for guard in (e.guard, e.final):
                bits = self.bits_of(guard)
                if bits is None:
                    return False, set()
                care |= bits
            if am.holds(e.guard, frozenset()):
                open_edges.append(e)
        if state.kind == am.START:
            return not any(e.action == "take" for e in open_edges), care
        stays = len(open_edges) == 1 and open_edges[0].action == "ignore" and open_edges[0].target == index
        return stays and open_edges[0].gap is None, care

    def care(self, bits: set[int]) -> int:
        t = self.c.tables
        first = len(t.cares)
        words = [0] * t.mask_words
        for b in bits:
            words[b // 64] |= 1 << (b % 64)
        t.cares += words
        return first

    # -- tables

    def write(self) -> None:
        t, p = self.c.tables, self.pattern
        first_state, first_stage = len(t.states), len(t.stages)
        rows: list[tuple[int, ...]] = []
        all_bits: set[int] = set()
        every_row = False
        start_quiet, start_bits = False, set[int]()
        for index, state in enumerate(self.states):
            quiet, bits = self.quiet(index, state) if state.kind not in (am.FINAL, am.STOP) else (True, set[int]())
            if state.kind == am.START:
                start_quiet, start_bits = quiet, bits
            every_row |= not quiet
            all_bits |= bits
            first_edge = len(t.edges)
            for e in state.edges:
                stage = self.stage_index[e.stage] if e.stage is not None and e.action == "take" else NONE
                guard, final = self.guard(e.guard), self.guard(e.final)
                t.edges.append(
                    (ACTIONS[e.action], first_state + e.target, stage, guard, final, int(e.gap is not None), e.gap or 0)
                )
            where = self.stage_index.get(state.stage, NONE) if state.stage is not None else NONE
            rows.append(
                (
                    KINDS[state.kind],
                    where,
                    state.gap or 0,
                    first_edge,
                    len(state.edges),
                    int(quiet),
                    self.care(bits),
                    0,
                    0,
                )
            )
        t.states += rows
        for s in self.stages:
            updates = self.updates(s.name)
            t.stages.append((len(t.updates), len(updates)))
            t.updates += updates
        compact = self.strategy.compact
        if compact is not None:
            # a class that no condition makes takes nothing, or else every row matters
            every_row = any(row[0] for row in compact.cells)
            all_bits = {b for c in compact.conditions for b in self.bits_of(am.cond(c)) or ()}
        # the conditions read these columns, so they are there already
        equal = (NONE, NONE) if self.equality is None else tuple(map(self.c.shared.column, self.equality))
        skip = p.skip_strategy
        t.patterns.append(
            (
                first_state, len(self.states), first_stage, len(self.stages), self.keyspace,
                SKIPS[skip.kind], self.stage_index[skip.stage] if skip.stage is not None else 0, int(skip.throw),
                p.window or 0, len(self.registers), int(every_row), self.care(all_bits), self.care(start_bits),
                int(start_quiet), int(any(s.gap for s in self.states)), self.strategy.number,
                len(t.compacts) if compact is not None else 0, *equal,
            )
        )  # fmt: skip
        if compact is not None:
            self.write_compact(compact)
        nodes = tuple(slot for (kind, _, _), slot in self.registers.items() if kind in ("first", "last"))
        key_columns = self.c.keyspace_columns[self.keyspace]
        names = tuple(f"{i}:{s.stage or s.kind}" for i, s in enumerate(self.states))
        self.c.infos.append(
            PatternPlan(p.name, tuple(self.stages), p.key, tuple(t.columns[c].type for c in key_columns), key_columns,
                        len(self.registers), nodes, names, p.window is not None,
                        tuple((s.stage, *s.place) for s in self.states), tuple(self.registers), self.keyspace,
                        self.keyspace in self.c.lag_used or self.keyspace in self.c.lags)
        )  # fmt: skip
        self.c.notes += self.describe(every_row)

    def write_compact(self, compact: Compact) -> None:
        t = self.c.tables
        t.compacts.append(
            (len(t.compact_conditions), len(compact.conditions), len(compact.cells), len(t.compact_states),
             len(t.compact_cells))
        )  # fmt: skip
        t.compact_conditions += [self.guard(am.cond(c)) for c in compact.conditions]
        for subsets in compact.subsets:
            t.compact_states.append((len(t.compact_sets), len(subsets)))
            t.compact_sets += [sum(1 << state for state in subset) for subset in subsets]
        for takes in (takes for row in compact.cells for takes in row):
            t.compact_cells.append((len(t.compact_takes), len(takes)))
            t.compact_takes += [(self.stage_index[s], NONE if target == FINAL else target) for s, target in takes]

    def describe(self, every_row: bool) -> list[str]:
        p = self.pattern
        size = f"{len(self.states)} states, {len(self.registers)} run registers"
        compact = self.strategy.compact
        how = {
            GENERAL: f"general runs ({size})",
            STRICT: f"strict sequence ({len(self.states) - 1} events)",
            COMPACT: f"compact set ({0 if compact is None else len(compact.cells)} states)",
        }[self.strategy.number]
        lines = [f"pattern {p.name or self.index}: {how}", f"  why: {self.strategy.why}"]
        if self.equality is not None:
            event, match = self.equality
            lines.append(f"  index: an event concerns partial matches whose first event's {match} is its {event}")
        why = "some state changes on any row" if every_row else "rows for which no condition holds are passed over"
        lines.append(f"  rows: {why}")
        for e, (kind, number) in self.primitives.items():
            reads = (
                "Python, with the GIL"
                if _has_callable(e)
                else "program per run"
                if kind == "condition"
                else "bit per row"
            )
            lines.append(f"  condition {number} ({reads}): {e!r}")
        if p.window is not None:
            lines.append(f"  within {format_ns(p.window)}: the deadline heap ends runs")
        return lines


def outline(pattern: Pattern) -> PatternPlan:
    """Give what is known of a pattern before there is a schema."""
    return PatternPlan(pattern.name, tuple(_taking_stages(pattern)), pattern.key)


def _taking_stages(pattern: Pattern) -> list[StagePlan]:
    """All stages in the order written; numbered for the automaton and named in results."""
    out: list[StagePlan] = []

    def visit(stages: Sequence[Stage], repeats: bool) -> None:
        for s in stages:
            loops = repeats or s.quantifier.max is None or s.quantifier.max > 1
            if s.group is not None:
                visit(s.group, loops)
            else:
                assert s.name is not None
                out.append(StagePlan(s.name, loops, s.negated))

    visit(pattern.stages, False)
    return out
