"""The command line as a shell sees it: what comes out where, and with which exit status."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fyke
from tests.cli.forked import fyke_command

PATTERNS = """
import fyke
from fyke import col

spree = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")

slower = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("4m").by("card")

def big(minimum=500):
    return fyke.begin("big", col.amount > minimum).by("card")

def needs(minimum):
    return big(minimum)

endless = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500)
number = 5
"""
ROWS = [
    {"ts": "2026-01-01T00:00:00Z", "card": "a", "amount": 0.5, "shop": 1},
    {"ts": "2026-01-01T00:01:00Z", "card": "b", "amount": 0.7, "shop": 2},
    {"ts": "2026-01-01T00:05:00Z", "card": "a", "amount": 900.0, "shop": 1},
    {"ts": "2026-01-01T00:04:30Z", "card": "b", "amount": 800.0, "shop": 2},
    {"ts": "2026-01-01T00:30:00Z", "card": "b", "amount": 0.1, "shop": 2},
]


@pytest.fixture
def folder(tmp_path):
    """A working folder with a module of patterns and a log in every format."""
    (tmp_path / "mine.py").write_text(PATTERNS)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    table = pa.Table.from_pylist(ROWS)
    pa.csv.write_csv(table, tmp_path / "log.csv")
    times = pa.array(table["ts"].to_pylist()).cast(pa.timestamp("ms", "UTC"))
    pq.write_table(table.set_column(0, "ts", times), tmp_path / "log.parquet")
    return tmp_path


def lines(output):
    return [json.loads(line) for line in output.decode().splitlines()]


def test_the_module_is_the_command(folder):
    command = [sys.executable, "-m", "fyke", "replay", "log.jsonl", "-p", "mine:spree", "--out-of-order", "1m"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    assert [match["key"] for match in lines(done.stdout)] == ["b", "a"]
    assert done.stderr.decode().startswith("5 rows, 2 matches, ")
    failed = subprocess.run([*command, "--unit", "weeks"], cwd=folder, capture_output=True, timeout=60)
    assert failed.returncode == 2


class TestReplay:
    @pytest.mark.parametrize("log", ["log.jsonl", "log.csv", "log.parquet"])
    def test_prints_matches_as_json_lines_on_stdout_and_a_summary_on_stderr(self, folder, log):
        done = fyke_command(folder, "replay", log, "--pattern", "mine:spree", "--out-of-order", "1m")
        assert done.returncode == 0, done.stderr
        assert [match["key"] for match in lines(done.stdout)] == ["b", "a"]
        assert done.stderr.decode().startswith("5 rows, 2 matches, ")
        assert "late" not in done.stderr.decode()

    def test_draws_no_bar_in_a_pipe(self, folder):
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:spree", "--out", "m.jsonl")
        assert b"\x1b" not in done.stderr + done.stdout
        assert done.stdout == b""

    def test_draws_a_bar_on_a_terminal_when_the_matches_go_elsewhere(self, folder):
        """stderr is a terminal, matches go to a file: rows, speed, event time and matches are shown."""
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "fyke", "replay", "log.jsonl", "-p", "mine:spree", "--out", "m.jsonl"],
            cwd=folder,
            stderr=child,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
        )
        os.close(child)
        seen = io.BytesIO()
        try:
            while chunk := os.read(parent, 4096):
                seen.write(chunk)
        except OSError:  # Linux says so when the other end of a terminal is gone
            pass
        assert process.wait(timeout=60) == 0
        os.close(parent)
        text = seen.getvalue().decode()
        assert "\x1b[" in text
        for shown in ("5 rows", "rows/s", "2026-01-01 00:29:59", "1 matches"):
            assert shown in text

    def test_late_events_are_counted_and_written_to_their_file(self, folder):
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:spree", "--late", "late.jsonl", "-o", "m.jsonl")
        assert done.returncode == 0, done.stderr
        assert "1 late, in late.jsonl" in done.stderr.decode()
        (late,) = lines((folder / "late.jsonl").read_bytes())
        assert (late["card"], late["amount"]) == ("b", 800.0)
        assert [match["key"] for match in lines((folder / "m.jsonl").read_bytes())] == ["a"]

    def test_late_events_without_a_file_are_said(self, folder):
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:spree")
        assert "1 late (see --late, --out-of-order)" in done.stderr.decode()

    def test_a_partition_column_gives_each_part_its_own_watermark(self, folder):
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:spree", "--partition", "shop")
        assert sorted(match["key"] for match in lines(done.stdout)) == ["a", "b"]
        assert ", 2 partitions, " in done.stderr.decode()

    @pytest.mark.parametrize("out", ["m.jsonl", "m.parquet", "sqlite:///m.db"])
    def test_with_checkpoints_it_runs_once_and_says_when_it_is_done(self, folder, out):
        command = ("replay", "log.jsonl", "-p", "mine:spree", "--checkpoint", "state", "--every", "2", "--out", out)
        done = fyke_command(folder, *command)
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode().startswith("5 rows, 1 matches, ")
        again = fyke_command(folder, *command)
        assert again.returncode == 0
        assert b"at its end already" in again.stderr

    def test_with_checkpoints_it_goes_on_with_what_was_appended(self, folder):
        command = ("replay", "log.jsonl", "-p", "mine:spree", "--checkpoint", "state", "--out", "m.jsonl", "--open-end")
        text = (folder / "log.jsonl").read_text().splitlines(keepends=True)
        for n in (2, 5):
            (folder / "log.jsonl").write_text("".join(text[:n]))
            done = fyke_command(folder, *command)
            assert done.returncode == 0, done.stderr
            assert done.stderr.decode().startswith(f"{n} rows, ")
        assert [match["key"] for match in lines((folder / "m.jsonl").read_bytes())] == ["a"]

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (("-", "--checkpoint", "s", "-o", "m.jsonl", "--format", "jsonl"), "standard input cannot be read again"),
            (("log.jsonl", "--checkpoint", "s"), "what went to standard output cannot be taken back"),
            (("log.jsonl", "--every", "5"), "are of a replay with --checkpoint"),
            (("log.jsonl", "--out", "sqlite:///m.db"), "a database is written with --checkpoint"),
        ],
    )
    def test_what_checkpoints_cannot_do_is_refused_with_a_reason(self, folder, arguments, reason):
        done = fyke_command(folder, "replay", *arguments, "-p", "mine:spree")
        assert done.returncode == 2
        assert reason in " ".join(done.stderr.decode().replace("\u2502", " ").split())

    def test_timeouts_go_to_their_file(self, folder):
        done = fyke_command(
            folder, "replay", "log.jsonl", "-p", "mine:spree", "--out-of-order", "1m", "--timeouts", "t.jsonl", "-q"
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        assert [timeout["key"] for timeout in lines((folder / "t.jsonl").read_bytes())] == ["b"]

    @pytest.mark.parametrize("out", ["m.parquet", "m.csv", "m.jsonl", "m.jsonl.gz"])
    def test_writes_matches_in_the_format_of_the_name(self, folder, out):
        done = fyke_command(folder, "replay", "log.csv", "-p", "mine:spree", "--out-of-order", "1m", "--out", out)
        assert done.returncode == 0, done.stderr
        keys = [row["key"] for batch in fyke_rows(folder / out) for row in batch.rows.to_pylist()]
        assert keys == ["b", "a"]

    def test_reads_standard_input_when_told_its_format(self, folder):
        log = (folder / "log.jsonl").read_bytes()
        arguments = ("replay", "-", "--format", "jsonl", "-p", "mine:spree", "--out-of-order", "1m")
        done = fyke_command(folder, *arguments, stdin=log)
        assert len(lines(done.stdout)) == 2

    def test_several_patterns_say_whose_a_match_is(self, folder):
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:spree", "-p", "mine:big", "--out-of-order", "1m")
        assert done.returncode == 0, done.stderr
        found = [(match["pattern"], match["key"]) for match in lines(done.stdout)]
        assert sorted(found) == [("mine:big", "a"), ("mine:big", "b"), ("mine:spree", "a"), ("mine:spree", "b")]

    def test_rows_without_a_key_are_passed_over_and_counted(self, folder):
        rows = [row | {"card": None} for row in ROWS[:2]] + ROWS[2:]
        (folder / "nulls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = fyke_command(folder, "replay", "nulls.jsonl", "-p", "mine:big", "--out-of-order", "1m")
        assert len(lines(done.stdout)) == 2
        assert "rows without a key passed over" not in done.stderr.decode()
        done = fyke_command(folder, "replay", "nulls.jsonl", "-p", "mine:spree", "--out-of-order", "1m")
        assert lines(done.stdout) == []
        assert "2 rows without a key passed over" in done.stderr.decode()

    def test_an_empty_log_is_no_error(self, folder):
        (folder / "empty.jsonl").write_text("")
        done = fyke_command(folder, "replay", "empty.jsonl", "-p", "mine:spree")
        assert (done.returncode, done.stdout) == (0, b"")
        assert done.stderr.decode().startswith("0 rows, 0 matches")

    def test_reading_no_more_of_the_output_ends_it_quietly(self, folder):
        many = [{"ts": n, "card": "a", "amount": 900.0} for n in range(50_000)]
        (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
        command = f"{sys.executable} -m fyke replay many.jsonl --unit ms -p mine:big | head -n 1"
        done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, timeout=60)
        assert len(lines(done.stdout)) == 1
        assert done.stderr == b""

    def test_an_interrupt_ends_it_with_status_130_and_leaves_what_was_found(self, folder):
        process = subprocess.Popen(
            [sys.executable, "-m", "fyke", "replay", "-", "--format=jsonl", "--unit=ms", "-pmine:big", "-om.jsonl"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        rows = "".join(json.dumps({"ts": n, "card": "a", "amount": 900.0}) + "\n" for n in range(20_000))
        process.stdin.write(rows.encode())
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not (folder / "m.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert stderr == b"fyke: interrupted\n"


def fyke_rows(path):
    from fyke.io.files import open_log

    return open_log(path)


class TestMistakes:
    """One line on standard error that says what to do; 2 for a wrong use, 1 for bad data."""

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (["log.jsonl"], 2, "say what to look for, --pattern MODULE:NAME"),
            (["log.jsonl", "-p", "mine"], 2, "'mine' is not MODULE:NAME"),
            (["log.jsonl", "-p", "nomodule:x"], 2, "cannot import 'nomodule': No module named 'nomodule'"),
            (["log.jsonl", "-p", "mine:sprees"], 2, "it has spree, slower, big, needs, endless"),
            (["log.jsonl", "-p", "mine:needs"], 2, "cannot be called without arguments"),
            (["log.jsonl", "-p", "mine:number"], 2, "mine:number is no Pattern and returns none, but int"),
            (["log.jsonl", "-p", "mine:spree", "--out", "m.txt"], 2, "end it in .jsonl, .csv or .parquet"),
            (["log.jsonl", "-p", "mine:spree", "--out", "log.jsonl"], 2, "'log.jsonl' is the log itself"),
            (["log.jsonl", "-p", "mine:spree", "--out-of-order", "5"], 2, "duration"),
            (["log.jsonl", "-p", "mine:spree", "--type", "card=text"], 2, "COLUMN=TYPE"),
            (["log.jsonl", "-p", "mine:spree", "--unit", "weeks"], 2, "weeks"),
            (["none.jsonl", "-p", "mine:spree"], 1, "none.jsonl: No such file or directory"),
            (["none.parquet", "-p", "mine:spree"], 1, "error: Failed to open local file 'none.parquet'"),
            (["log.jsonl", "-p", "mine:spree", "--time", "tss"], 1, "tss"),
            (["log.csv", "-p", "mine:spree", "--partition", "shops"], 1, "did you mean `shop`?"),
            (["-", "-p", "mine:spree"], 1, "the name does not say the format"),
        ],
    )
    def test_is_told_in_one_line(self, folder, arguments, status, message):
        done = fyke_command(folder, "replay", *arguments, stdin=b"")
        assert done.returncode == status, done.stderr
        assert message in " ".join(done.stderr.decode().split())
        assert "Traceback" not in done.stderr.decode()
        assert done.stdout == b""

    def test_a_truncated_line_is_named_and_what_was_found_before_is_kept(self, folder):
        with open(folder / "log.jsonl", "a") as log:
            log.write('{"ts": "2026-01-01T01:00:00Z", "card"')
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:spree")
        assert done.returncode == 1
        assert done.stderr.decode().startswith("fyke: error: log.jsonl: line 6: not a JSON object")

    def test_a_pattern_that_may_wait_for_ever_is_warned_of_once(self, folder):
        done = fyke_command(folder, "replay", "log.jsonl", "-p", "mine:endless", "--partition", "shop")
        assert done.returncode == 0
        first, *others = done.stderr.decode().splitlines()
        assert first.startswith("fyke: warning: pattern ")
        assert "within" in first
        assert len(others) == 1

    def test_debug_shows_where_an_error_came_from(self, folder):
        done = fyke_command(folder, "replay", "none.jsonl", "-p", "mine:spree", "--debug")
        assert done.returncode == 1
        assert "Traceback" in done.stderr.decode()

    def test_no_arguments_show_the_help(self, folder):
        done = fyke_command(folder)
        for command in ("replay", "explain", "generate"):
            assert command in (done.stdout + done.stderr).decode()


class TestExplain:
    def test_prints_a_diagram_and_the_plan(self, folder):
        done = fyke_command(folder, "explain", "mine:spree")
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode()
        for shown in ("probe", "spree", "col.amount < 1", "10m"):
            assert shown in text

    def test_mermaid_prints_text_that_mermaid_reads(self, folder):
        done = fyke_command(folder, "explain", "mine:spree", "--mermaid")
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode().split()[0] in ("flowchart", "stateDiagram-v2", "graph")

    def test_a_ready_pattern_can_be_named(self, folder):
        assert fyke_command(folder, "explain", "fyke.patterns.fraud:card_testing").returncode == 0


class TestBacktest:
    def test_shows_what_is_gained_lost_and_changed_as_a_table_a_file_and_a_picture(self, folder):
        done = fyke_command(
            folder, "backtest", "log.jsonl", "--old", "mine:spree", "--new", "mine:slower", "--out-of-order", "1m",
            "--out", "d.csv", "--picture", "d.png",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode()
        assert "mine:spree -> mine:slower" in text
        assert next(line.split() for line in text.splitlines() if line.startswith("\u2502"))[1:-1:2] == list("211010")
        assert "lost" in text
        assert "probe@0 spree@2" in text
        table = pyarrow.csv.read_csv(folder / "d.csv")
        assert table["change"].to_pylist() == ["lost"]
        assert table["old_events"].to_pylist() == ["probe@0 spree@2"]
        assert (folder / "d.png").read_bytes().startswith(b"\x89PNG")

    def test_two_equal_versions_have_no_differences(self, folder):
        done = fyke_command(
            folder, "backtest", "log.csv", "--old", "mine:spree", "--new", "mine:spree", "--picture", "d.svg", "-q"
        )
        assert done.returncode == 0, done.stderr
        assert "Differences" not in done.stdout.decode()
        assert (folder / "d.svg").exists()


class TestGenerate:
    @pytest.mark.parametrize("out", ["log.parquet", "log.csv.gz", "log.jsonl"])
    def test_writes_a_log_that_can_be_replayed(self, folder, out):
        done = fyke_command(folder, "generate", "payments", "-n", "3000", "--disorder", "30s", "-o", out)
        assert (done.returncode, done.stderr) == (0, b"")
        done = fyke_command(folder, "replay", out, "-p", "mine:spree", "--out-of-order", "30s", "-o", "m.jsonl")
        assert done.returncode == 0, done.stderr
        assert done.stderr.decode().startswith("3,000 rows, ")
        assert "late" not in done.stderr.decode()

    def test_the_same_seed_gives_the_same_log(self, folder):
        logs = [fyke_command(folder, "generate", "clicks", "-n", "50", "--seed", seed).stdout for seed in (1, 1, 2)]
        assert logs[0] == logs[1] != logs[2]
        assert len(lines(logs[0])) == 50

    def test_an_unknown_kind_is_a_wrong_use(self, folder):
        done = fyke_command(folder, "generate", "cats")
        assert done.returncode == 2
        assert b"payments, sensors, clicks" in done.stderr


def test_version_is_that_of_the_package(tmp_path):
    done = fyke_command(tmp_path, "--version")
    assert done.stdout.decode() == f"fyke {fyke.__version__}\n"
