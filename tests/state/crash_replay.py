"""Replays with checkpoints, killed at random moments over all stores and outputs: nothing lost, nothing doubled.

    python -m tests.state.crash_replay --kills 200

Each kind of replay is run once undisturbed. Then it is run again and again, each time killed after a random time and
started anew until it comes to its end, and what it wrote is compared: files byte for byte, databases row by row. The
processes are forks, so that a start costs no imports and the kills fall into the replay.
"""

import argparse
import collections
import contextlib
import functools
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from pathlib import Path

# Loaded here, once, and not in each fork: Arrow loads pandas with the first array of Python objects.
import fsspec.implementations.local
import pandas
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

import fyke
import fyke.io.sql
import fyke.state.remote
import fyke.state.sqlite
from fyke import agg, col, join, stream, tumbling
from fyke.generate import generate
from fyke.io.files import open_log
from fyke.io.sinks import open_sink

N_CUTS = 12
MOST_KILLS = 8  # of one replay, so that all kinds have their turn
SPREE = fyke.begin("probe", col.amount < 10).followed_by("spree", col.amount > 150).within("10s").by("country")
PAYMENTS, CHECKS = (stream(name, time="ts", out_of_order="15s") for name in ("payments", "checks"))
GRAPH = {
    "joined": PAYMENTS.key_by("card").join(CHECKS.key_by("card"), join.interval("-2m", "2m")).select("card", "amount"),
    "sums": PAYMENTS.key_by("card").window(tumbling("5s")).aggregate(n=agg.count(), total=agg.sum(col.amount)),
    "matches": PAYMENTS.union(CHECKS).match(SPREE).select("country", "time"),
}
LOADED = (fsspec, pandas)
# What is replayed, the store of its checkpoints, its outputs, options.
KINDS = [
    ("patterns", "{}/state", {"matches": "{}/m.jsonl", "late": "{}/late.csv"}, {"out_of_order": "10s"}),
    ("patterns", "{}/state.sqlite", {"matches": "{}/m.parquet"}, {"partition": "merchant", "out_of_order": "5s"}),
    ("patterns", "file://{}/far", {"matches": "sqlite:///{}/m.db#found", "late": "{}/late.jsonl.gz"}, {}),
    (
        "streams",
        "{}/state",
        {"joined": "{}/j.jsonl.zst", "sums": "sqlite:///{}/s.db", "matches": "{}/m.parquet", "late": "{}/late.csv"},
        {},
    ),
]


def make_logs(folder, n_rows):
    """Write a log in each format, and a second one for joins."""
    table = pa.concat_tables(generate("payments", n_rows, seed=3, disorder_ms=20_000))
    pq.write_table(table, folder / "log.parquet", row_group_size=700)
    for name, rows in (("log.csv", table), ("log.jsonl", table), ("checks.csv", table.slice(0, n_rows // 3))):
        with open_sink(folder / name) as sink:
            sink.write(rows)


def make_replay(number, logs, folder, n_rows):
    """Make the replay of a kind, with everything it writes in a folder of its own."""
    what, store, outputs, options = KINDS[number]
    common = {
        "checkpoint": store.format(folder),
        "outputs": {name: path.format(folder) for name, path in outputs.items()},
        "every": n_rows // N_CUTS,
        "batch_size": 300,
    }
    if what == "patterns":
        log = logs / ("log.jsonl", "log.parquet", "log.csv")[number]
        return fyke.replay(log, SPREE, time="ts", **common, **options)
    return fyke.replay({"payments": logs / "log.csv", "checks": logs / "checks.csv"}, GRAPH, **common)


def run_replay(number, logs, folder, n_rows):
    """Run the replay of a kind, from where the last one was."""
    make_replay(number, logs, folder, n_rows).run()


def in_fork(work, errors):
    """Start work in a process of its own; what it fails with goes to a file."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    os._exit(status)


def finished(child, errors, until=None):
    """Wait for a process, until a time at most; False if it still runs then.

    Raises:
        AssertionError: it failed.
    """
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, errors.read_text() if errors.exists() else f"status {status}"
            return True
        if until is not None and time.perf_counter() > until:
            return False
        time.sleep(0.001)


def run_killed(work, errors, rng, seconds, kills_left):
    """Run work to its end, killed at random moments while there are kills left; return how many it took."""
    kills = 0
    while True:
        child = in_fork(work, errors)
        until = time.perf_counter() + rng.expovariate(3 / seconds) if kills < kills_left else None
        if finished(child, errors, until):
            return kills
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1


def written(number, folder):
    """What a replay wrote: (bytes of each file, or rows of each table, by name; all rows, counted)."""
    exact, rows = {}, collections.Counter()
    for name, template in KINDS[number][2].items():
        path = template.format(folder)
        if "://" in path:
            path, _, table = path.removeprefix("sqlite:///").partition("#")
            with contextlib.closing(sqlite3.connect(path)) as connection:
                found = connection.execute(f'select * from "{table or name}"').fetchall()
            exact[name] = found
        elif path.endswith(".parquet"):
            exact |= {f"{name}/{each.name}": each.read_bytes() for each in sorted(Path(path).iterdir())}
            found = pq.read_table(path).to_pylist()
        else:
            exact[name] = Path(path).read_bytes()
            found = [row for batch in open_log(path) for row in batch.rows.to_pylist()] if exact[name] else []
        rows.update((name, repr(row)) for row in found)
    return exact, rows


def crash(kills, seed, n_rows, say=print):
    """Kill replays so often; return the closing line, and whether all is as it should be."""
    rng = random.Random(seed)
    expected = seen = lost = doubled = unlike = done = n_kills = 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        errors = root / "errors"
        make_in_fork(lambda: make_logs(root, n_rows), errors)
        wholes = {}
        for number in range(len(KINDS)):
            folder = root / f"whole-{number}"
            folder.mkdir()
            began = time.perf_counter()
            make_in_fork(functools.partial(run_replay, number, root, folder, n_rows), errors)
            wholes[number] = (time.perf_counter() - began, folder)
        while n_kills < kills or done < len(KINDS):
            number = done % len(KINDS)
            seconds, whole = wholes[number]
            folder = root / f"run-{done}"
            folder.mkdir()
            left = min(-(-(kills - n_kills) // max(len(KINDS) - done, 1)), MOST_KILLS)
            work = functools.partial(run_replay, number, root, folder, n_rows)
            n_kills += run_killed(work, errors, rng, seconds, left)
            one, is_one = written(number, whole)
            other, is_other = written(number, folder)
            expected += is_one.total()
            seen += is_other.total()
            lost += (is_one - is_other).total()
            doubled += (is_other - is_one).total()
            for name in sorted(one.keys() | other.keys()):
                if one.get(name) != other.get(name):
                    unlike += 1
                    say(f"replay {done} of kind {number}: {name} is not as in the undisturbed run")
            done += 1
            shutil.rmtree(folder)
    line = (
        f"crash-replay: {n_kills} kills, {expected} matches expected, {seen} seen, {lost} lost, {doubled} doubled"
    )
    return line, lost == doubled == unlike == 0


def make_in_fork(work, errors):
    """Do work in a process of its own, so that this one starts no threads and can be forked."""
    finished(in_fork(work, errors), errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=3_000, help="length of the logs")
    given = parser.parse_args()
    line, is_right = crash(given.kills, given.seed, given.rows)
    print(line)
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
