"""The engine of streams: what comes out of each box, what is refused, what a snapshot holds."""

import datetime as dt

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import fyke
from fyke import DataError, DefinitionError, Engine, FykeError, LimitError, SchemaError, StateError, begin, col, stream
from fyke.graph import StreamEngine

ROWS = [
    {"ts": 0, "card": "x", "amount": 0.5},
    {"ts": 60, "card": "x", "amount": 900.0},
    {"ts": 61, "card": "y", "amount": None},
    {"ts": 62, "card": "y", "amount": 7.0},
]
PAYMENTS = stream("payments", time="ts", unit="s")
PAIR = begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m")


def everything(definition, *pushes):
    engine = Engine(definition)
    given = [engine.push(rows) for rows in pushes] + [engine.flush()]
    engine.check()
    return fyke.StreamResults.together(given)


def test_an_engine_of_a_stream_is_a_stream_engine():
    assert type(Engine(PAYMENTS)) is StreamEngine
    assert type(Engine({"all": PAYMENTS})) is StreamEngine
    assert type(Engine(PAIR, time="ts")) is Engine
    with pytest.raises(DefinitionError, match="time= is said where the streams are written"):
        Engine(PAYMENTS, time="ts")


# --------------------------------------------------------------------------------------------------- rows by themselves


def test_filter_passes_rows_whose_condition_holds_and_null_does_not():
    assert everything(PAYMENTS.filter(col.amount > 1), ROWS).results == [ROWS[1], ROWS[3]]
    assert everything(PAYMENTS.filter(~(col.amount > 1)), ROWS).results == [ROWS[0]]
    assert everything(PAYMENTS.filter(col.amount > 1, col.card == "y"), ROWS).results == [ROWS[3]]


def test_filter_takes_a_python_function():
    assert everything(PAYMENTS.filter(lambda row: row["card"] == "y"), ROWS).results == ROWS[2:]


def test_a_table_of_no_rows_has_the_columns_that_rows_would_have() -> None:
    engine = Engine(PAYMENTS.select("card"))
    assert engine.push([]).results.to_arrow().num_columns == 0  # nobody knows yet
    filled = engine.push(ROWS).results.to_arrow()
    assert engine.push([]).results.to_arrow().equals(filled[:0])
    assert engine.flush().results.to_arrow().equals(filled[:0])


def test_select_computes_columns_of_every_type():
    day = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    rows = pa.table(
        {
            "t": pa.array([day, day + dt.timedelta(seconds=1)]).cast(pa.timestamp("ns", "UTC")),
            "n": [7, None],
            "d": pa.array([1, 2]).cast(pa.duration("ns")),
            "tags": [["a"], []],
        }
    )
    made = stream(time="t").select(
        "tags",
        double=col.n * 2,
        half=col.n / 2,
        big=col.n > 5,
        later=col.t + dt.timedelta(hours=1),
        gap=col.t - col.t,
        known=col.n.is_not_null(),
        named=fyke.lit("x"),
    )
    table = everything(made, rows).results.to_arrow()
    time = pa.timestamp("ns", "UTC")
    assert table.schema.types == [
        pa.list_(pa.string()), pa.int64(), pa.float64(), pa.bool_(), time, pa.duration("ns"), pa.bool_(), pa.string(),
    ]  # fmt: skip
    assert table.select(["tags", "double", "half", "big", "known", "named"]).to_pylist() == [
        {"tags": ["a"], "double": 14, "half": 3.5, "big": True, "known": True, "named": "x"},
        {"tags": [], "double": None, "half": None, "big": None, "known": False, "named": "x"},
    ]
    assert table["later"].cast(pa.timestamp("us", "UTC")).to_pylist()[0] == day + dt.timedelta(hours=1)


def test_with_columns_replaces_and_adds():
    made = everything(PAYMENTS.with_columns(amount=col.amount * 2, ok=True), ROWS[:1])
    assert made.results == [{"ts": 0, "card": "x", "amount": 1.0, "ok": True}]


def test_map_gives_rows_none_or_several_at_the_time_of_the_row():
    def fn(row):
        if row["card"] == "y":
            return None
        return {"c": row["card"]} if row["ts"] == 0 else [{"c": "a"}, {"c": "b"}]

    made = everything(PAYMENTS.map(fn), ROWS)
    assert list(made) == [{"c": "x"}, {"c": "a"}, {"c": "b"}]
    assert made.results.times.tolist() == [0, 60 * 10**9, 60 * 10**9]


def test_map_says_for_which_row_it_failed_and_the_engine_has_stopped():
    engine = Engine(PAYMENTS.map(lambda row: {"v": 1 / row["ts"]}))
    with pytest.raises(ZeroDivisionError) as error:
        engine.push(ROWS)
    assert "in payments.map, with the row {'ts': 0" in error.value.__notes__[0]
    with pytest.raises(FykeError, match="this engine has stopped: ZeroDivisionError"):
        engine.push(ROWS)


@pytest.mark.parametrize("given", [5, "row", [1], (x for x in "a")])
def test_map_refuses_what_is_no_row(given):
    with pytest.raises(DataError, match=r"payments.map: the function gave .* a row \(a mapping\)"):
        Engine(PAYMENTS.map(lambda row: given)).push(ROWS)


def test_a_map_without_a_schema_keeps_the_types_of_its_first_rows():
    engine = Engine(PAYMENTS.map(lambda row: {"v": 1 if row["ts"] < 60 else 1.5}).filter(col.v > 0))
    assert list(engine.push(ROWS[0])) == [{"v": 1}]
    with pytest.raises(DataError, match="payments.map: field `v`: expected int64, got float 1.5"):
        engine.push(ROWS[1])


def test_branches_share_the_rows_out():
    ways = PAYMENTS.branch(big=col.amount > 100, small=col.amount < 1)
    made = everything(ways, ROWS)
    assert {name: list(rows) for name, rows in made.outputs.items()} == {
        "big": [ROWS[1]],
        "small": [ROWS[0]],
        "rest": ROWS[2:],
    }


def test_a_union_keeps_the_order_of_arrival_and_the_least_watermark():
    a, b = stream("a", time="t", unit="ns"), stream("b", time="t", unit="ns")
    pair = begin("first", col.v == 1).next("second", col.v == 2).within("1s")
    engine = Engine({"all": a.union(b), "pairs": a.union(b).match(pair)})
    engine.push(pa.record_batch({"t": pa.array([], pa.int64()), "v": pa.array([], pa.int64())}), to="b")
    assert list(engine.push({"t": 1, "v": 1}, to="a")["all"]) == [{"t": 1, "v": 1}]
    engine.push({"v": 2, "t": 2}, to="b")
    assert len(engine.push({"t": 90, "v": 0}, to="a")["pairs"]) == 0  # b may still bring rows from 2 on
    assert len(engine.push({"t": 50, "v": 0}, to="b")["pairs"]) == 1


def test_fields_of_structs_are_columns():
    pairs = PAYMENTS.key_by("card").match(PAIR)
    made = pairs.filter(col["spree.amount"] > 1).select(
        "card", "spree.amount", more=col["spree.amount"] - col["probe.amount"]
    )
    assert list(everything(made, ROWS)) == [{"card": "x", "spree.amount": 900.0, "more": 899.5}]


# -------------------------------------------------------------------------------------------------------------- matches


def test_matches_are_rows_with_the_columns_that_results_have():
    engine = fyke.Engine(PAIR.by("card").named("p"), time="ts", unit="s")
    expected = pa.concat_tables([engine.push(ROWS).to_arrow(), engine.flush().to_arrow()], promote_options="permissive")
    table = everything(PAYMENTS.match(PAIR.by("card").named("p")), ROWS).results.to_arrow()
    assert (
        table.rename_columns({"card": "key", "time": "end"}).to_pylist() == expected.drop_columns(["kind"]).to_pylist()
    )


def test_a_match_has_the_time_at_which_it_was_certain():
    absent = begin("probe", col.amount < 1).not_followed_by("spree", col.amount > 500).within("10m").by("card")
    engine = Engine(PAYMENTS.match(absent))
    rows = [ROWS[0], {"ts": 700, "card": "z", "amount": 2.0}]
    found = fyke.StreamResults.together([engine.push(rows), engine.flush()])
    assert found.results.times.tolist() == [600 * 10**9]
    assert found.results[0]["time"] == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def test_matches_of_matches():
    pairs = PAYMENTS.key_by("card").match(PAIR.named("p"), max_partials=10)
    twice = begin("a").followed_by("b").within("1h").by("card").skip(fyke.skip.past_last_event())
    rows = [{"ts": t, "card": "x", "amount": a} for t, a in [(0, 0.5), (1, 900.0), (2, 0.5), (3, 900.0)]]
    found = everything(pairs.match(twice), rows)
    assert [(row["a"]["spree"]["ts"], row["b"]["spree"]["ts"]) for row in found.results] == [(1, 3)]


def test_late_rows_timeouts_and_held_matches_are_put_aside():
    engine = Engine(PAYMENTS.match(PAIR.by("card").named("p"), timeouts=True))
    found = engine.push([*ROWS, {"ts": 5, "card": "q", "amount": 0.5}])
    assert found.late == [{"ts": 5, "card": "q", "amount": 0.5}]
    assert found.late.boxes == ["match_1"]
    engine.push({"ts": 63, "card": "w", "amount": 0.5})
    found = engine.push({"ts": 900, "card": "z", "amount": 2.0})
    assert [row["probe"]["ts"] for row in found.timeouts] == [63]
    with pytest.raises(DefinitionError, match="no time any more"):
        _ = engine.push({"ts": 5, "card": "q", "amount": 0.5}).late.times


def test_a_side_output_is_a_stream():
    pairs = PAYMENTS.match(PAIR.by("card"), timeouts=True)
    found = everything(
        {"late": pairs.late.select("card"), "open": pairs.timeouts.filter(col.card == "x")}, ROWS, ROWS[:1]
    )
    assert list(found["late"]) == [{"card": "x"}]
    assert [row["id"] for row in found["open"]] == []
    later = [*ROWS[:1], {"ts": 800, "card": "x", "amount": 5.0}]
    found = everything({"open": pairs.timeouts.select("card", "probe.amount")}, later)
    assert list(found["open"]) == [{"card": "x", "probe.amount": 0.5}]
    assert found["open"].times.tolist() == [600 * 10**9]


def test_a_bound_stops_the_engine_and_keeps_what_was_found():
    pairs = PAYMENTS.match(PAIR.named("p"), max_partials=1)
    engine = Engine(pairs)
    rows = [ROWS[0], ROWS[1], {"ts": 70, "card": "x", "amount": 0.1}, {"ts": 71, "card": "x", "amount": 0.1}]
    with pytest.raises(LimitError) as error:
        engine.push([*rows, {"ts": 80, "card": "x", "amount": 5.0}])
    assert isinstance(error.value.results, fyke.StreamResults)
    with pytest.raises(FykeError, match="has stopped"):
        engine.flush()


# ---------------------------------------------------------------------------------------------------------------- input


def test_data_of_any_shape_gives_the_same():
    definition = PAYMENTS.filter(col.amount > 1)
    table = pa.Table.from_pylist(ROWS)
    expected = list(everything(definition, ROWS))
    structured = np.array([(0, b"x", 0.5), (60, b"x", 900.0)], [("ts", "i8"), ("card", "S1"), ("amount", "f8")])
    for data in (table, table.to_batches()[0], pl.from_arrow(table)):
        assert list(everything(definition, data)) == expected
    assert len(everything(definition, structured).results) == 1


def test_the_first_data_settles_the_types():
    engine = Engine(PAYMENTS)
    engine.push(ROWS[:1])
    for wrong, text in [
        ({"ts": 1, "card": 5, "amount": 1.0}, "field `card`: expected string, got int 5 at position 1"),
        ({"ts": 1, "card": "a", "amount": 1.0, "x": 1}, "field 'x' at position 1 is not in the schema"),
        ({"ts": 1.5, "card": "a", "amount": 1.0}, "field `ts`: expected int64, got float 1.5"),
        ({"card": "a", "amount": 1.0}, "the event time is missing at position 1"),
        (pa.table({"ts": [1], "y": [2]}), "field `y` of the batch at position 1 is not in the schema"),
        (pa.table({"ts": ["1"]}), "field `ts`: expected int64, got string"),
    ]:
        with pytest.raises(DataError) as error:
            engine.push(wrong)
        assert text in str(error.value)
        assert str(error.value).startswith('stream "payments": ') or "event time" in text
    assert list(engine.push({"ts": 1, "amount": 5})) == [{"ts": 1, "card": None, "amount": 5.0}]  # nothing was taken


def test_a_first_push_that_is_refused_settles_nothing():
    engine = Engine(PAYMENTS.filter(col.amount > 1))
    with pytest.raises(SchemaError, match='no column "amount"'):
        engine.push({"ts": 1, "amounts": 5})
    with pytest.raises(DataError, match="missing at position 1"):
        engine.push([{"ts": 1, "amount": 5}, {"ts": None, "amount": 5}])
    assert list(engine.push(ROWS[1])) == [ROWS[1]]


def test_the_source_must_be_said_where_there_are_several():
    engine = Engine(PAYMENTS.union(stream("others", time="ts", unit="s")))
    with pytest.raises(DefinitionError, match="takes rows from payments, others: it must be said which"):
        engine.push(ROWS)
    with pytest.raises(DefinitionError, match='there is no "other"'):
        engine.push(ROWS, to="other")


def test_rows_wait_for_the_columns_of_other_inputs():
    others = stream("others", time="ts", unit="s")
    definition = PAYMENTS.union(others).filter(col.amount > 1)
    engine = Engine(definition)
    assert len(engine.push(ROWS, to="payments")) == 0
    engine.advance(0, input="others")
    assert engine.statistics().boxes["union_1"] == {"waiting": 4}
    engine = Engine.restore(engine.snapshot(), definition)
    found = engine.push({"ts": 70, "card": "z", "amount": 5.0}, to="others")
    assert list(found) == [ROWS[1], ROWS[3], {"ts": 70, "card": "z", "amount": 5.0}]
    told = Engine(definition)
    told.push(ROWS, to="payments")
    nothing = pa.Table.from_pylist(ROWS).slice(0, 0)
    assert list(told.push(nothing, to="others")) == [ROWS[1], ROWS[3]]
    alone = Engine(definition)
    alone.push(ROWS, to="payments")
    assert list(alone.flush()) == [ROWS[1], ROWS[3]]


def test_a_join_cannot_end_without_the_columns_of_a_side():
    others = stream("others", time="ts", unit="s")
    engine = Engine(PAYMENTS.key_by("card").join(others.key_by("card"), fyke.join.interval(0, "1s")))
    engine.push(ROWS, to="payments")
    with pytest.raises(SchemaError, match=r"payments.join: no rows of others have come, so its columns are not known"):
        engine.flush()
    engine.push(pa.Table.from_pylist(ROWS).slice(0, 0), to="others")
    assert len(engine.flush()) == 0


def test_two_boxes_of_one_name_are_refused():
    with pytest.raises(DefinitionError, match='two boxes of the graph are named "big"'):
        Engine({"a": PAYMENTS.filter(col.n > 1).named("big"), "b": PAYMENTS.filter(col.n > 2).named("big")})


@pytest.mark.parametrize("given", [{}, {"": PAYMENTS}, {"a": PAYMENTS, "b": PAIR}])
def test_what_is_no_stream_is_refused(given):
    with pytest.raises(DefinitionError):
        StreamEngine(given)


# ----------------------------------------------------------------------------------------------------------- watermarks


NUMBERS = pa.schema({"t": pa.int64(), "v": pa.int64()})


def numbers(name):
    return stream(name, time="t", unit="ns", schema=NUMBERS)


PASSED = begin("a", col.v > 0).within("1s")


def test_a_watermark_can_come_from_outside():
    engine = Engine(numbers("a").match(PASSED))
    engine.push({"t": 10, "v": 1})
    assert len(engine.advance(9)) == 0
    assert engine.watermark == 9
    assert len(engine.advance(10)) == 1
    assert len(engine.advance(5)) == 0
    assert engine.watermark == 10
    with pytest.raises(DataError, match="watermark"):
        engine.advance("now")


def test_watermarks_before_the_columns_are_known_hold():
    engine = Engine(stream(time="t", unit="ns").match(PASSED))
    engine.advance(50)
    found = engine.push([{"t": 50, "v": 1}, {"t": 51, "v": 1}])
    assert found.late == [{"t": 50, "v": 1}]


def test_an_idle_input_holds_nothing_up_until_its_next_row():
    engine = Engine(numbers("a").union(numbers("b")).match(PASSED))
    engine.push({"t": 10, "v": 1}, to="a")
    engine.push({"t": 20, "v": 0}, to="a")
    assert len(engine.idle("b")) == 1  # a alone counts now
    assert len(engine.push({"t": 30, "v": 1}, to="a")) == 0
    assert len(engine.push({"t": 31, "v": 0}, to="a")) == 1
    late = engine.push([{"t": 30, "v": 9}, {"t": 31, "v": 9}], to="b")
    assert late.late == [{"t": 30, "v": 9}]  # 30 had passed; 31 had not
    assert len(engine.push({"t": 40, "v": 1}, to="a")) == 0  # b counts again, and stands at 30
    assert engine.statistics().inputs["b"] == fyke.InputStatistics(2, 30, False)


def test_nothing_moves_while_all_inputs_are_idle():
    engine = Engine(numbers("a").union(numbers("b")).match(PASSED))
    engine.push({"t": 10, "v": 1}, to="a")
    engine.push({"t": 20, "v": 0}, to="a")
    engine.idle("a")
    assert len(engine.idle("b")) == 0
    assert len(engine.push({"t": 21, "v": 0}, to="a")) == 1


# ---------------------------------------------------------------------------------------------------------------- state


def test_statistics_count_per_box_and_in_total():
    engine = Engine(PAYMENTS.filter(col.amount > 0).match(PAIR.by("card")))
    engine.push(ROWS)
    engine.push(ROWS[0])
    told = engine.statistics()
    assert (told.rows, told.late, told.watermark) == (5, 1, 62 * 10**9 - 1)
    assert told.boxes["filter_1"] == {"rows": 5, "results": 4}
    assert told.boxes["match_1"]["rows"] == 4
    assert told.inputs == {"payments": fyke.InputStatistics(5, 62 * 10**9 - 1, False)}


def test_explain_draws_the_graph_and_says_how_patterns_run():
    text = Engine({"pairs": PAYMENTS.match(PAIR.by("card").named("p"))}).explain()
    assert "--> pairs" in text
    engine = Engine(numbers("a").match(PASSED))
    assert "general runs" in engine.explain() or "pattern" in engine.explain()


def test_a_snapshot_is_of_these_streams_only():
    engine = Engine(PAYMENTS.match(PAIR))
    engine.push(ROWS)
    state = engine.snapshot()
    for other in (PAYMENTS, PAYMENTS.match(PAIR.within("5m")), {"x": PAYMENTS.match(PAIR)}):
        with pytest.raises(StateError, match="other streams"):
            Engine.restore(state, other)
    with pytest.raises(StateError, match="not one of streams"):
        Engine.restore(fyke.Engine(PAIR, time="ts").snapshot(), PAYMENTS)
    with pytest.raises(StateError):
        Engine.restore(state, PAIR, time="ts")


def test_a_lambda_has_no_name_in_a_snapshot():
    for definition in (PAYMENTS.map(lambda row: row), PAYMENTS.filter(lambda row: True)):
        with pytest.raises(StateError, match="lambda"):
            Engine(definition).snapshot()
    Engine(PAYMENTS.map(dict)).snapshot()


@pytest.mark.parametrize("cut", [0, 7, 40, -1])
def test_a_damaged_snapshot_is_refused(cut):
    engine = Engine(PAYMENTS.match(PAIR))
    engine.push(ROWS)
    state = bytearray(engine.snapshot())
    with pytest.raises(StateError):
        Engine.restore(bytes(state[:cut]), PAYMENTS.match(PAIR))
    state[cut] ^= 1
    with pytest.raises(StateError):
        Engine.restore(bytes(state), PAYMENTS.match(PAIR))


def test_equal_states_are_equal_bytes():
    types = {"ts": pa.int64(), "card": pa.string(), "amount": pa.float64()}

    def run(*pushes):
        engine = Engine(PAYMENTS.match(PAIR.by("card")))
        for rows in pushes:
            engine.push(pa.Table.from_pylist(rows, schema=pa.schema(types)))
        return engine.snapshot()

    assert run(ROWS) == run(ROWS[:1], ROWS[1:3], ROWS[3:])


# ---------------------------------------------------------------------------------------------------------------- joins


def test_streams_join_by_key_and_interval():
    orders, paid = stream("orders", time="t", unit="s"), stream("paid", time="t", unit="s")
    joined = orders.key_by("id").join(paid.key_by("order"), fyke.join.interval(0, "10s"), how="left")
    engine = Engine(joined)
    engine.push(pa.table({"t": pa.array([], pa.int64()), "order": pa.array([], pa.int64())}), to="paid")
    engine.push([{"t": 1, "id": 7}, {"t": 2, "id": 8}], to="orders")
    assert list(engine.push({"t": 5, "order": 7}, to="paid")) == [{"t": 1, "id": 7, "t_right": 5}]
    assert list(engine.flush()) == [{"t": 2, "id": 8, "t_right": None}]
    late = engine.push({"t": 3, "order": 8}, to="paid")
    assert late.late == [{"t": 3, "order": 8}]
    assert late.late.boxes == ["join_1.right"]


def test_a_join_says_what_is_wrong_with_it():
    a, b = numbers("a"), numbers("b")
    for write, text in [
        (lambda: a.key_by("v").join(b, fyke.join.interval(0, "1s")), "the other side needs a key"),
        (lambda: a.key_by("v").join(b.key_by("v", "t"), fyke.join.interval(0, "1s")), "has 1 parts on the left"),
        (lambda: a.key_by("v").join(b.key_by("v"), "5m"), "expected fyke.join.interval"),
        (lambda: a.key_by("v").asof(b.key_by("v"), how="outer"), "how='outer'"),
        (lambda: a.key_by("v").asof(b.key_by("v"), suffix=""), "suffix=''"),
    ]:
        with pytest.raises(DefinitionError) as error:
            write()
        assert text in str(error.value)
    strings = stream("s", time="t", unit="ns", schema=pa.schema({"t": pa.int64(), "v": pa.string()}))
    with pytest.raises(SchemaError):
        a.key_by("v").join(strings.key_by("v"), fyke.join.interval(0, "1s"))


def test_statistics_and_explain_tell_of_joins():
    engine = Engine(numbers("a").key_by("v").asof(numbers("b").key_by("v"), "5s"))
    assert "as-of join (left)" in engine.explain()
    assert engine.statistics().boxes["join_1"]["rows_left"] == 0
