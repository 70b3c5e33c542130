"""What once went wrong, each case named by what holds now."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fyke
from fyke import DataError, DefinitionError, Engine, ExpressionError, Schema, SchemaError, StateError, begin, col
from fyke.rowjson import dump_row, load_row

PATTERN = begin("a", col.x > 0).followed_by("b", col.x > 10).within("10s").by("k")


def engine(pattern: Any = PATTERN, **options: Any) -> Engine:
    return Engine(pattern, **({"time": "t", "unit": "s"} | options))


def restored(state: bytes, pattern: Any = PATTERN, **options: Any) -> Engine:
    return Engine.restore(state, pattern, **({"time": "t", "unit": "s"} | options))


def table(**columns: Any) -> pa.Table:
    return pa.table({"t": [1, 2], "k": ["x", "x"], "x": [1.0, 11.0]} | columns)


def row(**fields: Any) -> dict[str, Any]:
    return {"t": 1, "k": "x", "x": 1.0} | fields


def found(engine: Engine, *pushes: Any) -> list[fyke.Match]:
    matches = [match for data in pushes for match in engine.push(data)]
    return matches + list(engine.flush())


def payload(match: fyke.Match, stage: str = "a") -> Mapping[str, Any]:
    return dict(match[stage])


# --- columns of batches


@pytest.mark.parametrize("names", [["t", "k", "x", "x"], ["t", "k", "x", "t"], ["t", "k", "x", "y", "y"]])
def test_a_name_that_occurs_twice_in_a_later_batch_is_a_data_error(names: list[str]) -> None:
    e = engine()
    e.push(table())
    values = {"t": [3], "k": ["x"], "x": [1.0], "y": [1]}
    with pytest.raises(DataError, match=f"field `{names[-1]}`: occurs twice in the batch at position 2"):
        e.push(pa.table([values[name] for name in names], names=names))
    assert len(found(e)) == 1


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([Decimal("1.5")] * 2),
        pa.array([Decimal("1.5")] * 2, pa.decimal256(40, 3)),
        pa.array([dt.time(1, 2, 3)] * 2, pa.time32("s")),
        pa.array([dt.time(1, 2, 3, 4)] * 2, pa.time64("us")),
        pa.array([3_723_000_000_004] * 2, pa.int64()).cast(pa.time64("ns")),
    ],
)
def test_decimals_and_times_of_day_are_keys(keys: pa.Array) -> None:
    e = engine()
    assert len(found(e, table(k=keys))) == 1
    e = engine()
    e.push(table(k=keys).slice(0, 1))
    assert len(found(restored(e.snapshot()), table(k=keys).slice(1))) == 1


def test_a_time_of_day_is_the_same_key_in_a_row_and_in_a_batch() -> None:
    key = dt.time(1, 2, 3, 4)
    assert len(found(engine(), row(k=key), table(k=[key, key]).slice(1))) == 1
    assert len(found(engine(), row(k=Decimal(1)), table(k=[Decimal("1.00")] * 2).slice(1))) == 1


@pytest.mark.parametrize("keys", [pa.array([[1], [1]]), pa.array([{"a": 1}, {"a": 1}])])
def test_a_list_or_struct_is_no_key(keys: pa.Array) -> None:
    with pytest.raises(SchemaError, match=r"key: col\.k: .* cannot be a key"):
        engine().push(table(k=keys))


def test_a_column_of_any_type_can_be_asked_whether_it_is_null() -> None:
    e = engine(begin("a", col.z.is_null()))
    assert [m["a"].position for m in found(e, table(z=pa.array([[1], None])))] == [1]
    e = engine(begin("a", col.z.is_null()), schema=table(z=pa.array([[1], None])).schema)
    assert [m["a"].position for m in found(e, [row(z=[1]), row(t=2)])] == [1]


@pytest.mark.parametrize(
    "first",
    [
        table(x=pa.nulls(2)),
        pa.table({"t": [], "k": [], "x": []}),
        pd.DataFrame({"t": [1], "k": ["x"], "x": [None]}),
        pl.DataFrame({"t": [1], "k": ["x"], "x": [None]}),
        table(k=pa.nulls(2)),
    ],
    ids=["nulls", "empty", "pandas", "polars", "null keys"],
)
def test_a_column_without_values_takes_its_type_from_the_pattern(first: Any) -> None:
    e = engine()
    e.push(first)
    assert [m.key for m in found(e, table(t=[3, 4]))] == ["x"]


def test_rows_whose_fields_differ_make_no_table() -> None:
    e = engine()
    e.push([row(z=1), row(t=2, x=11.0, z="s")])
    with pytest.raises(DataError, match=r"field `z`: int at position 0, str at position 1"):
        e.flush().to_arrow()
    e = engine()
    e.push(row(z=1))
    e.push(row(t=2, x=11.0, z="s"))
    with pytest.raises(DataError, match=r"field `z`: .*int.*str"):
        e.flush().to_arrow()
    e = engine()
    e.push([row() | {1: 2}, row(t=2, x=11.0)])
    with pytest.raises(DataError, match="field 1: .*str"):
        e.flush().to_arrow()


def test_late_rows_whose_fields_differ_make_no_table() -> None:
    e = engine()
    e.push(row(t=10))
    late = e.push([row(z=1), row(z="s")]).late
    with pytest.raises(DataError, match="field `z`: int at position 1, str at position 2"):
        late.to_arrow()


def test_a_table_of_rows_has_the_fields_of_all_of_them() -> None:
    e = engine()
    e.push(row(t=10))
    assert e.push([row(), row(z="s")]).late.to_arrow()["z"].to_pylist() == [None, "s"]


@dataclasses.dataclass
class Thing:
    t: int
    k: str
    x: float
    z: int = 0


@pytest.mark.parametrize("make", [row, lambda **fields: Thing(**row(**fields))], ids=["dict", "dataclass"])
@pytest.mark.parametrize("keep", [[], ["z"]])
def test_keep_says_what_matches_of_rows_hold(make: Any, keep: list[str]) -> None:
    matches = found(engine(keep=keep), [make(z=1), make(t=2, x=11.0, z=2)])
    assert [payload(m) for m in matches] == [{n: v for n, v in row(z=1).items() if n != "z" or keep}]


def test_keep_always_leaves_the_time() -> None:
    pattern = begin("a").followed_by("b").within("10s")
    e = engine(pattern, keep=[])
    e.push(pa.table({"t": [1, 2], "z": [1, 2]}))
    again = restored(e.snapshot(), pattern, keep=[])
    for each in (e, again):
        each.compact()
        assert [payload(m) for m in found(each)] == [{"t": 1}]


@pytest.mark.parametrize("order", [">", "<"])
def test_numpy_fields_of_either_byte_order_are_taken(order: str) -> None:
    array = np.zeros(2, [("t", f"{order}i8"), ("k", f"{order}U2"), ("x", f"{order}f8"), ("d", f"{order}M8[s]")])
    array["t"], array["k"], array["x"] = [1, 2], "x", [1, 11]
    assert [m.key for m in found(engine(), array)] == ["x"]


def test_numpy_fields_that_arrow_has_no_type_for_are_data_errors() -> None:
    with pytest.raises(DataError, match="field `x`: .*complex128"):
        engine().push(np.zeros(1, [("t", "i8"), ("k", "U2"), ("x", "c16")]))


def polars_frame(i: int) -> pl.DataFrame:
    frame = pl.DataFrame({"t": [i], "k": [str(i % 7)], "x": [1.0], "l": [["a"]], "s": [{"f": "a"}], "b": [b"x"]})
    return frame.with_columns(
        c=pl.col("k").cast(pl.Categorical), e=pl.Series(["q"], dtype=pl.Enum(["q"])), lc=pl.Series([["q"]])
    )


@pytest.mark.parametrize("key", ["k", "c", "e", "b"])
def test_views_of_strings_can_be_kept_gathered_and_written(key: str) -> None:
    pattern = begin("a", col.x > 0).followed_by("b", col.x > 10).within("1000s").by(key)
    e = engine(pattern)
    for i in range(200):
        e.push(polars_frame(i))
    e.compact()
    again = restored(e.snapshot(), pattern)
    for each in (e, again):
        matches = each.push(polars_frame(300).with_columns(x=pl.lit(11.0))) or each.flush()
        assert matches[0]["a"]["l"] == ["a"]
        assert matches[0]["a"]["e"] == "q"
        assert matches.to_arrow().num_rows == len(matches) > 0


def nested_views() -> pa.Array:
    view = pa.array(["p", None], pa.string_view())
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), view)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), codes)
    return pa.StructArray.from_arrays([lists, codes, view], ["lists", "codes", "view"])


def test_views_in_nested_dictionaries_are_kept_gathered_and_written() -> None:
    e = engine()
    e.push(table(z=nested_views()).slice(0, 1))
    e.push(table(z=nested_views()).slice(1))
    e.compact()
    for each in (e, restored(e.snapshot())):
        (match,) = each.flush()
        assert match["a"]["z"] == {"lists": ["p"], "codes": "p", "view": "p"}
        assert match["b"]["z"] == {"lists": [None], "codes": None, "view": None}


@pytest.mark.parametrize("type_", [pa.string(), pa.string_view()])
def test_run_end_encoded_columns_are_taken(type_: pa.DataType) -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3, 4], pa.int32()), pa.array(["y", "x", "z"], type_))
    times = pa.RunEndEncodedArray.from_arrays(pa.array([4], pa.int32()), pa.array([1]))
    e = engine()
    e.push(table(k=runs.slice(1, 2), z=runs.slice(2, 2), t=times.slice(0, 2)))
    e.compact()
    assert [(m.key, m["b"]["z"]) for m in restored(e.snapshot()).flush()] == [("x", "z")]


# --- before the first rows


def test_a_push_that_fails_does_not_settle_types() -> None:
    e = engine()
    with pytest.raises(DataError, match="missing"):
        e.push(table(t=[None, 1], x=[1, 2]))
    assert len(e.push([row(x=0.5)])) == 0


@pytest.mark.parametrize("empty", [[], pa.table({"t": [], "k": [], "x": []}), np.zeros(0, [("t", "i8")])])
def test_an_empty_push_does_not_settle_types(empty: Any) -> None:
    e = engine()
    assert len(e.push(empty)) == 0
    large = 2**53 + 1
    e.push(table(x=[large, large + 2]))
    assert e.flush()[0]["a"]["x"] == large


def test_a_watermark_before_the_first_rows_counts() -> None:
    e = engine()
    assert e.watermark is None
    assert list(e.advance(5_000_000_000)) == []
    assert e.watermark == 5_000_000_000
    e.advance(3_000_000_000)
    assert (e.watermark, e.statistics().watermark) == (5_000_000_000,) * 2
    results = e.push(table(t=[5, 6], x=[2**53 + 1, 2]))
    assert results.late.positions == [0]
    e = engine()
    e.flush()
    assert e.push(table()).late.positions == [0, 1]


def test_an_engine_without_data_has_a_snapshot() -> None:
    e = engine()
    e.advance(1_000_000_000)
    again = restored(e.snapshot())
    assert again.watermark == 1_000_000_000
    large = 2**53 + 1
    assert again.push(table(t=[1, 2], x=[large, large])).late.positions == [0]
    with pytest.raises(StateError, match="other patterns"):
        restored(engine().snapshot(), PATTERN.within("5s"))
    assert restored(engine().snapshot()).watermark is None


# --- arguments


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([-1, 0], "-1"),
        (["a", "b"], "whole numbers"),
        ([1.5, 2], "whole numbers"),
        ([True, False], "whole numbers"),
        ([5, 4], "4 .* after 5"),
        ([5, 5], "5 .* after 5"),
        ([5], "1 .* 2 rows"),
        ([5, 6, 7], "3 .* 2 rows"),
        ([0, 2**64], "whole numbers|out of range"),
        ([0, 2**63], "9223372036854775808|whole numbers"),
        ([[1, 2]], "one dimension|1 .* 2 rows"),
        (7, "whole numbers"),
    ],
)
@pytest.mark.parametrize("convert", [lambda given: given, lambda given: np.array(given)], ids=["list", "array"])
def test_positions_are_whole_numbers_that_ascend(positions: Any, text: str, convert: Any) -> None:
    e = engine()
    for data in (table(), [row(), row(t=2)]):
        with pytest.raises(DataError, match=f"positions: .*({text})"):
            e.push(data, convert(positions))
    e.push(table(), convert([3, 9]))
    (match,) = e.flush()
    assert (match["a"].position, match["b"].position) == (3, 9)


@pytest.mark.parametrize("data_first", [False, True])
@pytest.mark.parametrize(
    "watermark",
    [1.5, "5", True, 2**64, 2**63, -(2**63) - 1, None, dt.date(2024, 1, 1), dt.datetime.max, dt.datetime.min],
)
def test_a_watermark_is_ns_or_a_datetime(watermark: Any, data_first: bool) -> None:
    e = engine()
    if data_first:
        e.push(table())
    with pytest.raises(DataError, match="watermark: expected ns as int, or a datetime"):
        e.advance(watermark)


def test_a_watermark_can_be_any_kind_of_datetime() -> None:
    for watermark in (
        np.int64(10**9), dt.datetime(1970, 1, 1, 0, 0, 1), dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC),
        pd.Timestamp(10**9), np.datetime64(1, "s"),
    ):  # fmt: skip
        e = engine()
        e.advance(watermark)
        assert e.watermark == 10**9
    e.advance(pd.Timestamp(10**9 + 1))
    assert e.watermark == 10**9 + 1


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"schema": 5}, "schema"),
        ({"schema": {"a": 1}}, "schema"),
        ({"keep": "abc"}, "keep"),
        ({"keep": [1]}, "keep"),
        ({"keep": 1}, "keep"),
        ({"key_ttl": "0s"}, "key_ttl"),
        ({"key_ttl": -1}, "key_ttl|duration"),
        ({"max_partials": True}, "max_partials"),
        ({"max_partials": 2**70}, "max_partials"),
        ({"max_memory": 2**70}, "max_memory"),
        ({"max_memory": 0.5}, "max_memory"),
        ({"timeouts": "no"}, "timeouts"),
        ({"unit": ["s"]}, "unit"),
        ({"on_max_partials": ["error"]}, "on_max_partials"),
    ],
)
def test_options_are_checked_when_the_engine_is_made(option: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        engine(**option)


def test_key_ttl_counts_from_the_last_event_that_concerned_the_pattern() -> None:
    pattern = begin("a", col.x == 1).followed_by("b", col.x == 2).by("k")
    rows = [row(t=t, x=x) for t, x in ((0, 1.0), (6, 5.0), (12, 5.0), (15, 2.0))]
    assert found(engine(pattern, key_ttl="10s"), rows) == []
    assert len(found(engine(pattern, key_ttl="16s"), rows)) == 1


# --- literals, guards, functions


@pytest.mark.parametrize(
    "value", [dt.timedelta.max, dt.timedelta.min, dt.datetime.max, dt.datetime.min, dt.datetime.max.replace(
        tzinfo=dt.timezone(dt.timedelta(hours=-5))), dt.datetime(2262, 4, 12), dt.timedelta(days=106752)],
)  # fmt: skip
def test_a_constant_time_beyond_int64_is_refused_when_written(value: Any) -> None:
    with pytest.raises(ExpressionError, match="2262|292 years"):
        _ = col.d < value
    with pytest.raises(ExpressionError, match="2262|292 years"):
        col.d.is_in([value])


def test_the_last_times_in_int64_are_constants() -> None:
    for value in (dt.datetime(2262, 4, 11, 23, 47, 16, 854775), dt.datetime(1677, 9, 21, 0, 12, 43, 145225)):
        (match,) = found(Engine(begin("a", col.t == value), time="t"), {"t": value})
        assert match["a"]["t"] == value


def test_text_that_is_no_unicode_is_refused_by_a_regular_expression() -> None:
    pattern = begin("a", col.s.matches("a"))
    e = engine(pattern)
    with pytest.raises(DataError, match=r"field `s`: .* at position 1"):
        e.push([row(s="a"), row(s="\ud800")])
    assert len(found(e, row(s="a"))) == 1
    assert len(found(engine(begin("a", col.s.contains("a"))), row(s="a\ud800"))) == 1


def test_a_condition_in_python_sees_what_keep_leaves_out() -> None:
    pattern = begin("a", lambda e: e["x"] > 0)
    for data in (table(), [row(), row(t=2)]):
        matches = found(engine(pattern, keep=["k"]), data)
        assert [payload(m) for m in matches] == [{"t": 1, "k": "x"}, {"t": 2, "k": "x"}]


def test_a_condition_in_python_on_the_match_does_not_go_with_keep() -> None:
    pattern = begin("a").followed_by("b", lambda e, match: e["x"] > match["a"][0]["x"]).within("10s")
    with pytest.raises(DefinitionError, match="keep"):
        engine(pattern, keep=[])
    assert len(found(engine(pattern), table())) == 1


def test_a_snapshot_of_other_columns_is_a_state_error() -> None:
    e = engine()
    e.push(table())
    with pytest.raises(StateError, match="other patterns"):
        restored(e.snapshot(), begin("a", col.zzz > 0).within("5s"))


@pytest.mark.parametrize("fn", [fyke.func.least, fyke.func.greatest])
def test_least_and_greatest_are_of_numbers_and_times(fn: Any) -> None:
    by_text = begin("a", col.x > 0).by(fn(col.k, col.k2))
    with pytest.raises(SchemaError, match="numbers and times"):
        engine(by_text).push(table(k2=["a", "b"]))
    with pytest.raises(SchemaError, match="numbers and times"):
        engine(begin("a", fn(col.k, "b") == "a")).push(row())
    with pytest.raises(SchemaError, match="numbers and times"):
        engine(begin("a", fn(col.ok, col.ok2) == col.ok), schema=Schema.of(t="int64", ok="bool", ok2="bool"))
    assert [m.key for m in found(engine(by_text), row(k=3, k2=3.0))] == [3]
    times = [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)]
    pattern = begin("a", fn(col.one, col.two) == times[fn(col.one, col.two).fn == "greatest"])
    assert len(found(engine(pattern), row(one=times[1], two=times[0]))) == 1


def test_a_snapshot_keeps_its_bound_of_disorder() -> None:
    e = engine(out_of_order="5s")
    e.push(row(t=10))
    state = e.snapshot()
    for options in ({}, {"out_of_order": "5s"}):
        again = restored(state, **options)
        assert again.push([row(t=6), row(t=4)]).late.positions == [2]
    with pytest.raises(StateError, match="out_of_order"):
        restored(state, out_of_order="1h")
    with pytest.raises(StateError, match="out_of_order"):
        restored(state, out_of_order=0)
    with pytest.raises(StateError, match="out_of_order"):
        restored(engine(out_of_order="5s").snapshot(), out_of_order="1h")
    again = restored(engine(out_of_order="5s").snapshot())
    again.push(row(t=10))
    assert again.push([row(t=6), row(t=4)]).late.positions == [2]


@pytest.mark.parametrize("one", [fyke.lit(False), fyke.lit(True)])
@pytest.mark.parametrize("other", [fyke.prev.b, fyke.ref("a").b, fyke.prev.x > 1, fyke.ref("a").x > 1, col.b])
def test_a_constant_stands_beside_any_condition(one: Any, other: Any) -> None:
    schema = pa.schema([("t", pa.int64()), ("x", pa.float64()), ("b", pa.bool_())])
    for both in (one & other, other & one, one | other, ~one & other):
        engine(begin("a", col.b).followed_by("b", both).within("10s"), schema=schema)
    engine(begin("a").followed_by("b", one).until(other) if False else begin("a").followed_by("b", one).one_or_more()
           .until(other).followed_by("c", one & other).within("10s"), schema=schema)  # fmt: skip


# --- rows in snapshots

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.datetimes().map(lambda value: value.replace(fold=0)) | st.dates()
    | st.datetimes(timezones=st.just(dt.UTC)).map(lambda value: value.replace(fold=0))
    | st.times().map(lambda value: value.replace(fold=0)) | st.timedeltas()
    | st.decimals(allow_nan=False) | st.uuids()
    | st.integers(-(2**62), 2**62).map(lambda ns: np.datetime64(ns, "ns"))
    | st.integers(-(2**62), 2**62).map(lambda ns: np.timedelta64(ns, "ns"))
    | st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)).map(np.datetime64)
    | st.integers(-(2**62), 2**62).map(pd.Timestamp)
    | st.integers(-(2**62), 2**62).map(lambda ns: pd.Timestamp(ns, tz="UTC"))
    | st.sampled_from(["$bytes", "$dict", "$tuple", "$"])
)  # fmt: skip
HASHABLE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3)
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["$bytes", "$dict"]), inner, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=2)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """A value with the types of everything in it: 1 and True, a list and a tuple are not the same."""
    if isinstance(value, dict):
        return "dict", [(typed(k), typed(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(v) for v in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(typed(v)) for v in value)
    return type(value), repr(value)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["$bytes"]) | st.integers(), VALUES, max_size=3))
def test_a_row_in_a_snapshot_is_read_as_it_was(value: dict[Any, Any]) -> None:
    assert typed(load_row(dump_row(value))) == typed(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, "a"), {1}, frozenset({1}), {"$bytes": "abc"}, {"$bytes": "YQ=="}, {5: 1}, {"$dict": [[1, 2]]}, float("inf"),
        pd.Timestamp(1), pd.Timestamp(1, tz="Europe/Zurich"), pd.Timedelta(1), np.datetime64(1, "ns"),
        np.datetime64("NaT"), dt.time(1, 2), uuid.UUID(int=1),
    ],
)  # fmt: skip
def test_a_snapshot_keeps_what_a_row_holds(value: Any) -> None:
    e = engine()
    e.push([row(z=value), row(t=2, x=11.0)])
    (match,) = restored(e.snapshot()).flush()
    assert typed(match["a"]["z"]) == typed(value)


def test_a_key_of_several_parts_in_one_field_is_the_same_after_a_snapshot() -> None:
    e = engine()
    e.push(row(k=(1, "a")))
    (match,) = found(restored(e.snapshot()), row(t=2, x=11.0, k=(1, "a")))
    assert match.key == (1, "a")


@pytest.mark.parametrize(
    "inner", ['{"$none":1}', '{"$pandas":["Timestamp",1,"ns","No/Zone"]}', '{"$pandas":["x"]}', '{"$pandas":[]}'],
)  # fmt: skip
def test_a_damaged_row_is_a_state_error(inner: str) -> None:
    with pytest.raises(StateError):
        load_row(f'{{"a":{inner}}}')


# --- results


def test_tables_have_the_keys_and_stages_of_all_patterns() -> None:
    one, two, none = begin("a", col.x < 5).by("k"), begin("b", col.x > 10).by("k", "t"), begin("c", col.x > 99)
    e = engine({"one": one, "two": two, "none": none})
    names = ["pattern", "kind", "key_1", "key_2", "start", "end", "released", "id", "a", "b", "c"]
    assert e.push([]).to_arrow().schema.names == names
    results = e.push([row(), row(t=2, x=11.0), row(t=3)])
    assert results.to_arrow().schema.names == names
    keys = results.to_arrow().select(["pattern", "key_1", "key_2"]).to_pylist()
    assert keys == [{"pattern": "one", "key_1": "x", "key_2": None}, {"pattern": "two", "key_1": "x", "key_2": 2}]
    assert e.push(row(t=4, x=7.0)).to_arrow().schema.names == names


def test_computed_keys_have_their_types() -> None:
    at = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
    key = (col.x > 0, col.at + dt.timedelta(hours=1), col.at - dt.datetime(2024, 5, 1), -col.x)
    (match,) = found(engine(begin("a").by(*key)), row(at=at))
    assert match.key == (True, at + dt.timedelta(hours=1), dt.timedelta(days=5), -1.0)
    assert [type(part) for part in match.key] == [bool, dt.datetime, dt.timedelta, float]


def test_a_bool_of_a_stage_without_events_is_undefined() -> None:
    rows = [row(x=0.0, n=0, b=False), row(t=2, n=1, b=True)]
    for condition, holds in (
        (fyke.ref("a").b != col.b, False),
        (fyke.ref("a").b == False, False),  # noqa: E712
        (~(fyke.ref("a").b == False), True),  # noqa: E712
        (fyke.ref("a").b, False),
        (~fyke.ref("a").b, True),
        (fyke.ref("a").b.is_null(), True),
        (fyke.ref("a").b | col.b, True),
    ):
        pattern = begin("zero", col.n == 0).next("a", fyke.lit(False)).optional().next("x", condition)
        assert len(found(engine(pattern.within("9s")), rows)) == holds, condition


def test_every_error_can_be_caught_by_its_public_name() -> None:
    from fyke import errors

    assert [name for name in errors.__all__ if not hasattr(fyke, name)] == []


@pytest.mark.parametrize("nothing", [pd.NaT, np.datetime64("NaT")])
def test_not_a_time_is_null_in_rows_as_in_batches(nothing: Any) -> None:
    pattern = begin("a", col.at.is_null()).by("x")
    schema = Schema.of(t="int64", at="timestamp", x="any")
    assert len(found(engine(pattern, schema=schema), row(at=nothing))) == 1
    assert len(found(engine(pattern, schema=schema), row(at=None, x=nothing))) == 0


@pytest.mark.parametrize("year", [1678, 1900, 1969, 1970, 1972, 2000, 2024, 2100, 2261])
def test_a_datetime_in_a_row_is_its_nanoseconds(year: int) -> None:
    for month, day in ((1, 1), (2, 28), (3, 1), (12, 31), (2, 29) if year % 4 == 0 and year != 1900 else (4, 30)):
        if (year, month, day) == (2100, 2, 29):
            continue
        at = dt.datetime(year, month, day, 23, 59, 58, 123456)
        for value in (at, at.replace(tzinfo=dt.UTC), at.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))):
            e = Engine(begin("a"), time="t")
            e.push({"t": value})
            assert e.watermark == pd.Timestamp(value).value - 1
