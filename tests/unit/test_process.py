"""process: rows of a key in the order of their times, state, timers, errors; what a snapshot holds of them."""

import datetime as dt
import math

import pyarrow as pa
import pytest

import fyke
from fyke import (
    DataError,
    DefinitionError,
    Engine,
    FykeError,
    ListState,
    MapState,
    Process,
    ProcessError,
    StateError,
    ValueState,
    col,
    stream,
)
from fyke.process import copied
from fyke.snapshot import read_container, write_container

SCHEMA = pa.schema({"t": pa.int64(), "k": pa.string(), "v": pa.int64()})
EVENTS = stream(time="t", unit="ns", out_of_order="10ns", schema=SCHEMA)


def rows(*given):
    return [dict(zip("tkv", row, strict=True)) for row in given]


def run(definition, *pushes):
    engine = Engine(definition)
    found = [engine.push(rows(*each)) for each in pushes] + [engine.flush()]
    engine.check()
    return fyke.StreamResults.together(found)


def seen(row, ctx):
    return {"t": row["t"], "k": ctx.key, "v": row["v"], "now": ctx.time}


# ---------------------------------------------------------------------------------------------------------------- order


def test_rows_come_in_the_order_of_their_times_and_equal_ones_in_that_of_arrival():
    found = run(EVENTS.key_by("k").process(seen), [(5, "x", 1), (3, "y", 2), (5, "y", 3), (3, "x", 4)])
    assert [(row["t"], row["k"], row["v"]) for row in found.results] == [
        (3, "y", 2),
        (3, "x", 4),
        (5, "x", 1),
        (5, "y", 3),
    ]
    assert found.results.times.tolist() == [3, 3, 5, 5]


def test_nothing_happens_before_the_watermark_has_passed():
    engine = Engine(EVENTS.key_by("k").process(seen))
    assert len(engine.push(rows((5, "x", 1)))) == 0
    assert len(engine.push(rows((15, "x", 1)))) == 0
    assert len(engine.push(rows((16, "x", 1)))) == 1


def test_late_rows_and_rows_without_a_key_are_put_aside():
    found = run(EVENTS.key_by("k").process(seen), [(50, "x", 1), (39, "x", 2), (39, None, 3), (45, None, 4)])
    assert found.late == rows((39, "x", 2), (39, None, 3))
    assert found.errors == [{"t": 45, "k": None, "v": 4, "error": "a part of the key is null"}]
    assert len(found.results) == 1


def test_without_a_key_all_rows_are_of_one():
    found = run(EVENTS.process(seen), [(1, "x", 1), (2, None, 2)])
    assert [(row["k"], row["v"]) for row in found.results] == [(None, 1), (None, 2)]


def test_a_key_can_be_computed_and_have_several_parts():
    found = run(
        EVENTS.key_by("k", tens=col.v // 10).process(lambda row, ctx: {"key": list(map(str, ctx.key))}), [(1, "x", 25)]
    )
    assert list(found.results) == [{"key": ["x", "2"]}]


def test_what_a_process_gives_can_be_a_row_rows_or_none():
    def fn(row, ctx):
        if row["v"] == 0:
            return None
        if row["v"] == 1:
            return {"n": 1}
        return ({"n": i} for i in range(row["v"]))

    found = run(EVENTS.key_by("k").process(fn), [(1, "x", 0), (2, "x", 1), (3, "x", 2)])
    assert list(found.results) == [{"n": 1}, {"n": 0}, {"n": 1}]
    assert found.results.times.tolist() == [2, 3, 3]


# ---------------------------------------------------------------------------------------------------------------- state


class Count(Process):
    n = ValueState(int)
    last = ListState(int)
    by_value = MapState(int)

    def __init__(self, at_most=3):
        self.at_most = at_most

    def on_row(self, row, ctx):
        self.n.set(self.n.get(0) + 1)
        self.last.append(row["v"])
        if len(self.last) > self.at_most:
            self.last.set(list(self.last)[1:])
        self.by_value[str(row["v"])] = self.by_value.get(str(row["v"]), 0) + 1
        most = max(count for _, count in self.by_value.items())
        return {"k": ctx.key, "n": self.n.get(), "last": list(self.last), "most": most}


def test_each_key_has_its_own_state():
    found = run(EVENTS.key_by("k").process(Count), [(1, "x", 1), (2, "x", 1), (3, "y", 5), (4, "x", 2), (5, "x", 3)])
    assert list(found.results)[2:] == [
        {"k": "y", "n": 1, "last": [5], "most": 1},
        {"k": "x", "n": 3, "last": [1, 1, 2], "most": 2},
        {"k": "x", "n": 4, "last": [1, 2, 3], "most": 2},
    ]


def test_parameters_reach_the_class():
    found = run(EVENTS.key_by("k").process(Count, params={"at_most": 1}), [(1, "x", 1), (2, "x", 2)])
    assert [row["last"] for row in found.results] == [[1], [2]]


def test_what_is_read_or_written_is_a_copy():
    def fn(row, ctx):
        kept = ctx.state["kept"]
        mine = {"seen": [row["v"]]}
        if kept.get() is None:
            kept.set(mine)
        mine["seen"].append(99)
        kept.get()["seen"].append(98)
        return {"kept": kept.get()["seen"]}

    found = run(EVENTS.process(fn, state={"kept": ValueState(dict)}), [(1, "x", 1), (2, "x", 2)])
    assert [row["kept"] for row in found.results] == [[1], [1]]


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        (ValueState(int), "5", "expected int, got str '5'"),
        (ValueState(int), True, "expected int, got bool True"),
        (ValueState(), dt.datetime(2024, 1, 1), "datetime"),
        (ValueState(), {"a": {1}}, "set {1} is nothing that JSON can say"),
        (ValueState(dict), {1: 2}, "dict {1: 2} is nothing that JSON can say"),
        (ValueState(list), (1, 2), "expected list, got tuple"),
    ],
)
def test_state_holds_only_what_json_can_say_and_of_its_type(declared, value, text):
    definition = EVENTS.process(lambda row, ctx: ctx.state["s"].set(value), state={"s": declared})
    with pytest.raises(ProcessError) as error:
        run(definition, [(1, "x", 1)])
    assert text in str(error.value)
    assert "state `s`" in str(error.value)


def test_a_float_state_takes_ints():
    run(EVENTS.process(lambda row, ctx: ctx.state["s"].set(5), state={"s": ValueState(float)}), [(1, "x", 1)])
    assert math.isnan(copied(math.nan))


def test_a_map_is_from_str_or_int():
    def fn(row, ctx):
        m = ctx.state["m"]
        m[row["v"]] = row["t"]
        m["last"] = row["v"]
        if row["v"] == 3:
            del m[1]
        return {"names": [str(name) for name in m], "n": len(m), "one": m.get(1), "has": "last" in m, "at": m["last"]}

    found = run(EVENTS.process(fn, state={"m": MapState(int)}), [(1, "x", 1), (2, "x", 2), (3, "x", 3)])
    assert list(found.results)[1:] == [
        {"names": ["1", "last", "2"], "n": 3, "one": 1, "has": True, "at": 2},
        {"names": ["last", "2", "3"], "n": 3, "one": None, "has": True, "at": 3},
    ]
    with pytest.raises(ProcessError, match="a map is from str or int"):
        run(
            EVENTS.process(lambda row, ctx: ctx.state["m"].__setitem__(1.5, 1), state={"m": MapState(int)}),
            [(1, "x", 1)],
        )
    with pytest.raises(ProcessError, match="KeyError"):
        run(EVENTS.process(lambda row, ctx: ctx.state["m"].__delitem__("a"), state={"m": MapState(int)}), [(1, "x", 1)])


def test_a_time_to_live_counts_from_the_last_write_and_ends_exactly():
    def fn(row, ctx):
        value, several, by_name = (ctx.state[name] for name in ("value", "several", "by_name"))
        found = {"value": value.get(), "several": list(several), "by_name": [n for n, _ in by_name.items()]}
        if row["v"]:
            value.set(row["v"])
            several.append(row["v"])
            by_name[str(row["v"])] = 1
        return found

    ttl = {"ttl": "10ns"}
    state = {"value": ValueState(int, **ttl), "several": ListState(int, **ttl), "by_name": MapState(int, **ttl)}
    events = [
        (0, "x", 1),
        (4, "x", 2),
        (9, "x", 0),
        (10, "x", 0),
        (13, "x", 0),
        (14, "x", 0),
        (20, "x", 3),
        (21, "x", 0),
    ]
    found = list(run(EVENTS.key_by("k").process(fn, state=state), events).results)
    assert [row["value"] for row in found] == [None, 1, 2, 2, 2, None, None, 3]
    assert [row["several"] for row in found] == [[], [1], [1, 2], [2], [2], [], [], [3]]
    assert [row["by_name"] for row in found] == [[], ["1"], ["1", "2"], ["2"], ["2"], [], [], ["3"]]


def test_what_has_outlived_its_time_takes_no_memory():
    definition = EVENTS.key_by("k").process(
        lambda row, ctx: ctx.state["s"].append(row["v"]), state={"s": ListState(int, ttl="5ns")}
    )
    engine = Engine(definition)
    for i in range(100):
        engine.push(rows((100 * i, f"k{i}", i)))
    assert engine.statistics().boxes["process_1"]["keys"] <= 1


# -------------------------------------------------------------------------------------------------------- timers


class Timers(Process):
    """Rows say what to do: v is the time of a timer named by its sign; 0 cancels."""

    def on_row(self, row, ctx):
        if row["v"] == 0:
            ctx.cancel_timer()
        elif row["v"] > 0:
            ctx.set_timer(at=row["v"])
        ctx.emit({"what": f"row {row['t']}", "key": ctx.key, "timer": ctx.timer()})

    def on_timer(self, name, ctx):
        return {"what": f"timer {ctx.time}", "key": ctx.key, "timer": ctx.timer()}


def what(*pushes):
    found = run(EVENTS.key_by("k").process(Timers), *pushes)
    assert found.results.times.tolist() == sorted(found.results.times.tolist())
    return [f"{row['what']} {row['key']}" for row in found.results]


def test_a_timer_fires_after_the_rows_up_to_its_time_and_before_later_ones():
    assert what([(1, "x", 5), (5, "x", -1), (5, "y", -1), (6, "x", -1)]) == [
        "row 1 x",
        "row 5 x",
        "row 5 y",
        "timer 5 x",
        "row 6 x",
    ]


def test_timers_fire_in_the_order_of_time_over_all_keys():
    assert what([(1, "x", 9), (2, "y", 5), (3, "z", 5)]) == [
        "row 1 x", "row 2 y", "row 3 z", "timer 5 y", "timer 5 z", "timer 9 x",
    ]  # fmt: skip


def test_a_timer_set_again_is_moved_and_a_cancelled_one_is_gone():
    assert what([(1, "x", 5), (2, "x", 9), (1, "y", 7), (3, "y", 0)]) == [
        "row 1 x",
        "row 1 y",
        "row 2 x",
        "row 3 y",
        "timer 9 x",
    ]


def test_a_timer_in_the_past_fires_after_the_rows_of_now():
    assert what([(8, "x", 3), (8, "y", -1), (9, "y", -1)]) == ["row 8 x", "row 8 y", "timer 8 x", "row 9 y"]


class Ticks(Process):
    def on_row(self, row, ctx):
        if ctx.timer("tick") is None:
            ctx.set_timer("tick", after="10ns")

    def on_timer(self, name, ctx):
        ctx.set_timer(name, after="10ns")
        return {"tick": ctx.time}


def test_a_timer_may_set_itself_again_and_the_end_of_the_input_ends_it():
    definition = EVENTS.key_by("k").process(Ticks)
    found = run(definition, [(0, "x", 1), (35, "x", 1)])
    assert [row["tick"] for row in found.results] == [10, 20, 30, 40]
    engine = Engine(definition)
    engine.push(rows((0, "x", 1)))
    engine.flush()
    assert engine.statistics().boxes["process_1"]["timers_dropped"] == 1


def test_in_on_timer_only_a_later_time_can_be_set():
    class Again(Process):
        def on_row(self, row, ctx):
            ctx.set_timer(at=5)

        def on_timer(self, name, ctx):
            ctx.set_timer(at=ctx.time)

    with pytest.raises(ProcessError, match=r"in on_timer it must be after now \(5 ns\), got 5 ns"):
        run(EVENTS.process(Again), [(1, "x", 1)])


@pytest.mark.parametrize(
    "given", [{}, {"at": 5, "after": "1s"}, {"at": "soon"}, {"name": 5, "at": 9}, {"after": "soon"}]
)
def test_a_timer_that_makes_no_sense_is_refused(given):
    with pytest.raises(ProcessError):
        run(EVENTS.process(lambda row, ctx: ctx.set_timer(**given)), [(1, "x", 1)])


def test_a_function_has_no_timers():
    with pytest.raises(ProcessError, match="a function has no on_timer"):
        run(EVENTS.process(lambda row, ctx: ctx.set_timer(at=dt.datetime(1970, 1, 2, tzinfo=dt.UTC))), [(1, "x", 1)])


# -------------------------------------------------------------------------------------------------- outputs and errors


def test_rows_can_be_given_to_outputs_of_their_own():
    def fn(row, ctx):
        ctx.emit_to("odd" if row["v"] % 2 else "even", {"v": row["v"]})

    made = EVENTS.key_by("k").process(fn, outputs={"odd": None, "even": pa.schema({"v": pa.float64()})})
    found = run(
        {"odd": made.side("odd").filter(col.v > 1), "even": made.side("even"), "all": made},
        [(1, "x", 1), (2, "x", 2), (3, "y", 3)],
    )
    assert (list(found["odd"]), list(found["even"]), list(found["all"])) == ([{"v": 3}], [{"v": 2.0}], [])
    assert found["odd"].times.tolist() == [3]
    with pytest.raises(ProcessError, match='there is no output "big"; there are odd'):
        run(EVENTS.process(lambda row, ctx: ctx.emit_to("big", {}), outputs=["odd"]), [(1, "x", 1)])


def fails_at_three(row, ctx):
    n = ctx.state["n"]
    n.set(n.get(0) + 1)
    ctx.state["seen"].append(row["v"])
    ctx.state["by"][row["v"]] = 1
    ctx.emit({"n": n.get()})
    if row["v"] == 3:
        ctx.set_timer(at=99)
        raise ValueError("three")
    ctx.emit({"n": -len(ctx.state["seen"])})


STATE = {"n": ValueState(int), "seen": ListState(int), "by": MapState(int)}


def test_an_error_stops_the_engine_and_says_where():
    engine = Engine(EVENTS.key_by("k").process(fails_at_three, state=STATE))
    engine.push(rows((1, "x", 1), (2, "x", 3), (3, "x", 4)))
    with pytest.raises(ProcessError, match=r"events.process: key 'x', at position 1: ValueError: three") as error:
        engine.flush()
    assert (error.value.key, error.value.position, error.value.time) == ("x", 1, 2)
    assert isinstance(error.value.__cause__, ValueError)
    assert [row["n"] for row in error.value.results.results][:2] == [1, -1]
    with pytest.raises(FykeError, match="has stopped"):
        engine.push(rows((9, "x", 1)))


def test_errors_can_be_put_aside_and_leave_nothing_behind():
    definition = EVENTS.key_by("k").process(fails_at_three, state=STATE, on_error="errors")
    found = run(definition, [(1, "x", 1), (2, "x", 3), (3, "x", 4), (4, "y", 3)])
    assert [row["n"] for row in found.results] == [1, -1, 2, -2]
    assert [(row["t"], row["error"]) for row in found.errors] == [(2, "ValueError: three"), (4, "ValueError: three")]
    engine = Engine(definition)
    engine.push(rows((1, "x", 3)))
    engine.flush()
    told = engine.statistics().boxes["process_1"]
    assert (told["timers"], told["keys"], told["failed"]) == (0, 0, 1)


def test_an_error_in_a_timer_names_it():
    class Fails(Process):
        def on_row(self, row, ctx):
            ctx.set_timer("soon", at=5)

        def on_timer(self, name, ctx):
            raise ValueError("no")

    found = run(EVENTS.key_by("k").process(Fails, on_error="errors"), [(1, "x", 1)])
    assert list(found.errors) == [
        {"t": None, "k": None, "v": None, "error": "key 'x', at the timer \"soon\" for 5 ns: ValueError: no"}
    ]


@pytest.mark.parametrize("given", [5, "row", [5], {1, 2}])
def test_what_is_no_row_is_an_error(given):
    with pytest.raises(ProcessError, match="a row"):
        run(EVENTS.process(lambda row, ctx: given), [(1, "x", 1)])


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda s: s.process(5), "expected a subclass of fyke.Process or a function"),
        (lambda s: s.process(dict), "expected a subclass of fyke.Process or a function"),
        (lambda s: s.process(Count, state={}), "the states of a class are its attributes"),
        (lambda s: s.process(seen, params={}), "params= are for a class"),
        (lambda s: s.process(seen, state={"n": int}), "no ValueState, ListState or MapState"),
        (lambda s: s.process(seen, on_error="skip"), 'expected "stop" or "errors"'),
        (lambda s: s.process(seen, outputs=["late"]), "is no name for an output of its own"),
        (lambda s: s.process(Count, params={"at_most": {1}}), "nothing that JSON can say"),
        (lambda s: ValueState(dt.date), "expected one of bool, int"),
        (lambda s: ValueState(int, ttl="0s"), "not zero"),
    ],
)
def test_a_wrong_definition_is_refused(write, text):
    with pytest.raises(DefinitionError) as error:
        write(EVENTS.key_by("k"))
    assert text in str(error.value)


# ------------------------------------------------------------------------------------------------------------- snapshot


class Sum(Process):
    total = ValueState(int, ttl="40ns")
    seen = ListState(int)

    def on_row(self, row, ctx):
        self.total.set(self.total.get(0) + row["v"])
        self.seen.append(row["v"])
        ctx.set_timer(at=(ctx.time // 20 + 1) * 20)
        ctx.set_timer("later", after="15ns")

    def on_timer(self, name, ctx):
        ctx.emit(
            {"at": ctx.time, "key": str(ctx.key), "total": self.total.get(), "seen": list(self.seen), "name": name}
        )


KEYS = pa.schema(
    {
        "t": pa.int64(),
        "k": pa.string(),
        "v": pa.int64(),
        "d": pa.timestamp("ns", "UTC"),
        "f": pa.float64(),
        "b": pa.binary(),
    }
)
EVENTS_OF_KEYS = stream(time="t", unit="ns", out_of_order="10ns", schema=KEYS)


@pytest.mark.parametrize("keys", [("k",), ("d", "f"), ("b",), ()])
def test_restored_after_any_row_it_goes_on_as_if_it_had_never_stopped(keys):
    definition = (EVENTS_OF_KEYS.key_by(*keys) if keys else EVENTS_OF_KEYS).process(Sum)
    times = [3, 1, 17, 12, 30, 22, 41, 45, 38, 70, 95, 90]
    day = pa.timestamp("ns", "UTC")
    given = [
        {
            "t": t,
            "k": "xyz"[i % 3],
            "v": i,
            "d": pa.scalar(i % 2, day),
            "f": [0.5, math.nan][i % 2],
            "b": b"ab"[: i % 3],
        }
        for i, t in enumerate(times)
    ]
    tables = [pa.Table.from_pylist([row], schema=KEYS) for row in given]
    whole = Engine(definition)
    expected = list(whole.push(pa.concat_tables(tables))) + list(whole.flush())
    engine, found = Engine(definition), []
    for table in tables:
        found += engine.push(table)
        state = engine.snapshot()
        engine = Engine.restore(state, definition)
        engine.check()
        assert engine.snapshot() == state
    assert found + list(engine.flush()) == expected
    assert len(expected) > 5


@pytest.mark.parametrize("section", ["process", "rows", "order", "timers", "state/total", "state/seen"])
def test_a_snapshot_that_lacks_a_part_is_refused(section):
    definition = EVENTS.key_by("k").process(Sum)
    engine = Engine(definition)
    engine.push(rows((1, "x", 1), (30, "x", 2)))
    sections = read_container(engine.snapshot())
    del sections[f"box/0/operator/{section}"]
    with pytest.raises(StateError):
        Engine.restore(write_container(sections), definition)


def test_a_lambda_has_no_name_in_a_snapshot():
    with pytest.raises(StateError, match="lambda"):
        Engine(EVENTS.process(lambda row, ctx: row)).snapshot()


def test_other_states_are_another_process():
    engine = Engine(EVENTS.process(fails_at_three, state=STATE))
    with pytest.raises(StateError, match="other streams"):
        Engine.restore(engine.snapshot(), EVENTS.process(fails_at_three, state={**STATE, "more": ValueState(int)}))


def test_types_of_state_are_known_to_type_checkers():
    assert isinstance(Count.n, ValueState)
    with pytest.raises(DataError):
        copied(object())
