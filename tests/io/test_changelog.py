"""Changelogs: whoever applies the changes holds exactly the last revisions; no more is remembered than is needed."""

import random
from collections import Counter

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from fyke.errors import DataError, StateError
from fyke.io.changelog import ChangelogSink, TableChangelog, WindowChangelog
from fyke.io.collect import ListSink
from fyke.io.rowstore import RowStore

TIME = pa.timestamp("ns", "UTC")
RESULT = pa.schema(
    {
        "card": pa.string(),
        "window_start": TIME,
        "window_end": TIME,
        "revision": pa.int64(),
        "final": pa.bool_(),
        "n": pa.int64(),
        "last": pa.list_(TIME),
    }
)


def results(*rows):
    """Rows (card, start, end, revision, final, n) as a table of results."""
    dicts = [dict(zip(RESULT.names, (*row, [row[5]]), strict=True)) for row in rows]
    return pa.Table.from_pylist(dicts, schema=RESULT)


def said(table):
    """Changes in short: (change, card, start, end, n)."""
    columns = [table["change"], table["card"], ns(table["window_start"]), ns(table["window_end"]), table["n"]]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def ns(column):
    return column.cast(pa.int64())


def rows_in(table):
    """The rows of a table as values that can be counted; times as integers, whatever lies deeper as text."""
    def values(column):
        if pa.types.is_nested(column.type):
            return [str(value) for value in column]
        return (ns(column) if pa.types.is_timestamp(column.type) else column).to_pylist()

    return list(zip(*map(values, table.columns), strict=True))


def apply(held, changes):
    """Do to a multiset of rows what the changes say; a row that is taken back must be there, as it was said."""
    previous = None
    for label, *row in rows_in(changes):
        row = tuple(row)
        assert (previous == "-U") == (label == "+U"), "an update is two rows, one after the other"
        if label in ("+I", "+U"):
            held[row] += 1
        else:
            assert held[row] > 0, f"{label} {row}: never said"
            held[row] -= 1
        previous = label
    assert previous != "-U"


class TestWindows:
    def test_a_refired_window_takes_back_its_revision_before(self):
        log = WindowChangelog(["card"])
        assert said(log.push(results(("a", 0, 60, 0, False, 2)))) == [("+I", "a", 0, 60, 2)]
        assert said(log.push(results(("a", 0, 60, 1, False, 3)))) == [("-U", "a", 0, 60, 2), ("+U", "a", 0, 60, 3)]
        assert said(log.push(results(("a", 0, 60, 2, True, 3)))) == [("-U", "a", 0, 60, 3), ("+U", "a", 0, 60, 3)]
        assert len(log) == 0

    def test_a_revision_is_taken_back_as_it_was_said_all_columns_of_it(self):
        log = WindowChangelog(["card"])
        first = results(("a", 1, 61, 0, False, 2))
        log.push(first)
        changes = log.push(results(("a", 1, 61, 1, False, 3)))
        assert changes.column_names == ["change", *first.column_names]
        assert changes.slice(0, 1).drop_columns("change").equals(first)

    def test_other_keys_and_other_windows_are_left_alone(self):
        log = WindowChangelog(["card"])
        rows = [("a", 0, 60, 0, False, 1), ("b", 0, 60, 0, False, 2), ("a", 30, 90, 0, False, 3)]
        assert [change for change, *_ in said(log.push(results(*rows)))] == ["+I", "+I", "+I"]
        assert len(log) == 3

    def test_a_final_result_is_said_once_and_forgotten(self):
        log = WindowChangelog(["card"])
        assert said(log.push(results(("a", 0, 60, 0, True, 1), ("a", 0, 60, 1, True, 2)))) == [
            ("+I", "a", 0, 60, 1),
            ("+I", "a", 0, 60, 2),  # as a trigger that purges gives them: results that add up
        ]
        assert len(log) == 0

    def test_a_result_that_was_said_before_changes_nothing_and_is_counted(self):
        log = WindowChangelog(["card"])
        log.push(results(("a", 0, 60, 0, False, 1), ("a", 0, 60, 1, False, 2)))
        assert said(log.push(results(("a", 0, 60, 0, False, 1), ("a", 0, 60, 1, False, 2)))) == []
        assert log.n_repeated == 2
        assert said(log.push(results(("a", 0, 60, 1, True, 2)))) == [("-U", "a", 0, 60, 2), ("+U", "a", 0, 60, 2)]

    def test_windows_without_bounds_are_one_per_key(self):
        log = WindowChangelog(["card"])
        rows = results(("a", None, None, 0, False, 1), ("a", None, None, 1, False, 2), ("b", None, None, 0, False, 7))
        assert [(change, n) for change, *_, n in said(log.push(rows))] == [("+I", 1), ("-U", 1), ("+U", 2), ("+I", 7)]

    def test_windows_of_the_whole_stream_have_no_key(self):
        log = WindowChangelog([])
        assert len(log.push(results(("a", 0, 60, 0, False, 1), ("b", 0, 60, 1, False, 2)))) == 3

    def test_a_null_is_a_key_like_any_other(self):
        log = WindowChangelog(["card"])
        log.push(results((None, 0, 60, 0, False, 1)))
        assert [change for change, *_ in said(log.push(results((None, 0, 60, 1, False, 2))))] == ["-U", "+U"]

    def test_what_will_not_be_fired_again_can_be_forgotten(self):
        log = WindowChangelog(["card"])
        log.push(results(("a", 0, 60, 0, False, 1), ("a", 60, 120, 0, False, 2), ("b", None, None, 0, False, 3)))
        log.advance(60)
        assert len(log) == 2
        assert [change for change, *_ in said(log.push(results(("a", 60, 120, 1, False, 5))))] == ["-U", "+U"]


class TestSessions:
    def test_a_session_that_grew_replaces_what_it_was(self):
        log = WindowChangelog(["card"], sessions=True)
        log.push(results(("a", 0, 10, 0, False, 1)))
        assert said(log.push(results(("a", 0, 15, 0, False, 2)))) == [("-D", "a", 0, 10, 1), ("+I", "a", 0, 15, 2)]
        assert said(log.push(results(("a", 0, 15, 1, False, 3)))) == [("-U", "a", 0, 15, 2), ("+U", "a", 0, 15, 3)]
        assert len(log) == 1

    def test_sessions_that_merged_are_all_taken_back(self):
        log = WindowChangelog(["card"], sessions=True)
        log.push(results(("a", 20, 30, 0, False, 2), ("a", 0, 10, 0, False, 1), ("a", 40, 50, 0, False, 4)))
        log.push(results(("b", 0, 50, 0, False, 9)))
        assert said(log.push(results(("a", 0, 30, 0, True, 3)))) == [
            ("-D", "a", 0, 10, 1),
            ("-D", "a", 20, 30, 2),
            ("+I", "a", 0, 30, 3),
        ]
        assert len(log) == 2

    def test_sessions_that_only_touch_are_two(self):
        log = WindowChangelog(["card"], sessions=True)
        changes = log.push(results(("a", 10, 20, 0, False, 1), ("a", 0, 10, 0, False, 2), ("a", 20, 30, 0, False, 3)))
        assert [change for change, *_ in said(changes)] == ["+I", "+I", "+I"]

    def test_a_session_after_a_final_one_takes_nothing_back(self):
        log = WindowChangelog(["card"], sessions=True)
        log.push(results(("a", 0, 10, 0, True, 1)))
        assert said(log.push(results(("a", 0, 20, 0, False, 2)))) == [("+I", "a", 0, 20, 2)]

    def test_a_session_without_bounds_is_an_error(self):
        with pytest.raises(DataError, match="column `window_start` is null in row 0"):
            WindowChangelog(["card"], sessions=True).push(results(("a", None, None, 0, False, 1)))


class TestTables:
    def table(self, *rows):
        return pa.table({"card": [card for card, _ in rows], "limit": pa.array([n for _, n in rows], pa.int64())})

    def test_the_first_row_of_a_key_is_new_and_the_later_ones_replace_it(self):
        log = TableChangelog(["card"])
        log.push(self.table(("a", 1), ("b", 2)))
        assert log.push(self.table(("a", 3), ("c", 4), ("a", None))).to_pylist() == [
            {"change": "-U", "card": "a", "limit": 1},
            {"change": "+U", "card": "a", "limit": 3},
            {"change": "+I", "card": "c", "limit": 4},
            {"change": "-U", "card": "a", "limit": 3},
            {"change": "+U", "card": "a", "limit": None},
        ]
        assert len(log) == 3

    def test_a_row_without_values_deletes_its_key_where_that_was_asked_for(self):
        log = TableChangelog(["card"], null_deletes=True)
        log.push(self.table(("a", 1)))
        assert log.push(self.table(("a", None), ("a", None), ("a", 2))).to_pylist() == [
            {"change": "-D", "card": "a", "limit": 1},
            {"change": "+I", "card": "a", "limit": 2},
        ]

    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 9)), max_size=40),
        st.integers(1, 7),
        st.booleans(),
    )
    def test_applying_the_changes_gives_the_latest_rows(self, rows, size, null_deletes):
        log = TableChangelog(["card"], null_deletes=null_deletes)
        held, latest = Counter(), {}
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            apply(held, log.push(self.table(*part)))
            latest |= dict(part)
            if null_deletes:
                latest = {card: n for card, n in latest.items() if n is not None}
            assert +held == Counter(latest.items())
            assert len(log) == len(latest)


def cut(rng, rows):
    """The rows in tables of random sizes."""
    while rows:
        size = rng.randrange(1, 6)
        yield results(*rows[:size])
        rows = rows[size:]


def fired_windows(rng, n):
    """Results as overlapping windows give them, and what must be held when all were applied."""
    revisions, last, out = {}, {}, []
    while len(out) < n:
        start = rng.randrange(0, 300, 10)
        window = (rng.choice("abc"), start, start + 30)
        if revisions.get(window) == "gone":
            continue
        revision = revisions.get(window, -1) + 1
        final = rng.random() < 0.2
        out.append((*window, revision, final, rng.randrange(1_000)))
        last[window] = out[-1]
        revisions[window] = "gone" if final else revision
    return out, list(last.values())


def fired_sessions(rng, n):
    """Results as sessions with lateness give them: fired again and again, growing, merging, in the end final."""
    gap, open_, out, settled = 5, {card: [] for card in "abc"}, [], []
    while len(out) < n:
        card = rng.choice("abc")
        sessions = open_[card]
        if sessions and rng.random() < 0.15:  # the oldest is closed
            session = sessions.pop(0)
            out.append((card, session[0], session[1], session[2] + 1, True, session[3]))
            settled.append(out[-1])
            continue
        base = max((row[2] for row in settled if row[0] == card), default=0)
        time = base + rng.randrange(60)
        merged = [s for s in sessions if s[0] < time + gap and time < s[1]]
        bounds = (min([time] + [s[0] for s in merged]), max([time + gap] + [s[1] for s in merged]))
        count = 1 + sum(s[3] for s in merged)
        same = merged and (merged[0][0], merged[0][1]) == bounds
        revision = merged[0][2] + 1 if same else 0
        session = [*bounds, revision, count]
        open_[card] = sorted([s for s in sessions if s not in merged] + [session])
        out.append((card, *bounds, revision, False, count))
    still = [(card, *s[:3], False, s[3]) for card, sessions in open_.items() for s in sessions]
    return out, settled + still


@pytest.mark.parametrize("sessions", [False, True], ids=["hopping", "sessions"])
@pytest.mark.parametrize("seed", range(20))
def test_applying_the_changes_gives_the_last_revisions_also_after_restarts(sessions, seed):
    rng = random.Random(seed)
    rows, last = (fired_sessions if sessions else fired_windows)(rng, 150)
    log, held = WindowChangelog(["card"], sessions=sessions), Counter()
    for table in cut(rng, rows):
        apply(held, log.push(table))
        if rng.random() < 0.2:
            state = log.snapshot()
            log = WindowChangelog(["card"], sessions=sessions)
            log.restore(state)
            assert log.snapshot() == state
    assert +held == Counter(rows_in(results(*last)))
    assert len(log) == sum(not row[4] for row in last)
    assert log.n_repeated == 0


@pytest.mark.parametrize("sessions", [False, True], ids=["hopping", "sessions"])
def test_how_the_results_are_cut_changes_nothing(sessions):
    rows, _ = (fired_sessions if sessions else fired_windows)(random.Random(1), 200)
    whole = said(WindowChangelog(["card"], sessions=sessions).push(results(*rows)))
    log = WindowChangelog(["card"], sessions=sessions)
    assert [change for row in rows for change in said(log.push(results(row)))] == whole


def test_only_results_that_are_not_final_are_remembered():
    log = WindowChangelog(["card"])
    for n in range(300):
        fired = [(f"c{k}", 60 * n, 60 * n + 60, 0, False, k) for k in range(50)]
        closed = [(f"c{k}", 60 * n - 60, 60 * n, 1, True, k) for k in range(50)]
        log.push(results(*fired, *closed))
        assert len(log) == 50
        assert sum(len(chunk.numbers) for chunk in log._store._chunks) <= 2 * 50
        assert len(log._open) == 50


def test_a_sink_gets_the_changes_of_what_is_written():
    rows = []
    with ChangelogSink(ListSink(rows), WindowChangelog(["card"], column="op")) as sink:
        sink.write(results(("a", 0, 60, 0, False, 1)))
        sink.write(results())
        sink.write(results(("a", 0, 60, 1, True, 2)))
    assert [(row["op"], row["n"]) for row in rows] == [("+I", 1), ("-U", 1), ("+U", 2)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (results(("a", 0, 60, 0, True, 1)).drop_columns("final"), "no column `final`; the columns are card, window_"),
        (results(("a", 0, 60, 0, True, 1)).rename_columns({"n": "change"}), "the results have a column `change`; name"),
        (results(("a", 0, 60, None, True, 1)), "column `revision` is null in row 0"),
        (pa.table({"card": [[1]]}), "column `card` is list<.*>, which cannot identify a row"),
        (
            results(("a", 0, 60, 0, True, 1)).set_column(4, "final", [["yes"]]),
            "column `final` is string, which it cannot be",
        ),
        (results(("a", 0, 60, 0, True, 1)).set_column(5, "n", [["x"]]), "results of other types than before"),
    ],
)
def test_results_that_cannot_be_told_apart_are_an_error_and_nothing_is_taken(table, message):
    log = WindowChangelog(["card"])
    log.push(results(("a", 0, 60, 0, False, 1)))
    with pytest.raises(DataError, match=message):
        log.push(table)
    assert [change for change, *_ in said(log.push(results(("a", 0, 60, 1, False, 2))))] == ["-U", "+U"]


def test_a_snapshot_of_something_else_is_an_error():
    log = WindowChangelog(["card"])
    for state in (b"", b"x" * 100, TableChangelog(["card"]).snapshot(), WindowChangelog(["user"]).snapshot()):
        with pytest.raises(StateError, match="snapshot"):
            log.restore(state)
    log.restore(log.snapshot())


@given(st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 400), max_size=4)), max_size=40))
def test_a_row_store_gives_back_what_is_kept_and_holds_few_chunks(steps):
    store, kept, number = RowStore(), {}, 0
    for n, picks in steps:
        numbers = list(range(number, number + 2 * n, 2))
        store.add(numbers, pa.table({"a": [f"row {each}" for each in numbers]}))
        kept |= {each: f"row {each}" for each in numbers}
        number += 2 * n
        dropped = sorted({pick for pick in picks if pick in kept})
        store.drop(dropped)
        for each in dropped:
            del kept[each]
        wanted = sorted(kept, key=str)
        assert store.take(wanted).to_pylist() == [{"a": kept[each]} for each in wanted]
        assert store.numbers() == sorted(kept)
        assert len(store) == len(kept)
        assert len(store._chunks) <= 10
