"""What a view of a state shows: what is open of a key, with the events, as the engine holds it."""

import pyarrow as pa
import pytest

import fyke
from fyke import Engine, StateError, agg, begin, col, stream, tumbling
from fyke.stateview import EXPORT, StateView

SPREE = begin("low", col.x < 2).followed_by("high", col.x > 5).within("1h").by("k").named("spree")
PAIR = begin("one", col.x > 5).followed_by("two", col.x > 5).within("1h").by("k", "n")
ROWS = [
    {"ts": 0, "k": "a", "n": 1, "x": 1},
    {"ts": 1, "k": "b", "n": 2, "x": 9},
    {"ts": 2, "k": "a", "n": 1, "x": 1},
    {"ts": 3, "k": "z", "n": 1, "x": 4},
]


@pytest.fixture(params=["rows", "arrow"])
def engine(request):
    engine = Engine([SPREE, PAIR], time="ts", unit="s")
    engine.push(ROWS if request.param == "rows" else pa.Table.from_pylist(ROWS))
    return engine


def test_what_is_open_of_a_key_is_shown_with_its_events(engine):
    first, second = engine.state.get("a")
    assert (first.pattern, first.key, first.waiting_for, first.start) == ("spree", "a", "high", 0)
    (event,) = second.events
    assert (event.stage, event.time, event.position, dict(event.row)) == ("low", 2 * 10**9, 2, ROWS[2])


@pytest.mark.parametrize("key", [("b", 2), "b,2"])
def test_a_key_of_several_columns_is_given_as_a_tuple_or_as_text(engine, key):
    (found,) = engine.state.get(key)
    assert (found.pattern, found.key, found.waiting_for) == ("1", ("b", 2), "two")


def test_a_key_with_nothing_open_has_nothing(engine):
    assert engine.state.get("z") == []
    assert engine.state.get(("a", 1)) == []


def test_all_that_is_open_is_what_the_statistics_count(engine):
    assert len(list(engine.state.partials())) == engine.statistics().partials == 3


def test_matches_held_back_are_complete():
    pattern = begin("a", col.x == 1).one_or_more().greedy().followed_by("b", col.x == 2).within("1h")
    engine = Engine(pattern.skip(fyke.skip.to_first("a")), time="ts", unit="s")
    for n, x in enumerate([1, 1, 2, 0]):
        engine.push([{"ts": n, "x": x}])
        kinds = {each.waiting_for is None for each in engine.state.partials()}
        assert (True in kinds) == (engine.statistics().held > 0)


def test_the_table_has_the_same_columns_whatever_the_patterns(engine):
    table = engine.state.to_arrow()
    assert table.schema == EXPORT
    assert table["key"].to_pylist() == ['"a"', '"a"', '["b", 2]']
    assert table["events"].to_pylist()[0][0]["row"] == '{"ts": 0, "k": "a", "n": 1, "x": 1}'


def test_boxes_of_a_stream_are_looked_into_by_key():
    rows = stream("rows", time="ts", unit="s")
    graph = {
        "matches": rows.match(SPREE).named("spree"),
        "sums": rows.key_by("k").window(tumbling("1m")).aggregate(n=agg.count()).named("sums"),
    }
    engine = Engine(graph)
    engine.push(ROWS)
    view = engine.state
    assert [(each.box, each.waiting_for) for each in view.get("a")] == [("spree", "high"), ("spree", "high")]
    assert [(name, row["key.k"]) for name, rows in view.records("a").items() for row in rows] == [("sums", "a")]
    assert view.watermarks == {"rows": 2_999_999_999}


def test_a_damaged_state_is_an_error(engine):
    state = engine.snapshot()
    with pytest.raises(StateError):
        StateView(state[:-3])
    with pytest.raises(StateError, match="not a snapshot"):
        StateView(b"x" * 64)
