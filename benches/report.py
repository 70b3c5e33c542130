"""What a run prints and writes: one table, one JSON list, and where they came from (commit, machine, date)."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benches" / "results"

SLOPE = 1.05  # cost grows as the work grows and no faster

Result = dict[str, Any]


def commit() -> str:
    """Return the short hash of the checkout, "-dirty" added if tracked files differ from it; "unknown" without git."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        return head + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, Any]:
    """Return what a reader needs to place the figures."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def default_file(of_commit: str) -> Path:
    """Return where a run's results go unless --json says otherwise."""
    return RESULTS / f"{dt.date.today().isoformat()}-{of_commit}.json"


def write(results: Sequence[Result], path: Path, merge: bool) -> None:
    """Write results as a JSON list.

    Args:
        merge: keep what the file already holds of other workloads, so that a run of one does not wipe out a run of all.
    """
    kept: list[Result] = []
    if merge and path.exists():
        again = {label(result) for result in results}
        kept = [result for result in json.loads(path.read_text()) if label(result) not in again]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*kept, *results], indent=1) + "\n")


def label(result: Mapping[str, Any]) -> str:
    """Return a workload's name and n with what varies in it."""
    return f"{result['variant']}, n={result['n']:,}"


def variant_label(workload: str, variant: Mapping[str, Any]) -> str:
    """Return "any3 window_ms=50", say."""
    return " ".join([workload, *(f"{name}={value}" for name, value in variant.items())])


def rate(events_per_s: float | None) -> str:
    """Return events/s in three figures.

    >>> rate(123_456_789.0), rate(54_321.0), rate(None)
    ('123 M', '54.3 k', '-')
    """
    if events_per_s is None:
        return "-"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if events_per_s >= size:
            return f"{events_per_s / size:.3g} {unit}"
    return f"{events_per_s:.3g}"


def show(results: Sequence[Result], console: Console) -> None:
    """Print the table, then each target with what was got, then each wrong count."""
    first = results[0]
    facts = first["machine"]
    title = f"commit {first['commit']}, {facts['cpu']}, Python {facts['python']}, one core, medians of rounds"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("workload")
    for heading in ("n", "rounds", "events/s", "matches", "limit events/s", "x limit's time", "peak RSS MB"):
        table.add_column(heading, justify="right")
    table.add_column("others, events/s (x faster than)")
    for result in results:
        ours, limit = result["events_per_s"], result["limit_events_per_s"]
        others = []
        for name, theirs in (result["peers"] | result["references"]).items():
            times = f" ({ours / theirs:.2g}x)" if ours else ""
            others.append(f"{name} {rate(theirs)}{times}")
        table.add_row(
            result["variant"],
            f"{result['n']:,}",
            str(result["rounds"]),
            rate(ours),
            "-" if result["matches"] is None else f"{result['matches']:,}",
            rate(limit),
            f"{limit / ours:.2f}" if ours and limit else "-",
            f"{result['peak_rss_mb']:,.0f}",
            "; ".join(others) or "-",
        )
    console.print(table)
    for result in results:
        for target in result["targets"]:
            verdict = "[green]met[/]" if target["met"] else "[red]missed[/]"
            console.print(
                f"{verdict} {result['variant']}: {target['target']}: {target['got']:g} (bound {target['bound']:g})"
            )
        if "slope" in result:
            verdict = "[green]met[/]" if result["slope"] <= SLOPE else "[red]missed[/]"
            console.print(f"{verdict} {result['variant']}: slope over n..8n at most {SLOPE}: {result['slope']}")
        for subject, counts in result["wrong_counts"].items():
            found = ", ".join(f"{count:,}" for count in counts)
            expected = result["expected_total" if subject.endswith("by total") else "expected_matches"]
            console.print(f"[red]wrong[/] {label(result)}: {subject} found {found}, expected {expected:,}")
