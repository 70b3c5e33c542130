"""What fyke.testing gives to users: streams driven by hand, crashes included."""

import datetime as dt

import pyarrow as pa
import pytest

import fyke
from fyke import DefinitionError, StateError, agg, begin, col, stream, tumbling
from fyke.testing import Driver, feed

SCHEMA = pa.schema({"t": pa.int64(), "k": pa.string(), "v": pa.int64()})
A = stream("a", time="t", unit="ns", schema=SCHEMA)
B = stream("b", time="t", unit="ns", schema=SCHEMA)


def test_feed_gives_the_matches_of_all_rows():
    rise = begin("low", col.v < 3).next("high", col.v > 5).within("1m").by("k")
    rows = [{"ts": i, "k": "x", "v": v} for i, v in enumerate([1, 9, 2, 4, 1, 8])]
    assert [(m["low"]["ts"], m["high"]["ts"]) for m in feed(rise, rows)] == [(0, 1), (4, 5)]
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    rows = [{"at": day + dt.timedelta(seconds=i), "k": "x", "v": v} for i, v in enumerate([1, 9])]
    assert len(feed({"up": rise}, rows, time="at", unit=None, out_of_order="5s")) == 1


def test_a_driver_moves_time_by_hand():
    driver = Driver(A.window(tumbling("10ns")).aggregate(n=agg.count()))
    driver.send([{"t": 3, "k": "x", "v": 1}, {"t": 4, "k": "x", "v": 1}])
    driver.advance(8)
    assert driver.rows() == []
    driver.advance(9)
    assert [row["n"] for row in driver.new()] == [2]
    driver.send({"t": 5, "k": "y", "v": 1})
    assert driver.rows("late") == [{"t": 5, "k": "y", "v": 1}]
    assert driver.new() == []


def test_a_driver_has_inputs_outputs_and_idle_ones():
    driver = Driver({"both": A.union(B), "pairs": A.union(B).match(begin("one", col.v > 5).within("1s"))})
    driver.send([{"t": 3, "k": "x", "v": 9}, {"t": 9, "k": "x", "v": 1}], to="a")
    assert (len(driver.rows("both")), len(driver.rows("pairs"))) == (2, 0)
    driver.idle("b")
    assert len(driver.rows("pairs")) == 1
    with pytest.raises(DefinitionError, match="several outputs"):
        driver.rows()


class Total(fyke.Process):
    sum = fyke.ValueState(int)
    seen = fyke.ListState(int)
    by = fyke.MapState(int)

    def on_row(self, row, ctx):
        self.sum.set(self.sum.get(0) + row["v"])
        self.seen.append(row["v"])
        self.by[row["v"]] = row["t"]
        ctx.set_timer("end", at=100)

    def on_timer(self, name, ctx):
        return {"k": ctx.key, "sum": self.sum.get()}


@pytest.mark.parametrize("crash", range(5))
def test_killed_anywhere_it_goes_on(crash):
    driver = Driver({"totals": A.key_by("k").process(Total), "table": A.key_by("k").aggregate(n=agg.count())})
    for i, t in enumerate([1, 5, 3, 40]):
        driver.send({"t": t, "k": "xy"[i % 2], "v": i + 1})
        if i == crash:
            driver.kill_and_restore()
    assert driver.state("process_1", "x") == {"sum": 1, "seen": [1], "by": {1: 1}, "timers": {"end": 100}}
    assert driver.state("process_1", "z") == {"sum": None, "seen": [], "by": {}, "timers": {}}
    assert driver.table("table").get("x") == {"k": "x", "n": 2, "revision": 1}
    if crash == 4:
        driver.kill_and_restore()
    driver.end()
    assert driver.rows("totals") == [{"k": "x", "sum": 1}, {"k": "y", "sum": 6}]
    assert driver.rows("late") == [{"t": 3, "k": "x", "v": 3}]


def test_what_there_is_not_is_named():
    driver = Driver(A.key_by("k").process(Total))
    with pytest.raises(DefinitionError, match='there is no process "total"; there are process_1'):
        driver.state("total")
    with pytest.raises(fyke.DataError, match="the key has 1 parts"):
        driver.state("process_1", ("x", "y"))
    with pytest.raises(DefinitionError, match='there is no table "results"; the tables are none'):
        driver.table()
    with pytest.raises(StateError, match="lambda"):
        Driver(A.map(lambda row: row)).kill_and_restore()


def test_nothing_given_is_no_rows():
    assert Driver(A).rows() == []
    assert Driver(A).new("late") == []
