"""The windowed operator from outside: columns of its results, side outputs, what it refuses, statistics."""

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from fyke import DefinitionError, SchemaError, agg, col, trigger, window
from fyke.operator import END, Batch, Marks
from fyke.operators.windowed import Windowed

SCHEMA = pa.schema([("key", pa.string()), ("v", pa.int64())])


def batch(rows, times, marks=(), schema=SCHEMA):
    """Rows and watermarks of their own origins: a mark is (how many rows come before it, time)."""
    origins, mark_origins, at = [], [], 0
    for i in range(len(times) + 1):
        for _ in [m for m in marks if m[0] == i]:
            mark_origins.append(at)
            at += 1
        if i < len(times):
            origins.append(at)
            at += 1
    marked = Marks(np.array(mark_origins, np.uint64), np.array([time for _, time in marks], np.int64))
    return Batch(
        pa.RecordBatch.from_pylist(rows, schema), np.array(times, np.int64), np.array(origins, np.uint64), marked
    )


def run(operator, *args, **options):
    out = operator.step([batch(*args, **options)])
    operator.check()
    return out


def test_a_result_has_the_key_the_window_what_it_is_worth_and_the_aggregates_in_this_order():
    operator = Windowed(window.Tumbling(10), {"n": agg.count(), "most": agg.max("v")}, SCHEMA, [col.key])
    assert operator.schema == pa.schema(
        [
            ("key", pa.string()),
            ("window_start", pa.timestamp("ns", "UTC")),
            ("window_end", pa.timestamp("ns", "UTC")),
            ("revision", pa.int64()),
            ("final", pa.bool_()),
            ("n", pa.int64()),
            ("most", pa.int64()),
        ]
    )
    out = run(operator, [{"key": "b", "v": 1}, {"key": "a", "v": 5}, {"key": "a", "v": 3}], [1, 2, 3], [(3, 9)])
    assert out.results.rows.schema == operator.schema
    assert [[c[i].as_py() for c in out.results.rows.columns[3:]] for i in range(2)] == [
        [0, True, 2, 5],
        [0, True, 1, 1],
    ]
    assert out.results.rows["key"].to_pylist() == ["a", "b"]
    assert out.results.rows["window_end"].cast(pa.int64()).to_pylist() == [10, 10]
    assert (out.results.times.tolist(), out.results.origins.tolist()) == ([9, 9], [3, 3])
    assert out.results.marks.times.tolist() == [9]


def test_a_step_without_rows_lets_watermarks_through():
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, SCHEMA, [col.key])
    out = run(operator, [], [], [(0, 5)])
    assert len(out.results) == 0
    assert out.results.marks.times.tolist() == [5]
    assert out.side == {}


@pytest.mark.parametrize(
    ("arrow", "values"),
    [
        (pa.int8(), [2, -3]),
        (pa.uint64(), [2, 3]),
        (pa.float32(), [0.5, -1.5]),
        (pa.bool_(), [True, False]),
        (pa.string(), ["b", "ä"]),
        (pa.dictionary(pa.int8(), pa.string()), ["b", "a"]),
        (pa.binary(), [b"x", b""]),
        (pa.binary(2), [b"xy", b"ab"]),
        (
            pa.timestamp("ms", "Europe/Zurich"),
            [dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(1960, 1, 1, tzinfo=dt.UTC)],
        ),
        (pa.duration("s"), [dt.timedelta(seconds=5), dt.timedelta(seconds=-5)]),
        (pa.date32(), [dt.date(2026, 1, 1), dt.date(1900, 1, 1)]),
        (pa.decimal128(9, 2), [decimal.Decimal("1.50"), decimal.Decimal("-2.00")]),
        (pa.time32("s"), [dt.time(1, 2, 3), dt.time(0)]),
        (pa.uuid(), [b"0123456789abcdef", b"fedcba9876543210"]),
    ],
    ids=str,
)
def test_a_key_comes_out_in_the_type_it_came_in(arrow, values):
    schema = pa.schema([("k", arrow), ("v", pa.int64())])
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, schema, [col.k])
    if isinstance(arrow, pa.UuidType):
        keys = pa.ExtensionArray.from_storage(arrow, pa.array([*values, values[0]], pa.binary(16)))
    elif pa.types.is_dictionary(arrow):
        keys = pa.array([*values, values[0]]).dictionary_encode().cast(arrow)
    else:
        keys = pa.array([*values, values[0]], arrow)
    rows = pa.RecordBatch.from_arrays([keys, pa.array([1, 2, 3])], schema=schema)
    out = operator.step([Batch(rows, np.zeros(3, np.int64), np.arange(3, dtype=np.uint64), Marks.one(9, END))])
    assert out.results.rows.schema.field("k").type == arrow
    found = dict(zip(out.results.rows["k"].to_pylist(), out.results.rows["n"].to_pylist(), strict=True))
    assert found == {keys[0].as_py(): 2, keys[1].as_py(): 1}


def test_a_key_of_two_parts_and_a_computed_one_have_names():
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, SCHEMA, {"key": col.key, "third": col.v % 3})
    rows = [{"key": "b", "v": 4}, {"key": "a", "v": 3}, {"key": "b", "v": 7}, {"key": "b", "v": 0}]
    out = run(operator, rows, [1, 1, 1, 1], [(4, END)])
    found = out.results.rows.select(["key", "third", "n"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [("a", 0, 1), ("b", 0, 1), ("b", 1, 2)]


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.float64()], ids=str)
def test_thousands_of_keys_end_together_in_the_order_of_the_key(kind):
    n, width = 20_000, 5_000
    numbers = (np.arange(n) * 7919 % 3001 - 1500).astype(np.int64)
    times = np.arange(n, dtype=np.int64)
    keys = pa.array(numbers).cast(kind)
    values = np.arange(n) % 997 / 8
    schema = pa.schema([("key", kind), ("v", pa.float64())])
    aggregates = {"n": agg.count(), "sum": agg.sum("v"), "least": agg.min("v"), "last": agg.last("v")}
    operator = Windowed(window.Tumbling(width), aggregates, schema, [col.key])
    rows = pa.RecordBatch.from_arrays([keys, pa.array(values)], schema=schema)
    marks = Marks(np.arange(n, dtype=np.uint64), times - 1)
    found = [operator.step([Batch(rows, times, times.astype(np.uint64), marks)]).results]
    operator.check()
    found.append(operator.step([Batch.empty(schema, Marks.one(n, END))]).results)
    expected: dict[tuple[int, object], list[float]] = {}
    for time, key, value in zip(times.tolist(), keys.to_pylist(), values.tolist(), strict=True):
        expected.setdefault((time // width * width, key), []).append(value)
    table = pa.Table.from_batches([batch.rows for batch in found])
    starts = table["window_start"].cast(pa.int64()).to_pylist()
    got = zip(
        zip(starts, table["key"].to_pylist(), strict=True),
        zip(*(table[name].to_pylist() for name in aggregates), strict=True),
        strict=True,
    )
    assert list(got) == [
        (place, (len(v), sum(v), min(v), v[-1]))
        for place, v in sorted(
            expected.items(), key=lambda item: (item[0][0], str(item[0][1]) if kind == pa.string() else item[0][1])
        )
    ]


def test_without_a_key_all_rows_are_of_one():
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, SCHEMA)
    out = run(operator, [{"key": "b", "v": 4}, {"key": None, "v": 3}], [1, 1], [(2, END)])
    assert out.results.rows.select(["n"]).to_pylist() == [{"n": 2}]


def test_keys_come_in_order_of_their_values():
    schema = pa.schema([("k", pa.int64())])
    keys = [int(k) for k in np.random.default_rng(1).permutation(np.arange(-500, 500) * 10**15)]
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, schema, [col.k])
    out = run(operator, [{"k": k} for k in keys], [1] * len(keys), [(len(keys), END)], schema=schema)
    assert out.results.rows["k"].to_pylist() == sorted(keys)
    schema = pa.schema([("k", pa.string()), ("x", pa.float64())])
    texts = ["", "a", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaaab", "b", "ä", "\U0001f41f"]
    rows = [{"k": k, "x": x} for k in reversed(texts) for x in (float("nan"), 2.0, -0.5, float("-inf"))]
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, schema, [col.k, col.x])
    out = run(operator, rows, [1] * len(rows), [(len(rows), END)], schema=schema)
    assert out.results.rows["k"].to_pylist() == [k for k in texts for _ in range(4)]
    assert str(out.results.rows["x"].to_pylist()[:4]) == "[-inf, -0.5, 2.0, nan]"


def test_a_row_whose_key_is_null_is_an_error_with_its_columns():
    operator = Windowed(window.Tumbling(10), {"n": agg.count()}, SCHEMA, [col.key])
    out = run(operator, [{"key": None, "v": 1}, {"key": "a", "v": 2}], [1, 1], [(2, END)])
    assert out.side["errors"].to_pylist() == [{"key": None, "v": 1, "error": "a part of the key is null"}]
    assert out.results.rows["n"].to_pylist() == [1]
    assert operator.statistics()["null_keys"] == 1


def test_a_session_row_without_a_gap_of_its_own_is_an_error():
    schema = pa.schema([("gap", pa.duration("ns"))])
    operator = Windowed(window.session(col.gap), {"n": agg.count()}, schema)
    gaps = [dt.timedelta(microseconds=5), None, dt.timedelta(0), dt.timedelta(microseconds=-1)]
    out = run(operator, [{"gap": gap} for gap in gaps], [1, 1, 1, 1], [(4, END)], schema=schema)
    assert set(out.side["errors"]["error"].to_pylist()) == {"the gap of its session is null, zero or negative"}
    assert out.results.rows["n"].to_pylist() == [1]
    assert operator.statistics()["no_gaps"] == 3


def test_late_rows_and_rows_between_windows_come_apart():
    operator = Windowed(window.Hopping(3, 5), {"n": agg.count()}, SCHEMA, [col.key])
    rows = [{"key": "a", "v": i} for i in range(4)]
    out = run(operator, rows, [4, 1, 9, 3], [(1, 3)])
    assert out.side["no_window"]["v"].to_pylist() == [0, 2]
    assert out.side["late"]["v"].to_pylist() == [1, 3]
    statistics = operator.statistics()
    assert {name: statistics[name] for name in ("rows", "late", "no_window", "results", "windows", "keys")} == {
        "rows": 4, "late": 2, "no_window": 2, "results": 0, "windows": 0, "keys": 0,
    }  # fmt: skip


@pytest.mark.parametrize("made", [window.count_window(2), window.global_window()])
def test_windows_without_bounds_have_null_bounds(made):
    fires = None if isinstance(made, window.CountWindow) else trigger.count(2)
    operator = Windowed(made, {"n": agg.count()}, SCHEMA, [col.key], trigger=fires)
    out = run(operator, [{"key": "a", "v": i} for i in range(2)], [5, 4])
    assert out.results.rows.select(["window_start", "window_end", "n"]).to_pylist() == [
        {"window_start": None, "window_end": None, "n": 2}
    ]
    assert out.results.times.tolist() == [4]


@pytest.mark.parametrize(
    ("made", "options", "says"),
    [
        (window.count_window(3), {"trigger": trigger.count(2)}, "its rows say when"),
        (window.global_window(), {"trigger": trigger.at_end()}, "never ends"),
        (window.tumbling("1m"), {"trigger": trigger.end_of_stream()}, "is for global_window"),
        (window.tumbling("1m"), {"emit_rest": True}, "emit_rest is for"),
        (window.sliding("1m"), {}, "no window for aggregates"),
    ],
)
def test_what_cannot_go_together_is_refused(made, options, says):
    with pytest.raises(DefinitionError, match=says):
        Windowed(made, {"n": agg.count()}, SCHEMA, [col.key], **options)


def test_names_must_differ():
    with pytest.raises(DefinitionError, match='"final"'):
        Windowed(window.Tumbling(10), {"final": agg.count()}, SCHEMA, [col.key])
    with pytest.raises(DefinitionError, match="needs a name"):
        Windowed(window.Tumbling(10), {"n": agg.count()}, SCHEMA, [col.v % 3])


def test_a_gap_is_a_length_of_time():
    with pytest.raises(SchemaError, match="a gap is a duration"):
        Windowed(window.session(col.key), {"n": agg.count()}, SCHEMA, [col.key])


def test_days_of_a_zone_begin_at_its_midnight_whatever_the_clock_does():
    schema = pa.schema([("v", pa.int64())])
    operator = Windowed(window.tumbling("1d", tz="Europe/Zurich"), {"n": agg.count()}, schema)
    hours = np.arange(0, 24 * 3) * 3_600_000_000_000
    start = int(np.datetime64("2026-03-28T00:00", "ns").astype(np.int64))  # the clock goes forward on the 29th
    out = run(operator, [{"v": 1}] * len(hours), (start + hours).tolist(), [(len(hours), END)], schema=schema)
    rows = out.results.rows.select(["window_start", "window_end", "n"]).to_pylist()
    assert [(row["window_start"].strftime("%d %H"), row["window_end"].strftime("%d %H"), row["n"]) for row in rows] == [
        ("27 23", "28 23", 23),
        ("28 23", "29 22", 23),
        ("29 22", "30 22", 24),
        ("30 22", "31 22", 2),
    ]
