"""What every source and every sink does, whatever its transport. A new one is added to SOURCES or SINKS, and passes.

Sources: order kept, nothing lost, positions without a gap, errors with a place, closing, going on from a position.
Sinks: what is written can be read back, in order; empty tables; flushing; closing.
"""

import asyncio
import contextlib
import itertools
import json
import queue
import re
import sqlite3
import threading
from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fyke.errors import DataError
from fyke.io import Batch, Seekable, Sink, Source
from fyke.io.aio import AsyncQueueSink, AsyncQueueSource, BlockingSink, BlockingSource
from fyke.io.collect import CallSink, ListSink, MemorySink
from fyke.io.files import open_log
from fyke.io.live import IteratorSource
from fyke.io.memory import Memory
from fyke.io.queues import END, QueueSink, QueueSource
from fyke.io.sinks import open_sink

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
DOCUMENTED = {}
for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S):
    exec(block, DOCUMENTED)


def rows_of(n):
    """Rows with text from everywhere, nulls, and an integer that becomes a float late."""
    texts = ["a", "žß☃", "😀 \u200d", None, "line\nbreak", 'quo"te,comma']
    return [{"n": i, "text": texts[i % 6], "x": i if i < 0.8 * n else i + 0.5} for i in range(n)]


# ------------------------------------------------------------------------------------------------ how to make sources


@contextlib.contextmanager
def event_loop():
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def log(kind):
    def make(rows, folder, batch_size, stack):
        path = folder / f"log.{kind}"
        if kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif kind == "csv":
            names = ["n", "text", "x"]
            columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in ["text"]}
            columns |= {name: pa.array([str(row[name]) for row in rows], pa.string()) for name in ["n", "x"]}
            pa.csv.write_csv(pa.table({name: columns[name] for name in names}), path)
        else:
            schema = pa.schema([("n", pa.int64()), ("text", pa.string()), ("x", pa.float64())])
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=100)
        return open_log(path, batch_size=batch_size)

    return make


def memory(shape):
    def make(rows, folder, batch_size, stack):
        return Memory(shape(rows), batch_size=batch_size)

    return make


def filled(target, rows):
    for row in rows:
        target.put(row)
    target.put(END)
    return target


def queue_source(kind):
    def make(rows, folder, batch_size, stack):
        return QueueSource(filled(kind(), rows), batch_size=batch_size)

    return make


def iterator_source(rows, folder, batch_size, stack):
    return IteratorSource(iter(rows), batch_size=batch_size)


def asyncio_source(as_queue):
    def make(rows, folder, batch_size, stack):
        async def things():
            for row in rows:
                yield row

        async def fill():
            target = asyncio.Queue()
            for row in [*rows, END]:
                target.put_nowait(row)
            return target

        loop = stack.enter_context(event_loop())
        target = asyncio.run_coroutine_threadsafe(fill(), loop).result() if as_queue else things()
        return BlockingSource(AsyncQueueSource(target, batch_size=batch_size), loop)

    return make


def documented_source(rows, folder, batch_size, stack):
    with contextlib.closing(sqlite3.connect(folder / "log.db")) as connection:
        connection.execute("CREATE TABLE log (n, text, x)")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?)", [tuple(row.values()) for row in rows])
        connection.commit()
    return DOCUMENTED["SqliteSource"](folder / "log.db", "log", batch_size=batch_size)


SOURCES = {
    "jsonl": log("jsonl"),
    "csv": log("csv"),
    "parquet": log("parquet"),
    "list": memory(list),
    "iterator": memory(iter),
    "table": memory(pa.Table.from_pylist),
    "queue": queue_source(queue.Queue),
    "simple queue": queue_source(queue.SimpleQueue),
    "live iterator": iterator_source,
    "asyncio queue": asyncio_source(True),
    "async iterator": asyncio_source(False),
    "the documented one": documented_source,
}
# Those that find out what a value is when they read it. CSV does too, but a block at a time: see test_readers.
UNTYPED = sorted(SOURCES.keys() - {"parquet", "table", "csv"})
SEEKABLE = ["jsonl", "csv", "parquet", "list", "iterator", "table", "the documented one"]
LIVE = ["queue", "simple queue", "live iterator", "asyncio queue", "async iterator"]


@pytest.fixture
def make_source(tmp_path):
    with contextlib.ExitStack() as stack:
        numbers = iter(range(1_000))

        def make(name, rows, batch_size=65_536):
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            source = SOURCES[name](rows, folder, batch_size, stack)
            stack.callback(source.close)
            return source

        yield make


def read(source, due=0):
    """The rows of a source, after checking that positions count on without a gap."""
    found = []
    for batch in source:
        assert isinstance(batch, Batch)
        assert batch.first == due
        assert batch.rows.num_rows > 0
        due += batch.rows.num_rows
        found += batch.rows.to_pylist()
    return found


@pytest.mark.parametrize("name", SOURCES)
class TestEverySource:
    def test_is_a_source_with_a_name(self, make_source, name):
        source = make_source(name, rows_of(3))
        assert isinstance(source, Source)
        assert isinstance(source, Seekable) == (name in SEEKABLE)
        assert isinstance(source.name, str)
        assert source.name

    @pytest.mark.parametrize(("n_rows", "batch_size"), [(1, 1), (13, 1), (13, 5), (2_500, 7), (2_500, 65_536)])
    def test_gives_all_rows_in_order_in_batches_no_larger_than_asked(self, make_source, name, n_rows, batch_size):
        rows = rows_of(n_rows)
        sizes = []

        def noted(source):
            for batch in source:
                sizes.append(batch.rows.num_rows)
                yield batch

        assert read(noted(make_source(name, rows, batch_size))) == rows
        assert max(sizes) <= batch_size

    def test_no_rows_give_no_batch(self, make_source, name):
        assert list(make_source(name, [])) == []

    def test_columns_keep_their_types_but_for_int_to_float(self, make_source, name):
        types = [tuple(batch.rows.schema.types) for batch in make_source(name, rows_of(2_500), 100)]
        pairs = [pair for two in itertools.pairwise(types) for pair in zip(*two, strict=True)]
        changes = [(before, after) for before, after in pairs if before != after]
        assert changes in ([], [(pa.int64(), pa.float64())])

    def test_the_fraction_read_is_none_or_grows_to_one(self, make_source, name):
        source = make_source(name, rows_of(2_500), 100)
        fractions = [source.fraction_read() for _ in source]
        if fractions[0] is None:
            assert set(fractions) == {None}
        else:
            assert fractions == sorted(fractions)
            assert fractions[-1] == 1.0

    def test_closing_ends_the_iteration_and_may_be_repeated(self, make_source, name):
        source = make_source(name, rows_of(2_500), 10)
        seen = []
        for batch in source:
            seen.append(batch)
            if len(seen) == 3:
                source.close()
                source.close()
        assert len(seen) == 3
        source.close()

    def test_closing_what_was_never_read_is_fine(self, make_source, name):
        make_source(name, rows_of(3)).close()

    def test_another_iteration_starts_again_or_goes_on_or_says_that_it_cannot(self, make_source, name):
        rows = rows_of(50)
        source = make_source(name, rows, 10)
        first = next(iter(source))
        assert first.rows.to_pylist() == rows[:10]
        if name == "iterator":
            with pytest.raises(DataError, match="can be read only once"):
                list(source)
        else:
            due = 10 if name in LIVE else 0
            assert read(source, due) == rows[due:]


@pytest.mark.parametrize("name", UNTYPED)
def test_a_value_of_another_type_is_an_error_with_field_and_place_after_the_batches_before(make_source, name):
    rows = [{"n": i, "text": "a", "x": 0.5} for i in range(10_000)]
    rows[9_500]["n"] = "n/k"
    source = make_source(name, rows, 100)
    seen = []
    with pytest.raises(DataError, match="field `n`: expected int64.*, got 'n/k'.*") as error:
        seen.extend(batch.rows.num_rows for batch in source)
    assert ("line 9501" if name == "jsonl" else "row 9500") in str(error.value)
    assert source.name in str(error.value)
    assert sum(seen) <= 9_500


@pytest.mark.parametrize("name", SEEKABLE)
class TestEverySeekableSource:
    @pytest.mark.parametrize("n_before", [0, 1, 3, 250])
    def test_goes_on_where_another_stopped(self, make_source, name, n_before):
        rows = rows_of(2_500)
        source = make_source(name, rows, 10)
        for number, _ in enumerate(source, 1):
            if number == n_before:
                break
        position = json.loads(json.dumps(source.position))
        later = make_source(name, rows, 7)
        later.seek(position)
        assert later.position == position
        assert read(later, position) == rows[position:]
        assert position == (10 * n_before or 2_500)

    def test_goes_on_in_the_same_source(self, make_source, name):
        if name == "iterator":
            return
        rows = rows_of(300)
        source = make_source(name, rows, 100)
        source.seek(120)
        assert read(source, 120) == read(source, 120) == rows[120:]
        source.seek(0)
        assert read(source) == rows

    def test_the_end_is_a_position(self, make_source, name):
        source = make_source(name, rows_of(30))
        source.seek(30)
        assert list(source) == []

    def test_a_position_behind_the_end_is_an_error(self, make_source, name):
        source = make_source(name, rows_of(30))
        source.seek(31)
        with pytest.raises(DataError, match="has 30 rows and cannot be read from row 31 on"):
            list(source)

    @pytest.mark.parametrize("position", [-1, "3", None, True, 1.0, [1]])
    def test_what_is_no_position_is_an_error(self, make_source, name, position):
        with pytest.raises(DataError, match="a position is the number of a row, from 0 on; got"):
            make_source(name, rows_of(3)).seek(position)

    def test_two_iterations_at_once_are_an_error_in_the_first(self, make_source, name):
        if name == "iterator":
            return
        source = make_source(name, rows_of(30), 10)
        first = iter(source)
        next(first)
        second = iter(source)
        next(second)
        with pytest.raises(DataError, match="read twice at once"):
            next(first)
        assert [batch.first for batch in second] == [10, 20]


# -------------------------------------------------------------------------------------------------- how to make sinks


def file_sink(name):
    def make(folder, stack):
        return open_sink(folder / name), lambda: read(open_log(folder / name))

    return make


def taken(source):
    """All rows that stand in a queue."""
    return list(iter(source.get_nowait, END))


def queue_sink(folder, stack):
    target = queue.Queue()
    return QueueSink(target), lambda: taken(target)


def table_queue_sink(folder, stack):
    target = queue.Queue()
    return QueueSink(target, tables=True), lambda: [row for table in taken(target) for row in table.to_pylist()]


def async_queue_sink(folder, stack):
    loop = stack.enter_context(event_loop())
    target = asyncio.Queue()
    return BlockingSink(AsyncQueueSink(target), loop), lambda: taken(target)


def list_sink(folder, stack):
    rows = []
    return ListSink(rows), lambda: rows


def memory_sink(id):
    def make(folder, stack):
        sink = MemorySink(id=id)
        return sink, lambda: list(sink)

    return make


def call_sink(rows):
    def make(folder, stack):
        found = []
        take = found.append if rows else lambda table: found.extend(table.to_pylist())
        return CallSink(take, rows=rows), lambda: found

    return make


def documented_sink(folder, stack):
    def read_back():
        return [row for batch in DOCUMENTED["SqliteSource"](folder / "m.db", "m") for row in batch.rows.to_pylist()]

    return DOCUMENTED["SqliteSink"](folder / "m.db", "m", "n"), read_back


SINKS = {
    **{name: file_sink(name) for name in ("m.jsonl", "m.csv", "m.tsv", "m.parquet", "m.jsonl.gz", "m.csv.zst")},
    "queue of rows": queue_sink,
    "queue of tables": table_queue_sink,
    "asyncio queue": async_queue_sink,
    "list": list_sink,
    "memory": memory_sink([]),
    "memory by id": memory_sink(["n"]),
    "called with rows": call_sink(True),
    "called with tables": call_sink(False),
    "the documented one": documented_sink,
}
IDEMPOTENT = ["memory by id", "the documented one"]


@pytest.fixture
def make_sink(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(name):
            sink, read_back = SINKS[name](tmp_path, stack)
            stack.callback(sink.close)
            return sink, read_back

        yield make


def table_of(rows):
    return pa.Table.from_pylist(
        rows, schema=pa.schema([("n", pa.int64()), ("text", pa.string()), ("x", pa.float64())])
    )


@pytest.mark.parametrize("name", SINKS)
class TestEverySink:
    def test_is_a_sink_with_a_name_and_says_what_writing_twice_does(self, make_sink, name):
        sink, _ = make_sink(name)
        assert isinstance(sink, Sink)
        assert isinstance(sink.name, str)
        assert sink.guarantee == ("idempotent" if name in IDEMPOTENT else "append")

    @pytest.mark.parametrize("size", [1, 7, 500])
    def test_what_is_written_in_parts_is_read_back_in_order(self, make_sink, name, size):
        sink, read_back = make_sink(name)
        rows = rows_of(500)
        sink.open()
        sink.open()
        for start in range(0, 500, size):
            sink.write(table_of(rows[start : start + size]))
        sink.flush()
        sink.close()
        assert read_back() == rows

    def test_batches_and_frames_are_taken_like_tables(self, make_sink, name):
        sink, read_back = make_sink(name)
        rows = rows_of(20)
        sink.write(table_of(rows[:10]).to_batches()[0])
        sink.write(polars.from_arrow(table_of(rows[10:])))
        sink.close()
        assert read_back() == rows

    def test_what_is_no_table_is_an_error_with_the_name_of_the_sink(self, make_sink, name):
        sink, _ = make_sink(name)
        with pytest.raises(DataError, match="expected a table or a record batch, got list") as error:
            sink.write([{"n": 1}])
        assert sink.name in str(error.value)

    def test_tables_without_rows_add_none(self, make_sink, name):
        sink, read_back = make_sink(name)
        rows = rows_of(3)
        sink.write(pa.schema([("n", pa.null()), ("text", pa.null())]).empty_table())
        sink.write(table_of(rows[:2]))
        sink.write(table_of([]))
        sink.write(table_of(rows[2:]))
        sink.close()
        assert read_back() == rows

    def test_nothing_written_leaves_nothing_to_read(self, make_sink, name):
        sink, read_back = make_sink(name)
        sink.open()
        sink.write(table_of([]))
        sink.close()
        assert read_back() == []

    def test_closing_may_be_repeated_and_then_nothing_is_taken(self, make_sink, name):
        sink, read_back = make_sink(name)
        sink.write(table_of(rows_of(2)))
        sink.close()
        sink.close()
        sink.flush()
        with pytest.raises(DataError, match="closed, and takes no rows"):
            sink.write(table_of(rows_of(1)))
        with pytest.raises(DataError, match="closed, and cannot be opened again"):
            sink.open()
        assert read_back() == rows_of(2)

    def test_closing_what_was_never_opened_is_fine(self, make_sink, name):
        sink, _ = make_sink(name)
        sink.close()


def test_writing_a_row_twice_does_what_the_guarantee_says(make_sink):
    for name in ("memory", *IDEMPOTENT):
        sink, read_back = make_sink(name)
        for rows in (rows_of(10), rows_of(10)[5:], [{"n": 3, "text": "new", "x": 0.0}]):
            sink.write(table_of(rows))
        sink.close()
        n_times = [sum(row["n"] == n for row in read_back()) for n in (0, 3, 5)]
        assert n_times == ([1, 2, 2] if sink.guarantee == "append" else [1, 1, 1])
        if name in IDEMPOTENT:
            assert [row["text"] for row in read_back() if row["n"] == 3] == ["new"]
