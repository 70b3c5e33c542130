"""State under patterns that changed: what was open goes on in the new version, finishes in the old, or is dropped."""

import pyarrow as pa
import pytest

import fyke
from fyke import DefinitionError, Engine, StateError, Upgrade, begin, col, prev, ref

OPTIONS = {"time": "ts", "unit": "s"}


def version(limit=5, within="1m", name=None, key="k"):
    pattern = begin("low", col.x < 2).followed_by("high", col.x > limit).within(within).by(key)
    return pattern if name is None else pattern.named(name)


def row(ts, k, x, **more):
    return {"ts": ts, "k": k, "x": x} | more


def upgraded(old, rows, new, upgrade, **options):
    """An engine of new patterns with the state of one that had some rows."""
    options = OPTIONS | options
    engine = Engine(old, **options)
    engine.push(rows)
    if "out_of_order" not in options:
        engine.advance(max(each["ts"] for each in as_rows(rows)) * 10**9)
    return Engine.restore(engine.snapshot(), new, upgrade=upgrade, **options)


def as_rows(data):
    return data if isinstance(data, list) else data.to_pylist()


def more(engine, rows):
    """What rows complete, the last one too."""
    return [*engine.push(rows), *engine.advance(max(each["ts"] for each in as_rows(rows)) * 10**9)]


def ids(results):
    return [match.id.partition("/match/")[2] for match in results]


OPEN = [row(0, "a", 1), row(1, "b", 1)]


def test_without_a_policy_a_changed_pattern_is_an_error_that_shows_the_change():
    state = Engine(version(), **OPTIONS)
    more(state, OPEN)
    with pytest.raises(StateError) as caught:
        Engine.restore(state.snapshot(), version(8, within="2m"), **OPTIONS)
    text = str(caught.value)
    assert "-  .followed_by('high', col.x > 5)\n" in text
    assert "+  .followed_by('high', col.x > 8)\n" in text
    assert "-  .within('1m')" in text
    assert "   begin('low', col.x < 2)" in text


def test_mapped_partial_matches_go_on_under_the_new_conditions():
    engine = upgraded(version(5), OPEN, version(8), Upgrade("map"))
    assert (engine.moved.mapped, engine.moved.finishing, engine.moved.dropped) == (2, 0, 0)
    assert ids(more(engine, [row(2, "a", 7), row(3, "b", 9)])) == ["low@1,high@3"]
    assert ids(more(engine, [row(4, "a", 9)])) == ["low@0,high@4"]
    engine.check()


def test_mapped_partial_matches_have_the_new_window():
    shorter = upgraded(version(within="1m"), OPEN, version(within="10s"), Upgrade("map"), timeouts=True)
    assert [match.key for match in shorter.push([row(30, "c", 0)]).timeouts] == ["a", "b"]
    longer = upgraded(version(within="1m"), OPEN, version(within="5m"), Upgrade("map"))
    assert ids(more(longer, [row(120, "a", 9), row(121, "z", 0)])) == ["low@0,high@2"]


def test_what_is_open_can_finish_in_the_old_version_while_the_new_one_begins():
    engine = upgraded(version(5), OPEN, version(8), Upgrade("finish"))
    assert (engine.moved.mapped, engine.moved.finishing) == (0, 2)
    assert ids(more(engine, [row(2, "a", 7), row(3, "c", 1), row(4, "c", 7)])) == ["low@0,high@2"]
    assert ids(more(engine, [row(5, "c", 9)])) == ["low@3,high@5"]


def test_the_old_version_goes_on_finishing_after_another_restore():
    engine = upgraded(version(5), OPEN, version(8), Upgrade("finish"))
    again = Engine.restore(engine.snapshot(), version(8), **OPTIONS)
    assert ids(more(again, [row(2, "a", 7), row(3, "c", 1), row(4, "c", 7)])) == ["low@0,high@2"]


def test_what_finishes_does_so_through_a_second_upgrade():
    engine = upgraded(version(5), OPEN, version(8), Upgrade("finish"))
    more(engine, [row(2, "c", 1)])
    third = Engine.restore(engine.snapshot(), version(20), upgrade=Upgrade("finish"), **OPTIONS)
    assert third.moved.finishing == 3
    assert ids(more(third, [row(3, "a", 7), row(4, "c", 7)])) == ["low@0,high@3"]
    assert ids(more(third, [row(5, "c", 9)])) == ["low@2,high@5"]


def test_when_nothing_is_open_any_more_the_old_version_is_gone():
    engine = upgraded(version(5), OPEN, version(8), Upgrade("finish"))
    more(engine, [row(2, "a", 7), row(3, "b", 7), row(4, "d", 1)])
    third = Engine.restore(engine.snapshot(), version(20), upgrade=Upgrade("map"), **OPTIONS)
    assert (third.moved.mapped, third.moved.finishing) == (1, 0)


def test_what_is_open_can_be_dropped():
    engine = upgraded(version(5), OPEN, version(8), Upgrade("drop"))
    assert engine.moved.dropped == 2
    assert ids(more(engine, [row(2, "a", 9), row(3, "a", 1), row(4, "a", 9)])) == ["low@3,high@4"]


def test_patterns_that_did_not_change_go_on_whatever_the_policy():
    old = [version(5, name="one"), version(5, name="two")]
    engine = upgraded(old, OPEN, [version(8, name="two"), version(5, name="one")], Upgrade("drop"))
    assert (engine.moved.mapped, engine.moved.dropped) == (2, 2)
    assert [match.id for match in more(engine, [row(2, "a", 9)])] == ["one/match/low@0,high@2"]


def test_renamed_patterns_and_stages_are_found():
    new = begin("small", col.x < 2).followed_by("big", col.x > 8).within("1m").by("k").named("now")
    names = Upgrade("map", stages={"low": "small", "high": "big"}, patterns={"then": "now"})
    engine = upgraded(version(5, name="then"), OPEN, new, names)
    (match,) = more(engine, [row(2, "a", 9)])
    assert match.id == "now/match/small@0,big@2"
    assert match["small"]["x"] == 1


def test_a_stage_inserted_later_does_not_matter_and_one_before_has_no_place():
    old = begin("a", col.x == 1).followed_by("b", col.x == 2).followed_by("c", col.x == 3).within("1h").by("k")
    later = (
        begin("a", col.x == 1).followed_by("b", col.x == 2).followed_by("new", col.x == 9)
        .followed_by("c", col.x == 3).within("1h").by("k")
    )  # fmt: skip
    rows = [row(0, "p", 1), row(1, "q", 1), row(2, "q", 2)]  # p waits for b, q for c
    told = r'1 open partial matches have no place.*waiting for "c"(.|\n)*\+.*new'
    with pytest.raises(StateError, match=told) as caught:
        upgraded(old, rows, later, Upgrade("map"))
    assert 'say rest="finish"' in str(caught.value)
    dropped = upgraded(old, rows, later, Upgrade("map", rest="drop"))
    assert (dropped.moved.mapped, dropped.moved.dropped) == (1, 1)
    rest = [row(3, "p", 2), row(4, "q", 3), row(5, "p", 9), row(6, "p", 3)]
    assert ids(more(dropped, rest)) == ["a@0,b@3,new@5,c@6"]
    finished = upgraded(old, rows, later, Upgrade("map", rest="finish"))
    assert sorted(ids(more(finished, rest))) == ["a@0,b@3,new@5,c@6", "a@1,b@2,c@4"]


def test_another_quantifier_where_a_match_waits_has_no_place():
    old, new = (begin("a", col.x == 1).times(n).followed_by("b", col.x == 2).within("1h").by("k") for n in (2, 3))
    rows = [row(0, "p", 1), row(1, "q", 1), row(2, "q", 1)]  # p waits for the second a, q for b
    engine = upgraded(old, rows, new, Upgrade("map", rest="drop"))
    assert engine.moved.dropped > 0
    assert "a@1,a@2,b@3" in ids(more(engine, [row(3, "q", 2)]))


def test_another_key_has_no_place():
    with pytest.raises(StateError, match="no place"):
        upgraded(version(), [row(0, "a", 1, c="x")], version(key="c"), Upgrade("map"))


def test_a_pattern_that_is_gone_is_finished_dropped_or_refused():
    old, new = [version(5, name="one"), version(5, name="two")], [version(5, name="one")]
    with pytest.raises(StateError, match="2 of pattern two"):
        upgraded(old, OPEN, new, Upgrade("map"))
    engine = upgraded(old, OPEN, new, Upgrade("finish"))
    assert [match.pattern for match in more(engine, [row(2, "a", 9)])] == ["one", "two"]
    engine = upgraded(old, OPEN, new, Upgrade("drop"))
    assert [match.pattern for match in more(engine, [row(2, "a", 9)])] == ["one"]


@pytest.mark.parametrize("column", ["x", "f"])
def test_running_aggregates_that_are_new_are_made_from_the_events(column):
    loop = begin("a", col.x > 0).times(3).consecutive()
    old = loop.next("b", col.x > 0).within("1h").by("k")
    wanted = {"sum": 6, "min": 1, "max": 3, "first": 1, "last": 3, "count": 3, "avg": 2}
    for aggregate, expected in wanted.items():
        condition = col[column] == aggregate_of(aggregate, column)
        new = loop.next("b", condition).within("1h").by("k")
        rows = [row(n, "p", n + 1, f=n + 1.0) for n in range(3)]
        engine = upgraded(old, rows, new, Upgrade("map"))
        found = more(engine, [row(3, "p", expected, f=float(expected))])
        assert ids(found) == ["a@0,a@1,a@2,b@3"], aggregate


def aggregate_of(aggregate, column):
    return getattr(getattr(ref("a"), column), aggregate)()


def test_rows_that_wait_and_the_watermark_go_over():
    engine = upgraded(version(5), [row(9, "a", 1), row(10, "a", 6)], version(4), Upgrade("drop"), out_of_order="5s")
    assert engine.watermark == 4_999_999_999
    assert ids(more(engine, [row(30, "z", 0)])) == ["low@0,high@1"]


def test_the_latest_events_of_keys_go_over():
    old = begin("up", col.x > prev.x).by("k").within("1m")
    new = begin("up", col.x > prev.x + 1).by("k").within("1m")
    engine = upgraded(old, [row(0, "a", 5)], new, Upgrade("drop"))
    assert ids(more(engine, [row(1, "a", 6), row(2, "a", 8)])) == ["up@2"]


def test_columns_that_only_the_new_version_reads_are_read_from_the_rows_that_are_held():
    rows = pa.Table.from_pylist([row(0, "a", 1, y=3), row(1, "b", 1, y=5)])
    new = begin("low", col.x < 2).followed_by("high", (col.x > 5) & (col.y == ref("low").y)).within("1m").by("k")
    engine = upgraded(version(5), rows, new, Upgrade("map"))
    rest = pa.Table.from_pylist([row(2, "a", 9, y=4), row(3, "b", 9, y=5)])
    assert ids(more(engine, rest)) == ["low@1,high@3"]


def test_a_column_that_the_held_rows_lack_is_named():
    new = begin("low", col.x < 2).followed_by("high", (col.x > 5) & (col.y == ref("low").y)).within("1m").by("k")
    with pytest.raises(StateError, match="lack the column `y`, which the new patterns read"):
        upgraded(version(5), pa.Table.from_pylist(OPEN), new, Upgrade("map"))
    with pytest.raises(StateError, match="lack the column `y`"):
        upgraded(version(5), [row(0, "a", 1, y=3)], new, Upgrade("map"), keep=[])


def test_held_matches_go_over_or_finish():
    greedy = begin("a", col.x == 1).one_or_more().followed_by("b", col.x == 2).within("1h").by("k")
    old = greedy.skip(fyke.skip.past_last_event())
    engine = upgraded(old, [row(0, "p", 1), row(1, "p", 1)], greedy.skip(fyke.skip.to_next()), Upgrade("map"))
    assert ids(more(engine, [row(2, "p", 2)]))
    engine.check()


def test_python_functions_of_the_old_version_are_not_imported_but_given():
    old = begin("low", is_low).followed_by("high", col.x > 5).within("1m").by("k")
    with pytest.raises(StateError, match="give Upgrade"):
        upgraded(old, OPEN, version(8), Upgrade("map"))
    engine = upgraded(old, OPEN, version(8), Upgrade("map", old=old))
    assert engine.moved.mapped == 2
    with pytest.raises(StateError, match="other patterns"):
        upgraded(old, OPEN, version(8), Upgrade("map", old=version(7)))


def is_low(row):
    return row["x"] < 2


def test_without_rows_there_is_only_the_watermark():
    engine = Engine(version(), **OPTIONS)
    engine.advance(5_000_000_000)
    new = Engine.restore(engine.snapshot(), version(8), upgrade=Upgrade("map"), **OPTIONS)
    assert new.watermark == 5_000_000_000
    assert len(new.push([row(1, "a", 1)]).late) == 1


def test_words_that_are_no_policy_are_refused():
    with pytest.raises(DefinitionError, match="open='keep': expected map, finish, drop"):
        Upgrade("keep")
    with pytest.raises(DefinitionError, match='are of open="map"'):
        Upgrade("drop", rest="drop")
