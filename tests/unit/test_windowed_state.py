"""Snapshots of windowed operators: canonical, complete, and read as if an enemy had written them."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest

from fyke import DefinitionError, StateError, agg, col, trigger, window
from fyke.operator import END, Batch, Marks
from fyke.operators.windowed import Windowed

SCHEMA = pa.schema([("key", pa.string()), ("v", pa.int64()), ("x", pa.float64()), ("text", pa.string())])
AGGREGATES = {
    "n": agg.count(),
    "sum": agg.sum(col.x * 2),
    "most": agg.max("v"),
    "last": agg.last("text"),
    "longest": agg.arg_max("text", "v"),
    "values": agg.collect("v"),
}
KINDS = {
    "tumbling": (window.Tumbling(10), {"allowed_lateness": "5ns"}),
    "hopping": (window.Hopping(10, 3), {"trigger": trigger.Trigger("continuous", 4)}),
    "session": (window.Session(7), {"trigger": trigger.Trigger("continuous", 4), "allowed_lateness": "9ns"}),
    "count trigger": (window.Session(7), {"trigger": trigger.count(3), "emit_rest": True}),
    "count": (window.count_window(4), {"emit_rest": True}),
    "sliding count": (window.count_window(4, every=3), {}),
    "global": (window.global_window(), {"trigger": trigger.count(3, purge=True)}),
}


def make(kind):
    made, options = KINDS[kind]
    return Windowed(made, AGGREGATES, SCHEMA, {"key": col.key, "half": col.v // 4}, **options)


def feed(n=60, seed=1, start=0):
    """Batches of a row each, with watermarks that follow."""
    rng = random.Random(seed)
    batches, now = [], 0
    for i in range(n):
        now += rng.randrange(3)
        row = {
            "key": rng.choice("abc"),
            "v": rng.randrange(8),
            "x": rng.random(),
            "text": rng.choice(["", "ä", "zz", None]),
        }
        time = np.array([now - rng.randrange(6)], np.int64)
        marks = Marks.one(2 * i + 1, now - 4 + i % 2) if i % 4 == 0 and i > 4 else Marks.none()
        batches.append(Batch(pa.RecordBatch.from_pylist([row], SCHEMA), time, np.array([2 * i], np.uint64), marks))
    seen = -100
    for i, batch in enumerate(batches):  # watermarks rise
        if len(batch.marks) and batch.marks.times[0] <= seen:
            batches[i] = Batch(batch.rows, batch.times, batch.origins, Marks.none())
        elif len(batch.marks):
            seen = int(batch.marks.times[0])
    return batches[start:]


def told(output):
    return [
        output.results.rows.to_pylist(),
        output.results.times.tolist(),
        {k: t.to_pylist() for k, t in output.side.items()},
    ]


def as_bytes(state):
    """A state as bytes, to be compared."""
    return {
        name: json.dumps(part, sort_keys=True).encode() if isinstance(part, dict) else part.serialize().to_pybytes()
        for name, part in state.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_operator_goes_on_as_if_nothing_had_happened(kind):
    batches = feed()
    whole = make(kind)
    wanted = [told(whole.step([batch])) for batch in batches]
    operator = make(kind)
    for i, batch in enumerate(batches):
        if i % 7 == 3:
            state = operator.export()
            operator = make(kind)
            operator.restore(state)
            operator.check()
            assert as_bytes(operator.export()) == as_bytes(state)
        assert told(operator.step([batch])) == wanted[i]
    assert as_bytes(operator.export()) == as_bytes(whole.export())
    assert operator.statistics()["rows"] == len(batches)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_states_give_equal_bytes_whatever_was_there_before(kind):
    """Keys that come and go leave other slots and other segments behind, and no trace in the state."""
    batches = feed(30)
    plain, busy = make(kind), make(kind)
    for batch in batches:
        plain.step([batch])
    rows = pa.concat_tables([pa.Table.from_batches([b.rows]) for b in batches]).combine_chunks().to_batches()[0]
    marks = [b.marks for b in batches if len(b.marks)]
    together = Batch(
        rows,
        np.concatenate([b.times for b in batches]),
        np.concatenate([b.origins for b in batches]),
        Marks(np.concatenate([m.origins for m in marks]), np.concatenate([m.times for m in marks])),
    )
    busy.step([together])
    busy.core.compact()
    assert as_bytes(plain.export()) == as_bytes(busy.export())


def test_the_state_of_another_definition_is_refused():
    state = make("tumbling").export()
    other = Windowed(
        window.Tumbling(11), AGGREGATES, SCHEMA, {"key": col.key, "half": col.v // 4}, allowed_lateness="5ns"
    )
    with pytest.raises(StateError, match="it is the state of"):
        other.restore(state)


def damaged(state, rng):
    """The state with one value changed, or a section, a column or a row missing."""
    state = dict(state)
    name = rng.choice(sorted(state))
    part = state[name]
    if rng.random() < 0.05:
        del state[name]
    elif isinstance(part, dict):
        part = dict(part)
        key = rng.choice(sorted(part))
        part[key] = rng.choice([None, -1, 0, 5, 2**63 - 1, -(2**63), 2**70, "x", 1.5, [], {}])
        if rng.random() < 0.1:
            del part[key]
        state[name] = part
    elif len(part) and rng.random() < 0.8:
        i = rng.randrange(part.num_columns)
        values = part.column(i).to_pylist()
        at = rng.randrange(len(values))
        kind = part.schema.field(i).type
        if pa.types.is_integer(kind):
            top = 2 ** (kind.bit_width - 1) if str(kind).startswith("int") else 2**kind.bit_width
            low = -top if str(kind).startswith("int") else 0
            values[at] = rng.choice(
                [low, top - 1, 0, 1, min(top - 1, (values[at] or 0) + 1), max(low, (values[at] or 0) - 1)]
            )
        elif pa.types.is_binary(kind):
            data = bytearray(values[at] or b"x")
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            values[at] = bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data)
        else:
            values[at] = None
        columns = list(part.columns)
        columns[i] = pa.array(values, kind)
        state[name] = pa.RecordBatch.from_arrays(columns, schema=part.schema)
    else:
        state[name] = part.slice(rng.randrange(len(part) + 1)) if len(part) else part.select([0])
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_state_is_refused_or_is_a_state(kind):
    operator = make(kind)
    for batch in feed(40):
        operator.step([batch])
    state = operator.export()
    rng = random.Random(5)
    refused = 0
    for _ in range(60):
        other = make(kind)
        try:
            other.restore(damaged(state, rng))
        except StateError:
            refused += 1
            continue
        other.check()
        rest = feed(60, start=40)
        seen = other.statistics()["watermark"]
        for batch in rest:
            if len(batch.marks) == 0 or batch.marks.times[0] > seen:
                other.step([batch])
        other.check()
    assert refused > 20


def test_after_a_failed_restore_the_operator_refuses_everything():
    operator, other = make("session"), make("session")
    for batch in feed(40):
        operator.step([batch])
    state = operator.export()
    windows = state["windows"].to_pydict()
    windows["end"] = windows["start"]
    state["windows"] = pa.RecordBatch.from_pydict(windows, state["windows"].schema)
    with pytest.raises(StateError, match="window 0 of the snapshot is damaged"):
        other.restore(state)
    with pytest.raises(Exception, match="its restore failed"):
        other.step([feed()[0]])


def test_an_aggregate_that_raises_stops_the_operator():
    class Picky:
        def add(self, x):
            if x == 3:
                raise ValueError("three")

        def merge(self, other):
            pass

        def result(self):
            return 1.0

    operator = Windowed(window.Tumbling(10), {"p": agg.udf(Picky, "v")}, SCHEMA, [col.key])
    rows = pa.RecordBatch.from_pylist([{"key": "a", "v": 3, "x": 1.0, "text": ""}], SCHEMA)
    batch = Batch(rows, np.array([1]), np.array([0], np.uint64), Marks.one(1, END))
    with pytest.raises(ValueError, match="three"):
        operator.step([batch])
    with pytest.raises(Exception, match="an aggregate raised ValueError"):
        operator.step([batch])


def test_memory_that_fails_stops_the_operator():
    for n in range(1, 30):
        operator = make("session")
        operator.core.fail_allocation_after(n)
        try:
            for batch in feed(30):
                operator.step([batch])
        except MemoryError:
            with pytest.raises(Exception, match="out of memory"):
                operator.step([feed()[0]])
        else:
            operator.core.fail_allocation_after(0)
            operator.check()


def test_a_window_needs_a_definition():
    with pytest.raises(DefinitionError):
        Windowed(window.Tumbling(10), {"n": 3}, SCHEMA, [col.key])  # type: ignore[dict-item]
