"""Streams on the command line: several logs in, several outputs and what is put aside out, explained and refused."""

import json

import pyarrow.parquet as pq
import pytest

from tests.cli.forked import fyke_command

MODULE = """
import fyke
from fyke import agg, col, join, tumbling

orders = fyke.stream("orders", time="t", unit="s")
payments = fyke.stream("payments", time="t", unit="s", out_of_order="10s")
paid = orders.key_by("id").join(payments.key_by("id"), join.interval(0, "1m"), how="left")
hourly = payments.key_by("id").window(tumbling("1h")).aggregate(n=agg.count())
totals = payments.key_by("id").aggregate(total=agg.sum("amount"))
all = {"paid": paid, "hourly": hourly}

def big(minimum=5):
    return payments.filter(col.amount > minimum)

spree = fyke.begin("a", col.amount > 5).within("1h")
number = 5
"""
ORDERS = [{"t": 0, "id": "a"}, {"t": 5, "id": "b"}, {"t": 3, "id": "c"}]
PAYMENTS = [
    {"t": 10, "id": "a", "amount": 4},
    {"t": 4000, "id": "a", "amount": 9},
    {"t": 20, "id": "b", "amount": 1},
    {"t": 4001, "id": None, "amount": 7},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    for name, rows in (("orders", ORDERS), ("payments", PAYMENTS)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def lines(output):
    return [json.loads(line) for line in output.decode().splitlines()]


INPUTS = ("--input", "orders=orders.jsonl", "--input", "payments=payments.jsonl")


def test_streams_of_several_logs_go_to_several_files(folder):
    done = fyke_command(
        folder, "replay", "mine:all", *INPUTS, "-o", "paid=paid.jsonl", "-o", "hourly=hourly.parquet",
        "--late", "late.jsonl", "--errors", "errors.jsonl", "--batch-size", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    paid = lines((folder / "paid.jsonl").read_bytes())
    assert [(row["id"], row["t_right"]) for row in paid] == [("a", 10), ("c", None), ("b", None)]
    assert pq.read_table(folder / "hourly.parquet")["id"].to_pylist() == ["a", "a"]
    # The payment at 20 is late for both; the order at 3 is not, for the join waits for the payments, too.
    assert [row["t"] for row in lines((folder / "late.jsonl").read_bytes())] == [20, 20]
    assert {row["error"] for row in lines((folder / "errors.jsonl").read_bytes())} == {"a part of the key is null"}
    said = done.stderr.decode()
    assert said.startswith("7 rows, 3 paid, 2 hourly, ")
    assert "; 2 late, in late.jsonl; 2 errors, in errors.jsonl" in said


def test_a_stream_of_one_log_prints_json_lines(folder):
    done = fyke_command(folder, "replay", "mine:big", "--input", "payments.jsonl")
    assert done.returncode == 0, done.stderr
    assert [row["amount"] for row in lines(done.stdout)] == [9, 7]
    assert done.stderr.decode().startswith("4 rows, 2 results, ")


def test_a_table_prints_its_changes(folder):
    done = fyke_command(folder, "replay", "mine:totals", "--input", "payments.jsonl", "-q")
    assert [(row["change"], row["id"], row["total"]) for row in lines(done.stdout)] == [
        ("+I", "a", 4),
        ("+U", "a", 13),
        ("+I", "b", 1),
    ]
    assert done.stderr == b""


def test_what_is_put_aside_can_be_named_as_an_output(folder):
    done = fyke_command(folder, "replay", "mine:hourly", "-i", "payments.jsonl", "-o", "late=-", "-o", "results=r.csv")
    assert [row["t"] for row in lines(done.stdout)] == [20]
    assert (folder / "r.csv").read_text().splitlines()[0].replace('"', "").startswith("id,window_start")


def test_late_rows_without_a_file_are_said(folder):
    done = fyke_command(folder, "replay", "mine:hourly", "-i", "payments.jsonl")
    assert "; 1 late (see --late); 1 errors (see --errors)" in done.stderr.decode()


def test_a_partition_column_gives_each_part_its_own_watermark(folder):
    done = fyke_command(folder, "replay", "mine:hourly", "-i", "payments.jsonl", "--partition", "id")
    assert sorted((row["id"], row["n"]) for row in lines(done.stdout)) == [("a", 1), ("a", 1), ("b", 1)]
    assert ", 3 partitions, " in done.stderr.decode()


def test_with_checkpoints_streams_go_on_with_what_was_appended(folder):
    rows = (folder / "payments.jsonl").read_text().splitlines(keepends=True)
    command = ("replay", "mine:hourly", "-i", "payments.jsonl", "--checkpoint", "state", "-o", "h.jsonl", "--open-end")
    for n, results in ((1, 0), (4, 1)):
        (folder / "payments.jsonl").write_text("".join(rows[:n]))
        done = fyke_command(folder, *command)
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode().startswith(f"{n} rows, {results} results, ")
    assert [row["id"] for row in lines((folder / "h.jsonl").read_bytes())] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine:big", "-i", "payments.jsonl", "--checkpoint", "s"], "what went to standard output cannot be taken"),
        (["mine:all"], "mine:all takes rows from orders, payments: say --input orders=FILE --input payments=FILE"),
        (["mine:all", "-i", "orders=orders.jsonl"], "say --input payments=FILE"),
        (["mine:all", "-i", "orders.jsonl"], "--input orders.jsonl: mine:all takes rows from orders, payments"),
        (["mine:all", *INPUTS], "mine:all has several outputs: say --out paid=FILE --out hourly=FILE"),
        (["mine:all", *INPUTS, "-o", "m.jsonl"], "--out m.jsonl: say for which output"),
        (["mine:all", *INPUTS, "-o", "pay=m.jsonl", "-o", "paid=p.jsonl"], 'there is no output "pay"; there are paid'),
        (["mine:big", "-i", "payments.jsonl", "-o", "m.txt"], "end it in .jsonl, .csv or .parquet"),
        (["mine:big", "-i", "payments.jsonl", "-o", "payments.jsonl"], "'payments.jsonl' is the log itself"),
        (["mine:big", "-i", "payments.jsonl", "--time", "t"], "--time is for patterns: streams say it where they are"),
        (["mine:big", "-i", "payments.jsonl", "-i", "payments=x.csv"], "payments is read from payments.jsonl already"),
        (["mine:spree", "-i", "payments.jsonl"], "mine:spree is no Stream and returns none, but Pattern"),
        (["mine:number", "-i", "payments.jsonl"], "mine:number is no Stream and returns none, but int"),
        (["payments.jsonl", "-p", "mine:big"], "mine:big is a Stream, which says all itself"),
        (["payments.jsonl", "-p", "mine:spree", "--errors", "e.jsonl"], "--errors is for streams"),
        (["payments.jsonl", "-p", "mine:spree", "-o", "a.csv", "-o", "b.csv"], "matches of all patterns go to one"),
    ],
)
def test_a_mistake_is_told_in_one_line(folder, arguments, message):
    done = fyke_command(folder, "replay", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in " ".join(done.stderr.decode().split())
    assert done.stdout == b""
    assert not (folder / "p.jsonl").exists()


def test_explain_draws_streams_and_says_how_they_run(folder):
    text = fyke_command(folder, "explain", "mine:all").stdout.decode()
    assert "--> paid" in text
    assert "left join.interval('0s', '1m') by col.id" in text
    assert "how it runs is known when the columns of its inputs are" in text


def test_explain_prints_mermaid_for_streams(folder):
    text = fyke_command(folder, "explain", "mine:all", "--mermaid").stdout.decode()
    assert text.startswith("flowchart TD")
    assert '[["hourly"]]' in text
