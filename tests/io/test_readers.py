"""Readers of logs: the same rows from every format, bad input named by its place, columns that change over time."""

import bz2
import datetime
import gzip
import io
import json
import lzma
import math
import random
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fyke.errors import DataError
from fyke.io import Source
from fyke.io.csv import Csv
from fyke.io.files import LogFile, open_log
from fyke.io.jsonl import JsonLines

ROWS = [
    {"ts": 1, "card": "a", "amount": 0.5, "ok": True},
    {"ts": 3, "card": "b", "amount": None, "ok": False},
    {"ts": 2, "card": "žß☃😀", "amount": -1e300, "ok": None},
]


def table_of(source):
    """All rows of a source as dicts, after checking that the positions count up from 0 without a gap."""
    found, due = [], 0
    for batch in source:
        assert batch.first == due
        assert batch.rows.num_rows > 0
        due += batch.rows.num_rows
        found += batch.rows.to_pylist()
    return found


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_text(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def compress(path, how):
    data = path.read_bytes()
    done = {
        "gz": lambda: gzip.compress(data[:9]) + gzip.compress(data[9:]),
        "bz2": lambda: bz2.compress(data),
        "xz": lambda: lzma.compress(data),
        "zst": lambda: pa.compress(data, codec="zstd", asbytes=True),
    }[how]()
    target = path.with_name(path.name + "." + how)
    target.write_bytes(done)
    return target


@pytest.fixture
def logs(tmp_path):
    """The same three rows in every format."""
    jsonl = write_jsonl(tmp_path / "log.jsonl", ROWS)
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "log.parquet")
    pa.csv.write_csv(table, tmp_path / "log.csv")
    tsv = write_text(tmp_path / "log.tsv", (tmp_path / "log.csv").read_text().replace(",", "\t"))
    return {"jsonl": jsonl, "csv": tmp_path / "log.csv", "tsv": tsv, "parquet": tmp_path / "log.parquet"}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
class TestEveryFormat:
    def test_gives_the_rows_in_file_order(self, logs, kind):
        source = open_log(logs[kind])
        assert isinstance(source, Source)
        assert table_of(source) == ROWS

    def test_batch_size_bounds_each_batch_and_changes_nothing_else(self, logs, kind):
        source = open_log(logs[kind], batch_size=2)
        assert [batch.rows.num_rows for batch in source] == [2, 1]
        assert table_of(source) == ROWS

    def test_reads_only_the_columns_asked_for(self, logs, kind):
        source = open_log(logs[kind], columns=["card", "ts"])
        assert table_of(source) == [{"ts": row["ts"], "card": row["card"]} for row in ROWS]

    def test_a_column_that_is_not_there_leaves_all_that_are_so_that_near_names_can_be_told(self, logs, kind):
        (batch,) = open_log(logs[kind], columns=["ts", "crad"])
        assert batch.rows.schema.names == (["ts"] if kind == "jsonl" else ["ts", "card", "amount", "ok"])

    def test_can_be_read_again_from_the_start(self, logs, kind):
        source = open_log(logs[kind])
        next(iter(source))
        assert table_of(source) == table_of(source) == ROWS

    def test_fraction_read_ends_at_one(self, logs, kind):
        source = open_log(logs[kind])
        fractions = [source.fraction_read() for _ in source]
        assert fractions == [1.0]

    def test_standard_input_needs_a_format_and_can_be_read_once(self, logs, kind, monkeypatch):
        with pytest.raises(DataError, match="name does not say the format"):
            open_log("-")
        stream = io.TextIOWrapper(io.BytesIO(logs[kind].read_bytes()))
        monkeypatch.setattr(sys, "stdin", stream)
        source = open_log("-", format=kind)
        assert table_of(source) == ROWS
        if kind != "parquet":
            with pytest.raises(DataError, match="standard input can be read only once"):
                table_of(source)

    def test_missing_file_is_the_usual_error_of_python(self, kind, tmp_path):
        with pytest.raises(FileNotFoundError):
            table_of(open_log(tmp_path / f"none.{kind}"))

    def test_times_are_read_from_text_as_utc(self, tmp_path, kind):
        path = tmp_path / f"t.{kind}"
        stamps = ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00.000000001+01:00"]
        table = pa.table({"ts": stamps})
        if kind == "jsonl":
            write_jsonl(path, table.to_pylist())
        elif kind == "parquet":
            pq.write_table(table, path)
        else:
            pa.csv.write_csv(table, path)
        (batch,) = open_log(path, times=["ts"])
        assert batch.rows.schema.field("ts").type == pa.timestamp("ns", "UTC")
        start = 1_704_067_200_000_000_000
        assert batch.rows.column("ts").cast(pa.int64()).to_pylist() == [start, start + 1]

    def test_a_time_that_is_none_is_an_error_with_its_row(self, tmp_path, kind):
        path = tmp_path / f"t.{kind}"
        table = pa.table({"ts": ["2024-01-01"] * 5 + ["yesterday"] + ["2024-01-01"] * 3})
        if kind == "jsonl":
            write_jsonl(path, table.to_pylist())
        elif kind == "parquet":
            pq.write_table(table, path)
        else:
            pa.csv.write_csv(table, path)
        with pytest.raises(DataError, match=r"field `ts`: expected an ISO 8601 time .* got 'yesterday' at row 5"):
            table_of(open_log(path, times=["ts"]))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
class TestEveryTextFormat:
    @pytest.mark.parametrize("how", ["gz", "bz2", "xz", "zst"])
    def test_decompresses_by_suffix(self, logs, kind, how):
        assert table_of(open_log(compress(logs[kind], how))) == ROWS

    @pytest.mark.parametrize("how", ["gz", "bz2", "xz", "zst"])
    def test_a_cut_off_compressed_file_is_an_error_that_says_so(self, logs, kind, how):
        path = compress(logs[kind], how)
        path.write_bytes(path.read_bytes()[:-6])
        with pytest.raises(DataError, match="damaged or cut-off compressed file"):
            table_of(open_log(path))

    def test_an_empty_log_has_no_rows(self, tmp_path, kind):
        assert table_of(open_log(write_text(tmp_path / f"e.{kind}", ""))) == []
        assert table_of(open_log(write_text(tmp_path / f"n.{kind}", "\n\n"))) == []

    def test_bytes_that_are_not_utf8_are_an_error(self, tmp_path, kind):
        text = b'{"a":"\xff"}\n' if kind == "jsonl" else b"a\n\xff\n"
        with pytest.raises(DataError, match=r"UTF-?8"):
            table_of(open_log(write_text(tmp_path / f"u.{kind}", text)))

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, tmp_path, kind):
        text = '\ufeff{"a": 1}\n' if kind == "jsonl" else "\ufeffa\n1\n"
        assert table_of(open_log(write_text(tmp_path / f"b.{kind}", text))) == [{"a": 1}]

    def test_int64_extremes_survive_and_more_is_never_rounded_in_silence(self, tmp_path, kind):
        low, high = -(2**63), 2**63 - 1
        text = f'{{"a": {low}}}\n{{"a": {high}}}\n' if kind == "jsonl" else f"a\n{low}\n{high}\n"
        assert table_of(open_log(write_text(tmp_path / f"i.{kind}", text))) == [{"a": low}, {"a": high}]
        if kind == "jsonl":
            with pytest.raises(DataError, match=f"line 2: field `a`: {high + 1} does not fit into int64"):
                table_of(open_log(write_text(tmp_path / "o.jsonl", f'{{"a": 1}}\n{{"a": {high + 1}}}\n')))
        else:
            assert table_of(open_log(write_text(tmp_path / "o.csv", f"a\n{high + 1}\n"))) == [{"a": str(high + 1)}]

    def test_nan_and_infinity_are_floats(self, tmp_path, kind):
        text = '{"a": NaN}\n{"a": -Infinity}\n' if kind == "jsonl" else "a\nnan\n-inf\n"
        first, second = table_of(open_log(write_text(tmp_path / f"f.{kind}", text)))
        assert math.isnan(first["a"])
        assert second == {"a": -math.inf}

    def test_int_becomes_float_in_a_later_block(self, tmp_path, kind):
        rows = [{"a": n, "b": "x" * 20} for n in range(50)] + [{"a": 0.5, "b": "y"}, {"a": 7, "b": "z"}]
        source = small_blocks(tmp_path, kind, rows)
        batches = list(source)
        assert len(batches) > 3
        assert batches[0].rows.schema.field("a").type == pa.int64()
        assert batches[-1].rows.schema.field("a").type == pa.float64()
        assert table_of(source) == rows

    def test_text_after_numbers_in_a_later_block_is_an_error_with_its_place(self, tmp_path, kind):
        rows = [{"a": n, "b": "x" * 20} for n in range(50)] + [{"a": "n/k", "b": "y"}]
        place = "line 51: field `a`" if kind == "jsonl" else "field `a`: .* at row 50"
        with pytest.raises(DataError, match=place) as error:
            table_of(small_blocks(tmp_path, kind, rows))
        assert "expected int64" in str(error.value)
        assert "got 'n/k'" in str(error.value)

    def test_a_column_that_is_null_first_gets_its_type_later(self, tmp_path, kind):
        rows = [{"a": None, "b": "x" * 20} for _ in range(50)] + [{"a": 1.5, "b": "y"}]
        assert table_of(small_blocks(tmp_path, kind, rows)) == rows

    def test_declared_types_win_over_what_values_look_like(self, tmp_path, kind):
        text = '{"a": 1, "t": "2024-01-01"}\n' if kind == "jsonl" else "a,t\n1,2024-01-01\n"
        path = write_text(tmp_path / f"d.{kind}", text)
        (batch,) = open_log(path, types={"a": pa.float64(), "t": pa.timestamp("ms")})
        assert batch.rows.schema.types == [pa.float64(), pa.timestamp("ms")]
        assert batch.rows.to_pylist() == [{"a": 1.0, "t": datetime.datetime(2024, 1, 1)}]

    def test_a_declared_type_that_a_value_is_not_is_an_error_with_its_row(self, tmp_path, kind):
        text = '{"a": 1}\n{"a": 300}\n' if kind == "jsonl" else "a\n1\n300\n"
        with pytest.raises(DataError, match="field `a`: expected int8, got .*300.* at row 1"):
            table_of(open_log(write_text(tmp_path / f"d.{kind}", text), types={"a": pa.int8()}))

    def test_blocks_of_any_size_give_the_same_rows(self, tmp_path, kind):
        seed = random.randrange(2**32)
        print("seed", seed)
        rng = random.Random(seed)
        rows = [
            {
                "n": rng.choice([None, rng.randrange(100)]),
                "s": "".join(rng.choices('ab,"\\é\n ', k=rng.randrange(1, 9))),
            }
            for _ in range(200)
        ]
        for block_bytes in (37, 100, 1000, 1 << 20):
            assert table_of(small_blocks(tmp_path, kind, rows, block_bytes)) == rows


def small_blocks(tmp_path, kind, rows, block_bytes=400):
    """A reader of these rows that sees them in blocks of a few rows."""
    path = tmp_path / f"blocks.{kind}"
    if kind == "jsonl":
        write_jsonl(path, rows)
        return JsonLines(LogFile(path), block_bytes=block_bytes)
    columns = {name: [None if row[name] is None else str(row[name]) for row in rows] for name in rows[0]}
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    pa.csv.write_csv(pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns])), path, options)
    # Arrow wants a whole row, quoted newlines and all, in a block; the reader passes on what it is given.
    return Csv(LogFile(path), block_bytes=max(block_bytes, 100))


class TestJsonLines:
    def lines(self, tmp_path, text, **options):
        return table_of(open_log(write_text(tmp_path / "x.jsonl", text), **options))

    def test_a_truncated_last_line_is_an_error_with_number_and_text(self, tmp_path):
        with pytest.raises(DataError, match=r"x\.jsonl: line 4: not a JSON object .*: '\{\"a\": 3, \"b'"):
            self.lines(tmp_path, '{"a": 1}\n\n{"a": 2}\n{"a": 3, "b')

    def test_a_bad_line_in_a_later_block_has_its_number_in_the_file(self, tmp_path):
        path = write_text(tmp_path / "x.jsonl", '{"a": 1}\n\n' * 100 + '{"a": oops}\n' + '{"a": 1}\n' * 10)
        with pytest.raises(DataError, match="line 201: not a JSON object"):
            table_of(JsonLines(LogFile(path), block_bytes=64))

    @pytest.mark.parametrize("text", ["[1]", "5", '"a"', "null"])
    def test_a_line_that_is_no_object_is_an_error(self, tmp_path, text):
        with pytest.raises(DataError, match="line 2: expected a JSON object"):
            self.lines(tmp_path, '{"a": 1}\n' + text + "\n")

    def test_an_object_over_several_lines_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="line 3: not a JSON object"):
            self.lines(tmp_path, '{"a": 1}\n{"a": 2}\n{\n"a": 3}\n')

    def test_two_objects_on_a_line_are_an_error(self, tmp_path):
        with pytest.raises(DataError, match="line 1: not a JSON object .Extra data"):
            self.lines(tmp_path, '{"a": 1}{"a": 2}\n')

    def test_a_field_that_stands_twice_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="line 1: field `a` stands twice"):
            self.lines(tmp_path, '{"a": 1, "a": 2}\n')

    def test_blank_lines_carriage_returns_and_a_missing_last_newline_are_fine(self, tmp_path):
        assert self.lines(tmp_path, '\n{"a": 1}\r\n\r\n   \n{"a": 2}') == [{"a": 1}, {"a": 2}]

    def test_a_column_that_appears_later_was_null_before(self, tmp_path):
        path = write_text(tmp_path / "x.jsonl", '{"a": 1}\n' * 60 + '{"a": 2, "new": "x"}\n{"a": 3}\n')
        batches = list(JsonLines(LogFile(path), block_bytes=100))
        assert batches[0].rows.schema.names == ["a"]
        assert batches[-1].rows.schema.names == ["a", "new"]
        assert batches[-1].rows.to_pylist()[-2:] == [{"a": 2, "new": "x"}, {"a": 3, "new": None}]

    def test_a_declared_column_is_there_from_the_start(self, tmp_path):
        assert self.lines(tmp_path, '{"a": 1}\n', types={"b": pa.string()}) == [{"a": 1, "b": None}]

    def test_text_that_looks_like_a_time_stays_text_unless_asked(self, tmp_path):
        assert self.lines(tmp_path, '{"a": "2024-01-01"}\n') == [{"a": "2024-01-01"}]

    def test_columns_that_are_not_asked_for_may_be_anything(self, tmp_path):
        text = '{"a": 1, "x": 1}\n{"a": 2, "x": "y"}\n{"a": 3, "x": [1, "z"]}\n'
        assert self.lines(tmp_path, text, columns=["a"]) == [{"a": 1}, {"a": 2}, {"a": 3}]
        with pytest.raises(DataError, match="line 2: field `x`: expected int64 as in the lines before, got 'y'"):
            self.lines(tmp_path, text)

    def test_bool_is_no_number(self, tmp_path):
        with pytest.raises(DataError, match="line 2: field `a`: expected int64 .* got True"):
            self.lines(tmp_path, '{"a": 1}\n{"a": true}\n')

    def test_nested_values_grow_by_fields(self, tmp_path):
        text = '{"a": {"b": 1}}\n{"a": {"c": [1]}}\n'
        assert self.lines(tmp_path, text) == [{"a": {"b": 1, "c": None}}, {"a": {"b": None, "c": [1]}}]
        with pytest.raises(DataError, match="line 2: field `a`: expected"):
            self.lines(tmp_path, '{"a": 1}\n{"a": {"b": 1}}\n')

    def test_an_integer_beyond_int64_is_a_float_in_a_column_of_floats(self, tmp_path):
        assert self.lines(tmp_path, '{"a": 0.5}\n{"a": 10000000000000000000}\n') == [{"a": 0.5}, {"a": 1e19}]


class TestCsv:
    def rows(self, tmp_path, text, **options):
        return table_of(open_log(write_text(tmp_path / "x.csv", text), **options))

    def test_a_row_with_too_few_fields_is_an_error_with_its_line(self, tmp_path):
        with pytest.raises(DataError, match=r"line 3: expected 2 fields, got 1: '2'"):
            self.rows(tmp_path, "a,b\n1,2\n2\n")

    def test_an_empty_field_is_null_and_a_quoted_empty_field_is_empty_text(self, tmp_path):
        assert self.rows(tmp_path, 'a,b\nx,1\n,\n"",3\n') == [
            {"a": "x", "b": 1},
            {"a": None, "b": None},
            {"a": "", "b": 3},
        ]

    def test_words_for_null_are_null_among_numbers_and_text_among_text(self, tmp_path):
        assert self.rows(tmp_path, "a,b\n1,NA\nNA,x\n") == [{"a": 1, "b": "NA"}, {"a": None, "b": "x"}]

    def test_a_number_with_a_leading_zero_is_text(self, tmp_path):
        assert self.rows(tmp_path, "zip,x\n01234,0\n99999,0.5\n") == [
            {"zip": "01234", "x": 0.0},
            {"zip": "99999", "x": 0.5},
        ]

    def test_true_and_false_are_bools(self, tmp_path):
        assert self.rows(tmp_path, "a\ntrue\nFalse\n") == [{"a": True}, {"a": False}]

    def test_numbers_in_a_time_column_stay_numbers(self, tmp_path):
        rows = self.rows(tmp_path, "ts\n1700000000\n1700000000.5\n", times=["ts"])
        assert rows == [{"ts": 1.7e9}, {"ts": 1.7e9 + 0.5}]

    def test_a_column_named_twice_or_not_at_all_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="column `a` stands twice in the header"):
            self.rows(tmp_path, "a,a\n1,2\n")
        with pytest.raises(DataError, match="a column of the header has no name"):
            self.rows(tmp_path, "a,\n1,2\n")

    def test_a_header_alone_has_no_rows(self, tmp_path):
        assert self.rows(tmp_path, "a,b\n") == []


class TestParquet:
    def test_a_file_that_is_none_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="not a readable Parquet file"):
            table_of(open_log(write_text(tmp_path / "x.parquet", "PAR1 but no more")))

    def test_no_rows_give_no_batch(self, tmp_path):
        pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "x.parquet")
        assert list(open_log(tmp_path / "x.parquet")) == []

    def test_one_huge_row_group_is_read_in_batches(self, tmp_path):
        pq.write_table(pa.table({"a": range(100_000)}), tmp_path / "x.parquet", row_group_size=100_000)
        sizes = [batch.rows.num_rows for batch in open_log(tmp_path / "x.parquet", batch_size=30_000)]
        assert sizes == [30_000, 30_000, 30_000, 10_000]


def test_a_format_that_is_none_is_an_error_that_lists_them():
    with pytest.raises(DataError, match="unknown format 'xml', known are jsonl, csv, tsv, parquet"):
        open_log("x.csv", format="xml")


def test_format_wins_over_the_name(tmp_path):
    assert table_of(open_log(write_text(tmp_path / "x.csv", '{"a": 1}\n'), format="jsonl")) == [{"a": 1}]
