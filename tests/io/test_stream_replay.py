"""Logs through streams: several are merged by the time that each has reached, whatever the size of batches."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fyke
from fyke import DefinitionError, SchemaError, StreamReplay, join, stream
from fyke.io import Batch, Idle, Watermark
from fyke.io.collect import ListSink

A, B = (stream(name, time="t", unit="ns") for name in "ab")
LEFT = pa.table({"t": [1, 5, 3, 9, 9, 20], "k": [1, 2, 1, 2, 1, 1]})
RIGHT = pa.table({"t": [2, 5, 9, 8, 30], "k": [1, 2, 1, 2, 2]})


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_logs_are_merged_by_the_time_they_have_reached(size):
    both = A.with_columns(s="a").union(B.with_columns(s="b"))
    joined = A.key_by("k").join(B.key_by("k"), join.interval("-3ns", "3ns"), how="outer")
    streams = {"both": both, "joined": joined}
    found = StreamReplay({"a": LEFT, "b": RIGHT}, streams, batch_size=size).collect()
    order = [(row["s"], row["t"]) for row in found["both"]]
    assert order[:7] == [("a", 1), ("b", 2), ("a", 5), ("a", 3), ("b", 5), ("a", 9), ("a", 9)]
    assert order[7:] == [("b", 9), ("b", 8), ("a", 20), ("b", 30)]
    whole = StreamReplay({"a": LEFT, "b": RIGHT}, streams).collect()
    assert list(found["joined"]) == list(whole["joined"])


def test_one_log_gives_what_its_engine_gives():
    assert [row["t"] for row in StreamReplay(LEFT, A.filter(fyke.col.k == 2))] == [5, 9]
    assert [row["t"] for row in fyke.replay(LEFT, A.filter(fyke.col.k == 2), batch_size=2)] == [5, 9]


def test_each_source_has_a_log():
    with pytest.raises(DefinitionError, match="take rows from a, b"):
        StreamReplay({"a": LEFT}, A.union(B))


# --- what sources tell of time


class Told:
    """A source of items as they are given."""

    def __init__(self, *items):
        self.items = items
        self.name = "told"

    def __iter__(self):
        first = 0
        for item in self.items:
            if isinstance(item, list):
                yield Batch(pa.RecordBatch.from_pylist(item), first)
                first += len(item)
            else:
                yield item

    def fraction_read(self):
        return None

    def close(self):
        pass


def rows(*times):
    return [{"t": t, "k": 1} for t in times]


SUMS = A.window(fyke.tumbling("10ns")).aggregate(n=fyke.agg.count())
BOTH = A.with_columns(s="a").union(B.with_columns(s="b")).window(fyke.tumbling("10ns")).aggregate(n=fyke.agg.count())


def steps(replay):
    """What came out before the end of the input, and all that did."""
    given = [[row["n"] for row in results.results] for results in replay.results()]
    before = [n for step in given[:-1] for n in step]
    return before, before + given[-1]


def test_a_watermark_that_a_source_tells_closes_windows():
    assert steps(StreamReplay(Told(rows(1, 2)), SUMS)) == ([], [2])
    assert steps(StreamReplay(Told(rows(1, 2), Watermark(9), rows(4, 12)), SUMS)) == ([2], [2, 1])
    late = StreamReplay(Told(rows(1, 2), Watermark(9), rows(4, 12)), SUMS).collect().late
    assert [row["t"] for row in late] == [4]


def test_a_watermark_before_the_first_row_holds():
    found = StreamReplay(Told(Watermark(5), rows(3, 8)), SUMS).collect()
    assert [row["n"] for row in found] == [2]  # the window of both ends at 10
    assert [row["t"] for row in StreamReplay(Told(Watermark(9), rows(3, 18)), SUMS).collect().late] == [3]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_watermark_comes_after_the_rows_of_its_source_whatever_the_batches_of_others(size):
    """Rows of b up to 2 come before it, so none of them is late; the window of a closes when b has passed it, too."""
    logs = {"a": Told(rows(1, 2), Watermark(9), rows(15)), "b": pa.table({"t": [1, 3, 12], "k": [1, 1, 1]})}
    found = StreamReplay(logs, BOTH, batch_size=size).collect()
    assert [row["n"] for row in found] == [4, 2]
    assert len(found.late) == 0


def test_an_idle_source_holds_nothing_up():
    """The first window closes with the row at 15, not only with the next row of the idle source."""

    def rows_read_at_the_first_result(*of_a):
        replay = StreamReplay({"a": Told(*of_a), "b": Told(rows(1, 2), rows(15), rows(16))}, BOTH)
        return next(replay.progress.rows for results in replay.results() if len(results))

    assert rows_read_at_the_first_result(rows(1), rows(40)) == 6
    assert rows_read_at_the_first_result(rows(1), Idle(), rows(40)) == 4


def test_sources_that_are_all_idle_are_asked_again():
    logs = {"a": Told(Idle(), rows(1), Idle(), Idle()), "b": Told(Idle(), Idle(), rows(2), Idle())}
    assert [row["n"] for row in StreamReplay(logs, BOTH)] == [2]


# --- partitions

PARTED = pa.table({"t": [1, 25, 2, 26, 3, 27], "k": [1, 2, 1, 2, None, 2]})


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_partition_has_watermarks_of_its_own(size):
    whole = StreamReplay(PARTED, SUMS).collect()
    assert len(whole.late) == 2
    replay = fyke.replay(PARTED, SUMS, partition="k", batch_size=size)
    found = replay.collect()
    assert sorted(row["n"] for row in found) == [1, 2, 3]
    assert len(found.late) == 0
    assert (replay.progress.partitions, replay.statistics().rows, replay.progress.results) == (3, 6, {"results": 3})


def test_rows_of_several_logs_meet_within_a_partition():
    logs = {"a": PARTED, "b": pa.table({"k": [2, 1], "t": [1, 3]})}
    joined = A.key_by("k").join(B.key_by("k"), join.interval("-1ns", "3ns"))
    found = StreamReplay(logs, joined, partition="k").collect()
    assert sorted((row["t"], row["t_right"]) for row in found) == [(1, 3), (2, 3)]
    assert len(found.late) == 0


def test_a_watermark_holds_for_partitions_that_appear_later():
    told = Told(rows(1), Watermark(19), [{"t": 5, "k": 2}, {"t": 21, "k": 2}])
    assert [row["t"] for row in StreamReplay(told, SUMS, partition="k").collect().late] == [5]


def test_a_partition_column_that_is_not_there_is_named():
    with pytest.raises(SchemaError, match="partition column `kk` is not in a; did you mean `k`?"):
        StreamReplay(PARTED, SUMS, partition="kk").collect()


# --- what becomes of results


def test_results_go_to_sinks_and_files_and_functions(tmp_path):
    kept, seen = ListSink(), []
    streams = {"ones": A.filter(fyke.col.k == 1), "twos": A.filter(fyke.col.k == 2), "sums": SUMS}
    path = tmp_path / "twos.parquet"
    told = fyke.replay(PARTED, streams).run({"ones": kept, "twos": path, "sums": seen.append, "late": ListSink()})
    assert [row["t"] for row in kept.rows] == [1, 2]
    assert pq.read_table(path)["t"].to_pylist() == [25, 26, 27]
    assert [row["n"] for row in seen] == [1, 3]
    assert (told.rows, told.late) == (6, 2)


def test_a_file_without_rows_has_its_columns(tmp_path):
    path = tmp_path / "none.parquet"
    fyke.replay(PARTED, A.filter(fyke.col.k == 7)).run(path)
    assert pq.read_schema(path).names == ["t", "k"]
    assert fyke.replay(PARTED, A.filter(fyke.col.k == 7)).to_arrow().schema.names == ["t", "k"]


def test_progress_says_how_far_it_is(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("t,k\n" + "".join(f"{t},1\n" for t in range(100)))
    replay = fyke.replay(path, SUMS, batch_size=10)
    seen = [(replay.progress.rows, replay.progress.results["results"]) for _ in replay.results()]
    assert seen[-1] == (100, 10)
    assert seen == sorted(seen)
    assert replay.progress.fraction == 1.0
    assert replay.progress.watermark > 10**18
    assert fyke.replay(PARTED, SUMS).progress.rows == 0


def test_the_types_of_the_stream_hold_for_text(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("t,card\n1,0042\n")
    schema = pa.schema({"t": pa.int64(), "card": pa.string()})
    given = stream("cards", time="t", unit="s", schema=schema)
    assert list(fyke.replay(path, given)) == [{"t": 1, "card": "0042"}]


@pytest.mark.parametrize(
    ("write", "quoted"),
    [
        (lambda: fyke.replay(LEFT, SUMS, batchsize=5), "replay: there is no batchsize=; did you mean batch_size=?"),
        (lambda: fyke.replay(LEFT, SUMS, time="t"), "replay: time= is said where the streams are written"),
        (lambda: fyke.replay(LEFT, SUMS, batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: fyke.replay(LEFT, BOTH), "the streams take rows from a, b: give a log for each by name"),
        (lambda: fyke.replay({"a": LEFT, "c": LEFT}, BOTH), "take rows from a, b; logs are a, c"),
        (lambda: fyke.replay(LEFT, SUMS).run({"lates": print}), 'there is no output "lates"; there are results, late'),
        (lambda: fyke.replay(LEFT, {"x": SUMS, "y": A}).run(print), "several outputs, x, y: give a sink for each"),
        (lambda: fyke.replay(LEFT, SUMS).run(5), "5 is neither a sink nor a path nor a function"),
        (lambda: fyke.replay(LEFT, fyke.begin("a"), time="t", max_partial=1), "did you mean max_partials=?"),
        (lambda: fyke.replay(LEFT, fyke.begin("a")), "patterns need time="),
        (lambda: fyke.replay(LEFT, 5, time="t"), "expected a Pattern"),
    ],
)
def test_a_wrong_option_is_told(write, quoted):
    with pytest.raises(DefinitionError) as error:
        write()
    assert quoted in str(error.value)


@pytest.mark.parametrize("kind", ["table", "parquet"])
def test_a_log_without_rows_has_columns_still(tmp_path, kind):
    none = pa.table({"t": pa.array([], pa.int64()), "k": pa.array([], pa.int64())})
    pq.write_table(none, tmp_path / "none.parquet")
    joined = A.key_by("k").join(B.key_by("k"), join.interval(0, "3ns"), how="left")
    logs = {"a": LEFT, "b": none if kind == "table" else tmp_path / "none.parquet"}
    assert [(row["t"], row["t_right"]) for row in StreamReplay(logs, joined)][:2] == [(1, None), (5, None)]
