"""`python -m benches.scaling`: what failures cost 1,000 partitions on 100 instances, as a table and a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benches.scaling.model import App, Outcome, Setup

COMMITS_S = (0.1, 1.0, 10.0, 60.0)
STATES_MB = (1.0, 100.0, 1_000.0, 10_000.0)
SEEDS = range(3)


def simulate(setup: Setup, hours: float) -> Outcome:
    """Run one setup with several seeds and put the outcomes together."""
    total = Outcome()
    for seed in SEEDS:
        one = App(setup, seed).run(hours)
        total.hours += one.hours
        total.failures += one.failures
        total.pauses += one.pauses
        total.moves += one.moves
        total.catch_ups += one.catch_ups
        total.repeated += one.repeated
        total.rows += one.rows
        total.stopped += one.stopped
    return total


def cells(setup: Setup, outcome: Outcome) -> list[str]:
    """Return a row of the table."""
    pauses = np.array(outcome.pauses or [0.0])
    moves = np.array(outcome.moves or [0.0])
    catch_ups = np.array(outcome.catch_ups or [0.0])
    partition_seconds = outcome.hours * 3600 * setup.partitions
    return [
        f"{setup.commit_s:g}",
        f"{setup.state_mb:,.0f}",
        "no" if setup.standby is None else f"caught up in {setup.standby:g} s",
        f"{outcome.failures}",
        f"{np.median(pauses):.1f}",
        f"{np.quantile(pauses, 0.99):.1f}",
        f"{np.median(moves):.1f}",
        f"{np.quantile(moves, 0.99):.1f}",
        f"{np.quantile(catch_ups, 0.99):.1f}",
        f"{outcome.repeated / max(1, outcome.failures):,.0f}",
        f"{100 * outcome.repeated / outcome.rows:.4f}",
        f"{100 * (1 - outcome.stopped / partition_seconds):.3f}",
    ]


def draw(outcomes: Sequence[tuple[Setup, Outcome]], path: Path) -> None:
    """Draw how long partitions stand still, by size of state, and how many rows are repeated, by commit interval."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.fonttype"] = "none"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for standby, label in ((None, "state fetched"), (1.0, "standby copy")):
        shown = [(s, o) for s, o in outcomes if s.commit_s == 1.0 and s.standby == standby]
        shown.sort(key=lambda each: each[0].state_mb)
        sizes = [s.state_mb for s, _ in shown]
        for quantile, style in ((0.5, "-"), (0.99, "--")):
            times = [np.quantile(o.pauses, quantile) for _, o in shown]
            left.plot(sizes, times, style, marker="o", label=f"{label}, {'median' if quantile == 0.5 else '99%'}")
    left.set(xscale="log", yscale="log", xlabel="state of a partition, MB", ylabel="s stopped by a failure")
    left.legend(frameon=False)
    shown = [(s, o) for s, o in outcomes if s.state_mb == 100.0 and s.standby is None]
    right.plot([s.commit_s for s, _ in shown], [o.repeated / o.failures for _, o in shown], "o-", label="simulated")
    half = [s.commit_s / 2 * s.rows_per_partition * s.partitions / s.instances for s, _ in shown]
    right.plot([s.commit_s for s, _ in shown], half, "k:", label="half an interval of an instance's rows")
    right.set(xscale="log", yscale="log", xlabel="commit interval, s", ylabel="rows done twice a failure")
    right.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benches.scaling", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours of each run (24)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw there")
    chosen = parser.parse_args(arguments)
    base = Setup()
    setups = [replace(base, commit_s=c) for c in COMMITS_S]
    setups += [replace(base, state_mb=s, standby=standby) for standby in (None, 1.0) for s in STATES_MB]
    setups = list(dict.fromkeys(setups))
    outcomes = [(setup, simulate(setup, chosen.hours)) for setup in setups]
    table = Table(box=box.SIMPLE_HEAD)
    headings = (
        "commit s",
        "state MB",
        "standby",
        "failures",
        "stopped by one, s: median",
        "99%",
        "by a move: median",
        "99%",
    )
    for heading in (*headings, "caught up after, s: 99%", "rows repeated by one", "repeated %", "running %"):
        table.add_column(heading, justify="right")
    for setup, outcome in outcomes:
        table.add_row(*cells(setup, outcome))
    Console(width=160).print(table)
    if chosen.picture:
        draw(outcomes, chosen.picture)


if __name__ == "__main__":
    main()
