"""What a push gives back: matches, their events, timeouts, late rows, and all of them as Arrow tables."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import fyke
from fyke import begin, col

SECOND = 1_000_000_000
PATTERN = (
    begin("low", col.x < 1)
    .followed_by("mid", col.x > 1, col.x < 10)
    .one_or_more()
    .followed_by("odd", col.x == 7)
    .optional()
    .followed_by("high", col.x > 10)
    .within("1h")
)
ROWS = [
    {"t": 5, "key": "k", "n": 1, "x": 0.5},
    {"t": 6, "key": "k", "n": 1, "x": 3.0},
    {"t": 7, "key": "k", "n": 1, "x": 4.0},
    {"t": 8, "key": "k", "n": 1, "x": 11.0},
]
SCHEMA = pa.schema([("t", pa.int64()), ("key", pa.string()), ("n", pa.int64()), ("x", pa.float64())])
TABLE = pa.Table.from_pylist(ROWS, schema=SCHEMA)


def run(pattern: Any, *pushes: Any, **options: Any) -> fyke.Results:
    """All that the pushes give; nothing comes out at the end."""
    engine = fyke.Engine(pattern, time="t", unit="s", timeouts=True, **options)
    for data in pushes[:-1]:
        assert len(engine.push(data)) == 0
    results = engine.push(pushes[-1])
    if len(results) == 0:
        results = engine.flush()
    return results


# --------------------------------------------------------------------------------- a match


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_a_match_gives_each_stage_its_event_its_list_or_none(data: Any) -> None:
    long = run(PATTERN, data)[0]
    assert long["low"] == ROWS[0]
    assert long["mid"] == [ROWS[1], ROWS[2]]
    assert long["odd"] is None
    assert long["high"] == ROWS[3]
    assert [(stage, event.position) for stage, event in long.events] == [
        ("low", 0),
        ("mid", 1),
        ("mid", 2),
        ("high", 3),
    ]
    with pytest.raises(KeyError, match="no stage 'hihg'; the pattern has low, mid, odd, high"):
        long["hihg"]


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_a_match_tells_its_times_its_cause_and_its_name(data: Any) -> None:
    match = run(PATTERN.named("rise"), data)[1]
    assert (match.pattern, match.kind, match.key) == ("rise", "match", None)
    assert (match.start, match.end, match.time, match.released) == (5 * SECOND, 8 * SECOND, 8 * SECOND, 8 * SECOND)
    assert match.start_time == dt.datetime(1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC)
    assert match.end_time == dt.datetime(1970, 1, 1, 0, 0, 8, tzinfo=dt.UTC)
    assert match.cause == ("event", 3)
    assert match.id == "rise/match/low@0,mid@1,high@3"


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_a_match_is_plain_dicts_and_lists_on_request(data: Any) -> None:
    assert run(PATTERN.by("key"), data)[1].to_dict() == {
        "pattern": None,
        "kind": "match",
        "key": "k",
        "start": 5 * SECOND,
        "end": 8 * SECOND,
        "released": 8 * SECOND,
        "id": "0/match/low@0,mid@1,high@3",
        "stages": {"low": ROWS[0], "mid": [ROWS[1]], "high": ROWS[3]},
    }


def test_a_match_shows_itself_in_one_line() -> None:
    match = run(begin("a", col.x > 10).by("key").named("big"), ROWS)[0]
    assert repr(match) == "<match big key='k' a={'t': 8, 'key': 'k', 'n': 1, 'x': 11.0}>"
    assert repr(run(PATTERN, ROWS)) == "<2 matches, 3 timeouts>"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (("key",), "k"),
        (("key", "n"), ("k", 1)),
        ((col.n > 0,), True),
        ((col.n + 1,), 2),
        (("key", col.key.starts_with("k")), ("k", True)),
        ((col.at + dt.timedelta(hours=1),), dt.datetime(2024, 1, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_the_key_has_the_types_of_its_parts(key: tuple[Any, ...], shown: Any) -> None:
    schema = SCHEMA.append(pa.field("at", pa.timestamp("us", "UTC")))
    rows = [{**row, "at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)} for row in ROWS]
    for data in (rows, pa.Table.from_pylist(rows, schema=schema)):
        match = run(PATTERN.by(*key), data, schema=schema)[0]
        assert match.key == shown
        assert type(match.key) is type(shown)


def test_matches_are_equal_by_what_they_say_and_have_no_hash() -> None:
    one, two = run(PATTERN, ROWS), run(PATTERN, TABLE)
    assert one[0] == two[0]
    assert one[0] != two[1]
    assert one[0] != "x"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one[0])


# --------------------------------------------------------------------------------- an event


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_an_event_is_a_read_only_mapping_with_attributes(data: Any) -> None:
    event = run(PATTERN, data)[0]["low"]
    assert dict(event) == ROWS[0]
    assert (event["x"], event.x, len(event), "x" in event, "y" in event) == (0.5, 0.5, 4, True, False)
    assert (event.time, event.position) == (5 * SECOND, 0)
    assert event.get("y", 3) == 3
    with pytest.raises(KeyError, match="y"):
        event["y"]
    with pytest.raises(AttributeError, match="y"):
        _ = event.y
    with pytest.raises(TypeError):
        event["x"] = 1


def test_columns_that_are_named_like_attributes_are_reached_by_name() -> None:
    event = run(begin("a"), [{"t": 1, "time": "noon", "position": 9}, {"t": 2}])[0]["a"]
    assert (event["time"], event.time) == ("noon", SECOND)
    assert (event["position"], event.position) == (9, 0)


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_events_can_be_copied_and_pickled(data: Any) -> None:
    event = run(PATTERN, data)[0]["low"]
    for twin in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert (dict(twin), twin.time, twin.position) == (ROWS[0], 5 * SECOND, 0)


# --------------------------------------------------------------------------------- sequences of them


def test_results_are_a_sequence_of_their_matches() -> None:
    results = run(PATTERN, ROWS)
    ids = ["0/match/low@0,mid@1,mid@2,high@3", "0/match/low@0,mid@1,high@3"]
    assert [m.id for m in results] == ids
    assert [m.id for m in results.matches] == ids
    assert [m.id for m in results[-1:]] == ids[1:]
    assert [m.id for m in reversed(results)] == ids[::-1]
    assert results[-1].id == ids[1]
    assert results[1] in results
    assert results
    assert not run(begin("a", col.x > 10), ROWS).timeouts
    with pytest.raises(IndexError):
        results[2]


def test_timeouts_are_matches_of_what_was_found_so_far() -> None:
    (timeout,) = run(PATTERN.by("key").named("p"), ROWS[:1]).timeouts
    assert (timeout.kind, timeout.key, timeout.released) == ("timeout", "k", 3605 * SECOND)
    assert timeout.cause == ("time", 3605 * SECOND)
    assert timeout.id == "p/timeout/low@0"
    assert (timeout["low"], timeout["mid"], timeout["odd"], timeout["high"]) == (ROWS[0], [], None, None)


def test_timeouts_are_counted_when_they_are_not_asked_for() -> None:
    engine = fyke.Engine(PATTERN, time="t", unit="s")
    engine.push(ROWS[:1])
    assert len(engine.flush().timeouts) == 0
    assert engine.statistics().timeouts == 1


def test_held_matches_come_out_at_the_end_and_only_there() -> None:
    """The partial match of second 0 might still come before: a skip strategy lets the other wait for it."""
    waits = begin("a", col.x == 1).followed_by("b", col.x == fyke.ref("a").n).skip(fyke.skip.to_next())
    engine = fyke.Engine(waits, time="t", unit="s", max_partials=10)
    rows = [{"t": 0, "x": 1.0, "n": 9}, {"t": 1, "x": 1.0, "n": 5}, {"t": 2, "x": 5.0, "n": 0}]
    assert len(engine.push(rows)) == 0
    end = engine.flush()
    (held,) = end.held
    assert len(end) == 0
    assert (held.kind, held.cause, held["a"]["t"], held["b"]["t"]) == ("held", ("end", None), 1, 2)
    assert len(engine.flush().held) == 0


def test_late_rows_are_dicts_in_the_order_in_which_they_came() -> None:
    engine = fyke.Engine(PATTERN, time="t", unit="s")
    late = engine.push([{"t": 9}, {"t": 3, "x": 1}, {"t": 10}, {"t": 4, "y": [2]}]).late
    assert list(late) == [{"t": 3, "x": 1}, {"t": 4, "y": [2]}]
    assert (len(late), late[1], late[-2:], late.positions) == (2, {"t": 4, "y": [2]}, list(late), [1, 3])
    assert late.to_arrow().to_pylist() == [{"t": 3, "x": 1, "y": None}, {"t": 4, "x": None, "y": [2]}]
    late = engine.push(TABLE).late
    assert late.to_arrow().schema == SCHEMA
    assert list(late) == ROWS


# --------------------------------------------------------------------------------- as Arrow


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_matches_as_a_table_have_a_row_each_and_a_column_per_stage(data: Any) -> None:
    table = run(PATTERN.by("key").named("p"), data).to_arrow()
    time, row = pa.timestamp("ns", "UTC"), pa.struct(list(SCHEMA))
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == {
        "pattern": pa.string(), "kind": pa.string(), "key": pa.string(), "start": time, "end": time, "released": time,
        "id": pa.string(), "low": row, "mid": pa.list_(row), "odd": row, "high": row,
    }  # fmt: skip
    assert table["start"].cast(pa.int64()).to_pylist() == [5 * SECOND] * 2
    assert table["end"].cast(pa.int64()).to_pylist() == [8 * SECOND] * 2
    assert table.select(["pattern", "kind", "key", "id", "low", "mid", "odd", "high"]).to_pylist() == [
        {"pattern": "p", "kind": "match", "key": "k", "id": "p/match/low@0,mid@1,mid@2,high@3",
         "low": ROWS[0], "mid": [ROWS[1], ROWS[2]], "odd": None, "high": ROWS[3]},
        {"pattern": "p", "kind": "match", "key": "k", "id": "p/match/low@0,mid@1,high@3",
         "low": ROWS[0], "mid": [ROWS[1]], "odd": None, "high": ROWS[3]},
    ]  # fmt: skip


def test_keys_of_several_parts_are_columns_of_their_own() -> None:
    table = run(PATTERN.by("key", "n"), TABLE).to_arrow()
    assert table.select(["key_1", "key_2"]).to_pylist() == [{"key_1": "k", "key_2": 1}] * 2


def test_a_stage_named_like_a_column_of_every_table_gets_an_underscore() -> None:
    table = run(begin("key", col.x < 1).next("id").within("1h").by("key"), TABLE).to_arrow()
    assert table["key"].to_pylist() == ["k"]
    assert table["key_"].to_pylist() == [ROWS[0]]
    assert table["id_"].to_pylist() == [ROWS[1]]


@pytest.mark.parametrize("data", [ROWS, TABLE])
def test_tables_of_the_same_patterns_have_the_same_columns_whatever_matched(data: Any) -> None:
    patterns = {"keyed": begin("a", col.x < 1).by("key"), "other": begin("b", col.x > 10)}
    engine = fyke.Engine(patterns, time="t", unit="s")
    both, one, none = engine.push(data), engine.flush(), engine.push([])
    assert ([len(both), len(one), len(none)]) == [1, 1, 0]
    assert both.to_arrow().schema.names == one.to_arrow().schema.names
    assert both.to_arrow()["a"].to_pylist() == [ROWS[0]]
    assert one.to_arrow()["a"].to_pylist() == [None]
    assert one.to_arrow()["b"].to_pylist() == [ROWS[3]]


def test_a_table_joins_events_of_many_pushes_of_dicts_and_tables() -> None:
    rows = [{**row, "t": 100 * i + row["t"], "n": i} for i in range(30) for row in ROWS]
    pushes = [rows[i : i + 3] for i in range(0, len(rows), 3)]
    engine = fyke.Engine(begin("low", col.x < 1).followed_by("high", col.x > 10).within("1h"), time="t", unit="s")
    found = []
    for i, push in enumerate(pushes):
        result = engine.push(pa.Table.from_pylist(push, schema=SCHEMA) if i % 2 else push)
        found += result.to_arrow().select(["low", "high"]).to_pylist() if len(result) else []
    found += engine.flush().to_arrow().select(["low", "high"]).to_pylist()
    assert [(pair["low"]["n"], pair["high"]["n"]) for pair in found] == [(i, i) for i in range(30)]


def test_timeouts_and_an_empty_result_are_tables_too() -> None:
    results = run(PATTERN.named("p"), ROWS[:2])
    assert results.timeouts.to_arrow().select(["kind", "low", "mid", "high"]).to_pylist() == [
        {"kind": "timeout", "low": ROWS[0], "mid": [ROWS[1]], "high": None}
    ]
    assert results.to_arrow().num_rows == 0
    assert results.to_arrow().schema.names[:2] == ["pattern", "kind"]
    assert results.late.to_arrow().num_rows == 0


def test_a_columns_own_type_comes_through() -> None:
    """Decimals, lists, dictionaries, times with a zone: the payload is not touched."""
    columns = {
        "t": pa.array([1, 2]),
        "x": pa.array([0.5, 11.0]),
        "cost": pa.array([Decimal("1.10"), None], pa.decimal128(9, 2)),
        "tags": pa.array([["a"], None]),
        "kind": pa.array(["p", "q"]).dictionary_encode(),
        "at": pa.array([1, 2], pa.timestamp("ms", "Europe/Zurich")),
        "raw": pa.array([b"\0", None], pa.large_binary()),
        "name": pa.array(["é", None], pa.string_view()),
    }
    table = pa.table(columns)
    match = run(begin("a", col.x < 1).followed_by("b", col.x > 10).within("1h"), table).to_arrow()
    for name in ("cost", "tags", "at", "raw"):
        assert match["a"].type.field(name).type == table.schema.field(name).type
    assert match["a"].to_pylist() + match["b"].to_pylist() == table.to_pylist()


def test_keep_leaves_the_columns_named_those_that_the_pattern_reads_and_the_time() -> None:
    for data in (TABLE, ROWS):
        results = run(begin("a", col.x < 1).followed_by("b", col.x > 10).within("1h"), data, keep=["n"])
        assert sorted(results[0]["a"]) == ["n", "t", "x"]
        assert sorted(f.name for f in results.to_arrow()["a"].type) == ["n", "t", "x"]
        assert results[0]["a"].time == 5 * SECOND
