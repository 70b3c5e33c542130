"""Windows as boxes of a graph: every kind runs in an engine, and what they give is a stream again."""

import pytest

import fyke
from fyke import agg, begin, col, count_window, global_window, hopping, session, sliding, stream, trigger, tumbling

ROWS = [{"ts": t, "k": "ab"[t % 2], "v": float(t)} for t in (1, 5, 3, 12, 11, 30, 28)]
SOURCE = stream("s", time="ts", unit="s", out_of_order="30s")


def results(streamed, *rows):
    engine = fyke.Engine(streamed)
    pushed = [row for each in rows for row in engine.push(each)]
    return [*pushed, *engine.flush()]


@pytest.mark.parametrize(
    ("window", "options", "expected"),
    [
        (tumbling("10s"), {}, [("a", 12.0), ("a", 28.0), ("a", 30.0), ("b", 9.0), ("b", 11.0)]),
        (session("3s"), {}, [("a", 12.0), ("a", 58.0), ("b", 9.0), ("b", 11.0)]),
        (count_window(3), {}, [("a", 70.0), ("b", 9.0)]),
        (count_window(3), {"emit_rest": True}, [("a", 70.0), ("b", 9.0), ("b", 11.0)]),
        (global_window(), {"trigger": trigger.end_of_stream()}, [("a", 70.0), ("b", 20.0)]),
    ],
)
def test_each_window_gives_its_sums(window, options, expected):
    sums = SOURCE.key_by("k").window(window, **options).aggregate(total=agg.sum("v"))
    assert sorted((row["k"], row["total"]) for row in results(sums, ROWS)) == expected


def test_a_hopping_window_is_in_every_hop_and_a_sliding_one_at_every_row():
    hops = results(SOURCE.window(hopping("10s", "5s")).aggregate(n=agg.count()), ROWS)
    assert sum(row["n"] for row in hops) == 2 * len(ROWS)
    slides = results(SOURCE.key_by("k").window(sliding("10s")).aggregate(most=agg.max("v")), ROWS)
    assert [row["most"] for row in slides] == [1.0, 3.0, 5.0, 11.0, 12.0, 28.0, 30.0]


def test_a_pattern_reads_the_results_of_windows():
    """Three minutes, each with more than the one before."""
    minutes = stream("s", time="ts", unit="s").key_by("k").window(tumbling("1m")).aggregate(n=agg.count())
    rising = begin("low").next("mid", col.n > fyke.prev.n).next("high", col.n > fyke.prev.n).within("1h").by("k")
    rows = [{"ts": 60 * minute + i, "k": "a"} for minute, n in enumerate([2, 1, 2, 4, 3]) for i in range(n)]
    found = results(minutes.match(rising), rows)
    assert [(row["low"]["n"], row["mid"]["n"], row["high"]["n"]) for row in found] == [(1, 2, 4)]


def test_matches_are_counted_by_the_hour():
    spikes = stream("s", time="ts", unit="s").match(begin("high", col.v > 10).within("1s"))
    hourly = spikes.window(tumbling("1h")).aggregate(n=agg.count())
    rows = [{"ts": t, "v": v} for t, v in [(0, 20.0), (60, 5.0), (3599, 11.0), (3600, 30.0), (9000, 1.0)]]
    assert [(row["window_start"].hour, row["n"]) for row in results(hourly, rows)] == [(0, 2), (1, 1)]
