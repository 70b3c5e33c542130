"""`fyke backtest`: two versions of a pattern on one log, as a table and a picture."""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fyke.backtest import Backtest, Difference, backtest
from fyke.cli_names import resolve_pattern
from fyke.cli_shared import Debug, Format, Quiet, Unit, clear_errors, output, parse_types, say
from fyke.io.sinks import open_sink

_COLOURS = {"gained": "tab:green", "lost": "tab:red", "changed": "tab:orange"}
_N_BINS = 60


def backtest_command(
    log: Annotated[str, typer.Argument(metavar="LOG", help="JSONL, CSV or Parquet, also compressed; - is stdin.")],
    old: Annotated[str, typer.Option("--old", metavar="MODULE:NAME", help="The version to compare with.")],
    new: Annotated[str, typer.Option("--new", metavar="MODULE:NAME", help="The version that it would be.")],
    time: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the event time.")] = "ts",
    unit: Annotated[Unit | None, typer.Option(help="The unit of a time that is a number.")] = None,
    out_of_order: Annotated[
        str, typer.Option(metavar="DURATION", help="How far an event may lie behind earlier arrivals: 30s, 1h30m.")
    ] = "0s",
    partition: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A watermark for each value, as a topic's partitions have.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="How many differences to show.")] = 20,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", callback=output, help="All differences.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Matches over time as a picture: .png, .svg, .pdf.")
    ] = None,
    format: Annotated[Format | None, typer.Option(help="What LOG is, if its name does not say it.")] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", metavar="COLUMN=TYPE", help="Read text as a type; repeatable.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare what two versions of a pattern find on one log: matches gained, lost, changed."""
    versions = resolve_pattern(old), resolve_pattern(new)
    with clear_errors(debug):
        found = backtest(
            log, *versions, time=time, unit=unit.value if unit else None, out_of_order=out_of_order,
            partition=partition, format=format.value if format else None, types=parse_types(type_ or []), keep=[],
        )  # fmt: skip
        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(summary(found, old, new))
        if rows and found.differences:
            console.print(listing(found.differences, rows))
        if out is not None:
            with open_sink(out) as sink:  # type: ignore[attr-defined]
                sink.write(found.to_arrow())
        if picture is not None:
            draw(found, picture)
        if not quiet:
            say(f"{found.rows:,} rows")


def summary(found: Backtest, old: str, new: str) -> Table:
    """Return the counts as a table."""
    table = Table(title=f"{old} -> {new}", title_justify="left")
    for heading in ("old", "new", "same", "gained", "lost", "changed"):
        table.add_column(heading, justify="right")
    changes = (found.count("gained"), found.count("lost"), found.count("changed"))
    table.add_row(*(f"{n:,}" for n in (found.old, found.new, found.same, *changes)))
    return table


def listing(differences: tuple[Difference, ...], n_rows: int) -> Table:
    """Return the first differences as a table; events are named by their row in the log, from 0."""
    more = f", {n_rows:,} of {len(differences):,}" if len(differences) > n_rows else ""
    table = Table(title=f"Differences{more}: stage@row", title_justify="left")
    for heading in ("", "key", "begins", "old", "new"):
        table.add_column(heading, overflow="fold")
    for each in differences[:n_rows]:
        begins = str(np.datetime64(each.first.start, "ns").astype("datetime64[ms]")).replace("T", " ")
        key = "" if each.first.key is None else str(each.first.key)
        table.add_row(each.change, key, begins, str(each.old or ""), str(each.new or ""))
    return table


def draw(found: Backtest, path: Path) -> None:
    """Draw how many matches were gained, lost and changed over the time at which they begin, and all counts beside.

    Raises:
        BadParameter: the library that draws is not installed.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise typer.BadParameter("--picture needs matplotlib: pip install fyke[picture]") from error
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), width_ratios=[3, 1])
    over_time, counts = axes
    changed = [(each.change, each.first.start) for each in found.differences]
    # Days since the epoch, as matplotlib has them.
    days = {change: np.array([ns for name, ns in changed if name == change]) / 86_400e9 for change in _COLOURS}
    edges: Any = np.histogram_bin_edges(np.concatenate([*days.values()]), _N_BINS) if changed else np.array([0.0, 1.0])
    over_time.hist(list(days.values()), edges, stacked=True, color=list(_COLOURS.values()), label=list(_COLOURS))
    over_time.xaxis_date()
    if not changed:
        over_time.set_xticks([])
    over_time.set(xlabel="event time at which the match begins (UTC)", ylabel="matches that differ")
    over_time.legend(frameon=False)
    bars = {"same": found.same} | {change: len(each) for change, each in days.items()}
    shown = counts.barh(list(bars), list(bars.values()), color=["0.7", *_COLOURS.values()])
    counts.bar_label(shown, [f"{n:,}" for n in bars.values()], padding=3)
    over_time.set_title(f"{found.old:,} matches before, {found.new:,} after")
    counts.invert_yaxis()
    counts.margins(x=0.35)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
