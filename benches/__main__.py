"""`python -m benches`: run workloads against their limits and peers, print one table, write one JSON file.

Each line of the table is measured in a process of its own (benches/measure.py), so that its peak of memory is its own
and nothing warms up or fragments the next.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from benches import data, report, workloads


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches", description="Run fyke's benchmarks.")
    parser.add_argument("--only", metavar="A,B", help=f"workloads to run, of: {', '.join(workloads.names())}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count, after one to warm up (5)")
    parser.add_argument("--n", type=int, help="events, instead of each workload's own number")
    parser.add_argument("--batch-rows", type=int, default=data.BATCH_ROWS, help=f"rows a push ({data.BATCH_ROWS:,})")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write here, not to benches/results/<date>-<commit>.json"
    )
    parser.add_argument("--budget", type=float, default=120, help="seconds a line may take to begin a round (120)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds a line of the table may take (900)")
    parser.add_argument("--slopes", action="store_true", help="also at 2n, 4n, 8n; slope of log time over log n")
    parser.add_argument(
        "--no-engine", action="store_true", help="limits, references and peers alone; writes only with --json"
    )
    chosen = parser.parse_args(arguments)
    known = workloads.names()
    chosen.names = chosen.only.split(",") if chosen.only else known
    for name in chosen.names:
        if name not in known:
            parser.error(f"unknown workload {name!r}; there are: {', '.join(known)}")
    if not chosen.no_engine and importlib.util.find_spec("fyke") is None:
        parser.error("fyke is not installed here: run `make bench`, or say --no-engine")
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    return chosen


def run(name: str, number: int, n: int, chosen: argparse.Namespace) -> report.Result:
    """Measure one variant at one n in a child process and return its JSON object.

    Raises:
        subprocess.SubprocessError: the child failed or took too long.
    """
    command = [sys.executable, "-m", "benches.measure", name.replace("-", "_"), str(number), "--n", str(n)]
    command += ["--rounds", str(chosen.rounds), "--batch-rows", str(chosen.batch_rows)]
    command += ["--budget", str(chosen.budget)]
    command += ["--no-engine"] if chosen.no_engine else []
    done = subprocess.run(
        command, cwd=report.ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=chosen.timeout
    )
    title = report.variant_label(name, workloads.load(name).VARIANTS[number])
    return {"workload": name, "variant": title, **json.loads(done.stdout)}


def slope(results: Sequence[report.Result]) -> float:
    """Return d log(time) / d log(n) over the results of one variant at several n: 1 is linear."""
    n = np.array([result["n"] for result in results], dtype=np.float64)
    seconds = n / np.array([result["events_per_s"] for result in results])
    return round(float(np.polyfit(np.log(n), np.log(seconds), 1)[0]), 3)


def run_all(chosen: argparse.Namespace, progress: Console) -> tuple[list[report.Result], bool]:
    """Run every variant of every chosen workload; return the results and whether all ran to their end."""
    results: list[report.Result] = []
    complete = True
    for name in chosen.names:
        workload = workloads.load(name)
        for number, variant in enumerate(workload.VARIANTS):
            sizes = [(chosen.n or workload.ROWS) * times for times in ((1, 2, 4, 8) if chosen.slopes else (1,))]
            of_variant: list[report.Result] = []
            for n in sizes:
                title = f"{report.variant_label(name, variant)}, n={n:,}"
                progress.print(f"{dt.datetime.now():%H:%M:%S} {title} ...")
                try:
                    of_variant.append(run(name, number, n, chosen))
                except subprocess.SubprocessError as error:
                    late = isinstance(error, subprocess.TimeoutExpired)
                    progress.print(
                        f"[red]failed[/] {title}: " + (f"over {chosen.timeout:g} s" if late else "see above")
                    )
                    complete = False
                    break
            if chosen.slopes and not chosen.no_engine and len(of_variant) == len(sizes):
                of_variant[0]["slope"] = slope(of_variant)
            results += of_variant
    return results, complete


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was chosen; exit status 1 if a count was wrong or a workload failed."""
    chosen = parse(arguments)
    # Wide enough for one line a workload also in a pipe.
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    facts = {
        "commit": report.commit(),
        "machine": report.machine(),
        "batch_rows": chosen.batch_rows,
    }
    measured, complete = run_all(chosen, Console(stderr=True, highlight=False))
    results = [{**result, **facts} for result in measured]
    if results:
        report.show(results, console)
        if chosen.json or not chosen.no_engine:
            path = chosen.json or report.default_file(facts["commit"])
            report.write(results, path, merge=chosen.json is None)
            console.print(f"written to {path}", soft_wrap=True)
    return int(not complete or any(result["wrong_counts"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
