"""Sinks: what is written can be read back, in every format, and nesting and times come out readable."""

import contextlib
import datetime
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fyke.errors import DataError
from fyke.io import Sink
from fyke.io.collect import MemorySink
from fyke.io.files import open_log
from fyke.io.rows import to_rows
from fyke.io.sinks import open_sink

UTC = datetime.UTC
MATCHES = pa.table(
    {
        "key": ["ž", "b"],
        "start": pa.array([0, 1_500_000_000_123_456_789], pa.timestamp("ns", "UTC")),
        "probe": [{"amount": 0.5, "blob": b"ok"}, {"amount": None, "blob": b"\xff"}],
        "spree": [[{"amount": 1}, {"amount": 2}], None],
    }
)


@pytest.mark.parametrize(
    "name", ["m.jsonl", "m.csv", "m.tsv", "m.parquet", "m.jsonl.gz", "m.csv.zst", "m.jsonl.xz", "m.csv.bz2"]
)
def test_what_is_written_in_parts_is_read_back_whole(tmp_path, name):
    flat = pa.table({"key": ["a", "b", "c"], "n": [1, 2, 3], "x": [0.5, None, -1.0]})
    sink = open_sink(tmp_path / name)
    assert isinstance(sink, Sink)
    for start in range(3):
        sink.write(flat.slice(start, 1))
    sink.close()
    found = [row for batch in open_log(tmp_path / name) for row in batch.rows.to_pylist()]
    assert found == flat.to_pylist()


def test_jsonl_writes_nested_values_times_and_bytes_as_text(tmp_path):
    sink = open_sink(tmp_path / "m.jsonl")
    sink.write(MATCHES)
    sink.close()
    assert [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()] == [
        {
            "key": "ž",
            "start": "1970-01-01T00:00:00.000000000Z",
            "probe": {"amount": 0.5, "blob": "ok"},
            "spree": [{"amount": 1}, {"amount": 2}],
        },
        {
            "key": "b",
            "start": "2017-07-14T02:40:00.123456789Z",
            "probe": {"amount": None, "blob": "ff"},
            "spree": None,
        },
    ]


def test_jsonl_of_a_slice_of_nested_rows_is_that_slice(tmp_path):
    sink = open_sink(tmp_path / "m.jsonl")
    sink.write(MATCHES.slice(1, 1))
    sink.close()
    (row,) = (json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines())
    assert (row["key"], row["probe"], row["spree"]) == ("b", {"amount": None, "blob": "ff"}, None)


def test_csv_flattens_structs_and_writes_lists_as_json(tmp_path):
    sink = open_sink(tmp_path / "m.csv")
    sink.write(MATCHES)
    sink.close()
    header, first, second = (tmp_path / "m.csv").read_text().splitlines()
    assert header == '"key","start","probe.amount","probe.blob","spree"'
    assert first == '"ž","1970-01-01T00:00:00.000000000Z",0.5,"ok","[{""amount"":1},{""amount"":2}]"'
    assert second == '"b","2017-07-14T02:40:00.123456789Z",,"ff",'


def test_parquet_keeps_types_and_refuses_a_change_it_cannot_hold(tmp_path):
    sink = open_sink(tmp_path / "m.parquet")
    sink.write(MATCHES)
    sink.write(MATCHES.slice(0, 0))
    with pytest.raises(DataError, match="a file cannot get another column .`other`. once it is begun; write .jsonl"):
        sink.write(pa.table({"other": [1]}))
    with pytest.raises(DataError, match="column `start` began as timestamp.* and cannot take list"):
        sink.write(pa.table({"start": [[1]]}))
    sink.close()
    assert pq.read_table(tmp_path / "m.parquet").equals(MATCHES)


def test_no_rows_make_a_file_that_is_valid_and_empty(tmp_path):
    for name in ("m.jsonl", "m.csv", "m.parquet"):
        sink = open_sink(tmp_path / name)
        sink.write(MATCHES.slice(0, 0))
        sink.close()
        assert list(open_log(tmp_path / name)) == []
    assert pq.read_schema(tmp_path / "m.parquet").names == MATCHES.column_names


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_column_that_is_missing_later_is_null_and_one_that_is_new_is_an_error(tmp_path, name):
    sink = open_sink(tmp_path / name)
    sink.write(pa.table({"other": pa.array([], pa.int64())}))
    sink.write(pa.table({"a": [1], "b": [{"c": 1.5}]}))
    sink.write(pa.table({"a": [2]}))
    with pytest.raises(DataError, match="a file cannot get another column .`d`."):
        sink.write(pa.table({"a": [3], "d": [1]}))
    sink.close()
    rows = [row for batch in open_log(tmp_path / name) for row in batch.rows.to_pylist()]
    assert [row["a"] for row in rows] == [1, 2]
    assert rows[1].get("b", rows[1].get("b.c")) is None


def test_a_name_without_a_format_is_an_error():
    with pytest.raises(DataError, match="does not say a format"):
        open_sink("matches.txt")


def test_gzip_output_is_gzip(tmp_path):
    sink = open_sink(tmp_path / "m.jsonl.gz")
    sink.write(pa.table({"a": [1]}))
    sink.close()
    assert gzip.decompress((tmp_path / "m.jsonl.gz").read_bytes()) == b'{"a":1}\n'


@pytest.mark.parametrize(
    "name", ["m.jsonl", "m.csv", "m.jsonl.gz", "m.csv.bz2", "m.jsonl.xz", "m.jsonl.zst", "m.parquet"]
)
def test_a_full_disk_is_an_error_that_names_the_file_and_the_sink_can_be_closed(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/full")
    sink = open_sink(tmp_path / name)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_and_close(sink, pa.table({"a": [str(n) for n in range(100_000)]}))
    assert error.value.filename == str(tmp_path / name)
    with contextlib.suppress(OSError):  # what is still in buffers cannot be written either
        sink.close()
    sink.close()


def write_and_close(sink, table):
    sink.write(table)
    sink.flush()
    sink.close()


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_what_was_flushed_can_be_read_before_the_sink_is_closed(tmp_path, name):
    sink = open_sink(tmp_path / name)
    sink.write(pa.table({"a": [1]}))
    sink.flush()
    assert [row for batch in open_log(tmp_path / name) for row in batch.rows.to_pylist()] == [{"a": 1}]
    sink.close()


def test_python_rows_have_datetimes_rounded_down_to_microseconds_at_any_depth():
    ns = pa.timestamp("ns", "UTC")
    table = pa.table(
        {
            "at": pa.array([1_999, -1, None], ns),
            "took": pa.array([1_999, -1, None], pa.duration("ns")),
            "clock": pa.array([1_999, 0, None], pa.time64("ns")),
            "within": pa.array([[{"at": 1_999}], [], None], pa.list_(pa.struct([("at", ns)]))),
        }
    )
    one, before = datetime.timedelta(microseconds=1), datetime.timedelta(microseconds=-1)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=UTC)
    assert list(to_rows(table)) == [
        {"at": epoch + one, "took": one, "clock": datetime.time(0, 0, 0, 1), "within": [{"at": epoch + one}]},
        {"at": epoch + before, "took": before, "clock": datetime.time(0), "within": []},
        {"at": None, "took": None, "clock": None, "within": None},
    ]
    assert type(next(to_rows(table))["at"]) is datetime.datetime


def test_memory_by_id_gives_arrays_and_stays_small_under_many_updates():
    sink = MemorySink(id=["key"])
    for n in range(50):
        sink.write(pa.table({"key": ["a", "b"] * 5_000, "n": range(n, n + 10_000)}))
        assert sum(table.num_rows for table in sink._tables) < 2 * 65_536
    arrays = sink.to_numpy()
    assert arrays["key"].tolist() == ["a", "b"]
    assert arrays["n"].dtype == "int64"
    assert arrays["n"].tolist() == [49 + 9_998, 49 + 9_999]
    assert len(sink) == 2


def test_an_id_that_is_not_there_is_an_error_that_lists_the_columns():
    with pytest.raises(DataError, match="memory: no column `kee`; the columns are key, n"):
        MemorySink(id=["kee"]).write(pa.table({"key": [1], "n": [1]}))
    with pytest.raises(DataError, match="column `key` is list<.*>, which cannot identify a row"):
        MemorySink(id=["key"]).write(pa.table({"key": [[1]]}))
    with pytest.raises(DataError, match="results of other types than before"):
        list(written(MemorySink(), pa.table({"key": [1]}), pa.table({"key": ["x"]})))


def written(sink, *tables):
    for table in tables:
        sink.write(table)
    return sink
