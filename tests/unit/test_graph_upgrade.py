"""Streams that change while they hold something: boxes that are still there go on, others are new, or gone if told."""

import pytest

import fyke
from fyke import Engine, Process, StateError, Upgrade, ValueState, agg, begin, col, stream, tumbling

ROWS = stream("rows", time="ts", unit="s")
KEYED = ROWS.key_by("k")
SPREE = begin("low", col.x < 2).followed_by("high", col.x > 5).within("1h").by("k").named("spree")


class Counting(Process):
    """Counts rows by key."""

    n = ValueState(int)

    def on_row(self, row, ctx):
        n = (self.n.get() or 0) + 1
        self.n.set(n)
        ctx.emit({"k": row["k"], "n": n})


def counted(rows=ROWS, title="sums"):
    return rows.key_by("k").window(tumbling("1m")).aggregate(n=agg.count()).named(title)


def row(ts, k="a", x=1):
    return {"ts": ts, "k": k, "x": x}


def moved(old, rows, new, upgrade):
    engine = Engine(old)
    engine.push(rows)
    return Engine.restore(engine.snapshot(), new, upgrade=upgrade)


def test_without_a_policy_the_error_names_the_boxes_that_changed():
    engine = Engine({"sums": counted(), "spree": ROWS.match(SPREE).named("spree")})
    other = {"more": counted(title="more"), "spree": ROWS.filter(col.x > 1).named("spree")}
    with pytest.raises(StateError) as caught:
        Engine.restore(engine.snapshot(), other)
    text = str(caught.value)
    assert text.startswith("the snapshot is of other streams than these\n")
    assert "- sums: " in text
    assert "+ more: " in text
    assert "~ spree: " in text


def test_boxes_that_did_not_change_go_on_beside_new_ones():
    new = {"sums": counted(), "again": ROWS.filter(col.x > 5).select("x").named("again")}
    engine = moved({"sums": counted()}, [row(0), row(1)], new, Upgrade("map"))
    assert (engine.moved.kept, set(engine.moved.new), engine.moved.dropped) == (("sums",), {"again", "filter_1"}, ())
    found = engine.push([row(2, x=9), row(70)])
    assert [r["n"] for r in found["sums"]] == [3]
    assert [r["x"] for r in found["again"]] == [9]


def test_a_window_goes_on_behind_a_filter_that_is_new():
    engine = moved(counted(), [row(0), row(1)], counted(ROWS.filter(col.x < 5)), Upgrade("map"))
    assert [r["n"] for r in engine.push([row(2), row(3, x=7), row(70)])] == [3]


def test_numbered_names_that_moved_are_told_apart_by_what_they_do():
    def numbered(width):
        return KEYED.window(tumbling(width)).aggregate(n=agg.count())

    engine = moved(numbered("1m"), [row(0), row(1)], {"a": numbered("5m"), "b": numbered("1m")}, Upgrade("map"))
    found = engine.push([row(2), row(70)])
    assert [r["n"] for r in found["b"]] == [3]
    assert engine.moved.new == ("window_1",)


def test_patterns_that_changed_are_mapped():
    stricter = begin("low", col.x < 2).followed_by("high", col.x > 8).within("1h").by("k").named("spree")
    rows = [row(0), row(1, "b"), row(2, "z", 4)]
    engine = moved(ROWS.match(SPREE).named("m"), rows, ROWS.match(stricter).named("m"), Upgrade("map"))
    assert engine.moved.mapped == ("m",)
    found = engine.push([row(3, "a", 6), row(4, "b", 9), row(5, "z", 4)])
    assert [(r["k"], r["high"]["x"]) for r in found] == [("b", 9)]


def test_patterns_without_a_place_are_an_error_or_dropped():
    other = begin("low", col.x < 2).next("high", col.x > 8).within("1h").by("k").named("spree")
    rows = [row(0), row(2, "z", 4)]
    with pytest.raises(StateError, match="no place in the new patterns"):
        moved(ROWS.match(SPREE).named("m"), rows, ROWS.match(other).named("m"), Upgrade("map"))
    engine = moved(ROWS.match(SPREE).named("m"), rows, ROWS.match(other).named("m"), Upgrade("map", rest="drop"))
    assert len(engine.push([row(3, "a", 9), row(4, "z", 4)])) == 0


def test_what_has_no_place_is_an_error_that_names_the_box_or_is_dropped():
    new = KEYED.window(tumbling("5m")).aggregate(n=agg.count()).named("sums")
    with pytest.raises(StateError, match=r'sums: what is held has no place(.|\n)*~ sums: '):
        moved(counted(), [row(0), row(1)], new, Upgrade("map"))
    for policy in (Upgrade("map", rest="drop"), Upgrade("drop")):
        engine = moved(counted(), [row(0), row(1)], new, policy)
        assert engine.moved.dropped == ("sums",)
        assert [r["n"] for r in engine.push([row(2), row(301)])] == [1]


def test_the_state_of_a_process_goes_on():
    old = KEYED.process(Counting).named("counts")
    new = {"counts": old, "sums": counted()}
    engine = moved(old, [row(0), row(1), row(2)], new, Upgrade("map"))
    assert [r["n"] for r in engine.push([row(3), row(4)])["counts"]][-1] == 4


def test_a_source_that_is_new_begins_and_one_that_is_there_goes_on():
    other = stream("other", time="ts", unit="s")
    engine = moved(counted(), [row(0), row(50)], {"sums": counted(), "x": other.select("x").named("x")}, Upgrade("map"))
    assert engine.statistics().inputs["rows"].rows == 2
    assert len(engine.push([{"ts": 1, "x": 5}], to="other")["x"]) == 1
    assert [r["n"] for r in engine.push([row(70)], to="rows")["sums"]] == [2]


def test_finishing_is_of_patterns_alone():
    with pytest.raises(StateError, match="is of patterns alone"):
        moved(counted(), [row(0)], counted(ROWS.filter(col.x > 1)), Upgrade("finish"))


def test_the_graph_that_was_upgraded_is_restored_as_any():
    engine = moved(counted(), [row(0), row(1)], counted(ROWS.filter(col.x < 5)), Upgrade("map"))
    again = Engine.restore(engine.snapshot(), counted(ROWS.filter(col.x < 5)))
    assert again.moved is None
    assert [r["n"] for r in again.push([row(2), row(70)])] == [3]


def test_patterns_and_streams_are_told_apart():
    patterns = Engine(SPREE, time="ts", unit="s")
    with pytest.raises(StateError, match="not one of streams"):
        Engine.restore(patterns.snapshot(), counted(), upgrade=Upgrade("map"))
    assert fyke.Upgrade is Upgrade
