"""Streams: however the rows are cut into pushes, and wherever the engine is restored, the same comes out."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import (
    Engine,
    ListState,
    Process,
    ValueState,
    agg,
    begin,
    col,
    join,
    session,
    sliding,
    stream,
    trigger,
    tumbling,
)

SCHEMA = pa.schema({"t": pa.int64(), "k": pa.string(), "v": pa.int64()})


def source(name, **options):
    return stream(name, time="t", unit="ns", schema=SCHEMA, **options)


A, B = source("a", out_of_order="3ns"), source("b")
UP = begin("low", col.v < 4).followed_by("high", col.v > 5).within("12ns").named("up")
GONE = begin("one", col.v == 7).not_followed_by("zero", col.v == 0).within("5ns").named("gone")


def twice(row):
    return [{"t": row["t"], "k": row["k"], "v": row["v"]}] * 2 if row["v"] > 6 else None


class Quiet(Process):
    """Says after five ns of silence what was heard."""

    heard = ListState(int, ttl="9ns")
    n = ValueState(int)

    def on_row(self, row, ctx):
        self.heard.append(row["v"])
        self.n.set(self.n.get(0) + 1)
        ctx.set_timer(after="5ns")
        if row["v"] == 9:
            raise ValueError("nine")
        if row["v"] == 8:
            ctx.emit_to("loud", {"t": row["t"], "k": ctx.key, "v": 8})

    def on_timer(self, name, ctx):
        return {"k": ctx.key, "heard": list(self.heard), "n": self.n.get(), "v": len(self.heard)}


QUIET = A.key_by("k").process(
    Quiet,
    schema=pa.schema({"k": pa.string(), "heard": pa.list_(pa.int64()), "n": pa.int64(), "v": pa.int64()}),
    outputs={"loud": SCHEMA},
    on_error="errors",
)
UPS = A.key_by("k").match({"up": UP, "gone": GONE}, timeouts=True)
LOOSE = stream("loose", time="t", unit="ns")
BUSY = begin("one", col.n > 0).followed_by("two", col.n > 1).within("40ns").by("k")
WINDOWS = A.key_by("k").window(tumbling("6ns"), trigger=trigger.per_update()).aggregate(n=agg.count(), v=agg.sum("v"))
GRAPHS = {
    "rows": A.filter(col.v > 2).with_columns(w=col.v * 2).map(twice, schema=SCHEMA),
    "branches": A.branch(big=col.v > 6, small=col.v < 2),
    "matches": UPS,
    "side outputs": {"up": UPS, "timeouts": UPS.timeouts.select("k", "low.v"), "late": UPS.late.filter(col.v > 3)},
    "matches of matches": UPS.match(begin("x").followed_by("y").within("20ns").by("k"), max_partials=50),
    "two sources": A.union(B, A.filter(col.v > 4)).key_by("k").match(UP),
    "an interval join": A.key_by("k").join(B.key_by("k"), join.interval("-4ns", "6ns"), how="outer"),
    "an as-of join": A.filter(col.v > 2).key_by("k").asof(B.key_by("k"), "9ns", delete=col.v == 0),
    "a stream joined with its own matches": {
        "joined": A.key_by("k").join(UPS.key_by("k"), join.interval(0, "8ns"), how="left"),
        "late": A.key_by("k").join(UPS.key_by("k"), join.interval(0, "8ns"), how="left").side("late_left").select("v"),
    },
    "a process": {"quiet": QUIET, "loud": QUIET.side("loud").key_by("k").match(UP), "errors": QUIET.errors.select("v")},
    "a process joined with its input": A.key_by("k").join(QUIET.key_by("k"), join.interval(0, "9ns"), how="outer"),
    "windows": {
        "tumbling": A.key_by("k")
        .window(tumbling("8ns"), allowed_lateness="4ns")
        .aggregate(n=agg.count(), v=agg.sum("v")),
        "session": A.window(session("3ns"), trigger=trigger.count(2)).aggregate(last=agg.last("v")),
        "sliding": A.key_by("k").window(sliding("5ns")).aggregate(most=agg.max("v")),
        "late": A.key_by("k").window(tumbling("8ns"), allowed_lateness="4ns").aggregate(n=agg.count()).late.select("v"),
    },
    "windows, then a pattern": {"all": WINDOWS, "busy": WINDOWS.match(BUSY)},
    "a pattern, then windows": UPS.window(tumbling("10ns")).aggregate(n=agg.count(), v=agg.sum(col["high.v"])),
    "a stream joined with its own windows": A.key_by("k").join(
        WINDOWS.key_by("k"), join.interval(0, "8ns"), how="outer"
    ),
    "tables": {
        "sums": A.key_by("k").aggregate(n=agg.count(), v=agg.sum("v")),
        "joined": A.table("k", delete=col.v == 0).join(B.table("k"), how="outer"),
        "enriched": B.key_by("k").enrich(A.table("k"), how="inner"),
        "versioned": B.key_by("k").enrich(A.table("k"), versioned=True),
    },
    "unknown columns": {
        "one": LOOSE.union(B).key_by("k").match(UP),
        "two": B.key_by("k").join(LOOSE.key_by("k"), join.interval("-4ns", "6ns"), how="outer"),
        "three": B.key_by("k").enrich(LOOSE.table("k")),
    },
    "a diamond": {
        "all": A.filter(col.v > 3).union(UPS.select(t=col["low.t"], k=col.k, v=col["low.v"]), A.filter(col.v < 3)),
        "ups": UPS.select("k").union(UPS.timeouts.select("k")),
    },
}

ROW = st.tuples(st.integers(0, 30), st.sampled_from(["x", "y", "z", None]), st.integers(0, 9))
CALL = st.one_of(
    st.tuples(st.just("push"), st.sampled_from("ab"), st.lists(ROW, min_size=1, max_size=12)),
    st.tuples(st.just("advance"), st.sampled_from(["a", "b", None]), st.integers(0, 30)),
    st.tuples(st.just("idle"), st.sampled_from("ab"), st.just(0)),
)
CALLS = st.lists(CALL, max_size=6)


def table(rows):
    return pa.Table.from_pylist([dict(zip(("t", "k", "v"), row, strict=True)) for row in rows], schema=SCHEMA)


def run(definition, calls, cuts=None, restored_after=()):
    """Everything that comes out; rows are cut into pushes by what `cuts` draws."""
    engine = Engine(definition)
    found = []
    for number, (kind, name, what) in enumerate(calls):
        if name is not None and name not in engine.inputs:
            name = "loose" if "loose" in engine.inputs else "a"
        if kind == "push":
            rows = sorted(what, key=lambda row: row[0]) if number % 2 else what
            while rows:
                n = len(rows) if cuts is None else cuts(len(rows))
                found.append(engine.push(table(rows[:n]), to=name))
                rows = rows[n:]
                engine.check()
                if number in restored_after:
                    engine = Engine.restore(engine.snapshot(), definition)
        elif kind == "advance":
            found.append(engine.advance(what, input=name))
        else:
            found.append(engine.idle(name))
        if number in restored_after:
            state = engine.snapshot()
            engine = Engine.restore(state, definition)
            assert engine.snapshot() == state
    if "loose" in engine.inputs:
        found.append(engine.push(table([]), to="loose"))
    found.append(engine.flush())
    engine.check()
    return fyke.StreamResults.together(found), engine.statistics()


def plain(found):
    """Tables by output and by box, and the times of what has some."""
    seen = {}
    for kind, several in (("output", found.outputs), ("side", found.sides)):
        for name, records in several.items():
            for box in records.boxes:
                seen[kind, name, box] = records.of(box).to_arrow().to_pydict()
    seen["times"] = {name: records.times.tolist() for name, records in found.outputs.items() if "late" not in name}
    return seen


@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=10)
@given(data=st.data(), calls=CALLS)
def test_any_cut_into_pushes_gives_the_same(name, data, calls):
    whole, counted = run(GRAPHS[name], calls)
    one_by_one, _ = run(GRAPHS[name], calls, cuts=lambda n: 1)
    cut, counted_too = run(GRAPHS[name], calls, cuts=lambda n: data.draw(st.integers(1, n)))
    assert plain(whole) == plain(one_by_one) == plain(cut)
    assert (counted.late, counted.rows, counted.watermark) == (
        counted_too.late,
        counted_too.rows,
        counted_too.watermark,
    )


@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=10)
@given(data=st.data(), calls=CALLS)
def test_restored_after_any_push_it_goes_on_as_if_it_had_never_stopped(name, data, calls):
    whole, counted = run(GRAPHS[name], calls)
    numbers = st.sets(st.integers(0, max(len(calls) - 1, 0)))
    restored, counted_too = run(GRAPHS[name], calls, lambda n: min(n, 5), restored_after=data.draw(numbers))
    assert plain(whole) == plain(restored)
    assert (counted.late, counted.rows, counted.inputs) == (counted_too.late, counted_too.rows, counted_too.inputs)
