"""The command line: `fyke replay`, `fyke backtest`, `fyke explain`, `fyke generate`.

Results go to standard output or to files, everything that is said about them to standard error. Exit status: 0 done,
1 the data or the run failed, 2 used wrongly, 130 interrupted. Errors are one line; --debug shows where they came from.
"""

import contextlib
import os
import stat
import sys
import time as clock
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from fyke import __version__
from fyke.cli_backtest import backtest_command
from fyke.cli_shared import (
    TYPES,
    Checkpoint,
    Debug,
    Every,
    Format,
    OpenEnd,
    PatternName,
    Policy,
    Quiet,
    Unit,
    clear_errors,
    output,
    parse_types,
    resolve,
    say,
)
from fyke.duration import to_ns
from fyke.explain import diagram_mermaid, diagram_text
from fyke.generate import KINDS, generate
from fyke.io import Sink
from fyke.io.sinks import open_sink
from fyke.replay import Replay, replay
from fyke.resumable import Resumable

app = typer.Typer(
    name="fyke",
    help="Find patterns in event logs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("backtest")(backtest_command)

class EventTimeColumn(ProgressColumn):
    """How far event time has come."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["event_time"], style="cyan")


class Bar:
    """The progress bar of a replay: rows, rows per second, event time reached, matches."""

    def __init__(self, is_shown: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[rows]:,} rows"),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            EventTimeColumn(),
            TextColumn("[bold]{task.fields[matches]:,} matches"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not is_shown,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, rows=0, rate=0.0, event_time="", matches=0)
        self._started = clock.perf_counter()

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, run: Replay) -> None:
        done = run.progress
        elapsed = clock.perf_counter() - self._started
        self._bar.update(
            self._task,
            total=None if done.fraction is None else 1.0,
            completed=done.fraction or 0.0,
            rows=done.rows,
            rate=done.rows / elapsed,
            matches=done.matches,
            event_time=time_text(done.watermark),
        )


def time_text(ns: int | None) -> str:
    """Return a time in ns since the epoch for people, to the second; empty where there is none to show.

    >>> time_text(0), time_text(None)
    ('1970-01-01 00:00:00', '')
    """
    try:
        return "" if ns is None else datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""


def bar_fits(out: str | None) -> bool:
    """Say whether there is a terminal to draw on that no results scroll through."""
    if not sys.stderr.isatty():
        return False
    return (out is not None and out != "-") or stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Find patterns in event logs."""
    if version:
        print(f"fyke {__version__}")
        raise typer.Exit


@app.command("replay")
def replay_command(
    log: Annotated[str, typer.Argument(metavar="LOG", help="JSONL, CSV or Parquet, also compressed; - is stdin.")],
    pattern: Annotated[
        list[str], typer.Option("--pattern", "-p", metavar="MODULE:NAME", help="What to look for; may be repeated.")
    ],
    time: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the event time.")] = "ts",
    unit: Annotated[Unit | None, typer.Option(help="The unit of a time that is a number.")] = None,
    out_of_order: Annotated[
        str, typer.Option(metavar="DURATION", help="How far an event may lie behind earlier arrivals: 30s, 1h30m.")
    ] = "0s",
    partition: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A watermark for each value, as a topic's partitions have.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="FILE", callback=output,
            help="Matches; default: JSONL on stdout. With --checkpoint a database's URL, too; .parquet is a folder.",
        ),
    ] = None,
    late: Annotated[str | None, typer.Option(metavar="FILE", callback=output, help="Late events.")] = None,
    timeouts: Annotated[
        str | None, typer.Option(metavar="FILE", callback=output, help="Partial matches whose time ran out.")
    ] = None,
    held: Annotated[
        str | None, typer.Option(metavar="FILE", callback=output, help="Matches that a skip strategy still held back.")
    ] = None,
    format: Annotated[Format | None, typer.Option(help="What LOG is, if its name does not say it.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="What matches hold beside the pattern's columns; repeatable. Default: all."
        ),
    ] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="COLUMN=TYPE", help=f"Read text as one of {', '.join(TYPES)}; repeatable."),
    ] = None,
    max_partials: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Bound on partial matches per key and pattern.")
    ] = None,
    on_max_partials: Annotated[Policy, typer.Option(help="What to do at that bound.")] = Policy.error,
    key_ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Forget a key that was quiet for so long.")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="ROWS", min=1, help="Rows per push; changes only speed.")] = 65_536,
    checkpoint: Checkpoint = None,
    every: Every = None,
    open_end: OpenEnd = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run patterns over a log, as they would have run live."""
    patterns = {name: resolve(name) for name in pattern}
    wanted = {"matches": out or "-", "late": late, "timeouts": timeouts, "held": held}
    outputs = {name: path for name, path in wanted.items() if path is not None}
    for path in outputs.values():
        if path != "-" and log != "-" and os.path.exists(path) and os.path.samefile(path, log):
            raise typer.BadParameter(f"{path!r} is the log itself")
    resuming = checkpointing(checkpoint, every, open_end, outputs)
    limits: dict[str, Any] = {"max_partials": max_partials, "key_ttl": key_ttl}
    if max_partials is not None:
        limits["on_max_partials"] = on_max_partials.value
    with clear_errors(debug):
        run = replay(
            log,
            next(iter(patterns.values())) if len(patterns) == 1 else patterns,
            time=time,
            unit=unit.value if unit else None,
            out_of_order=out_of_order,
            partition=partition,
            timeouts=timeouts is not None,
            keep=keep,
            batch_size=batch_size,
            format=format.value if format else None,
            types=parse_types(type_ or []),
            **{name: value for name, value in limits.items() if value is not None},
            **resuming,
        )
        started = clock.perf_counter()
        with Bar(bar_fits(out) and not quiet) as bar:
            if isinstance(run, Resumable):
                whole, replayed = run, run.replay
                assert isinstance(replayed, Replay)
                if not whole.run(lambda: bar.show(replayed)):
                    say("fyke: the replay is at its end already; --checkpoint of another place begins anew")
                    return
                run = replayed
            else:
                with contextlib.ExitStack() as open_sinks:
                    take = _sinks(open_sinks, outputs)
                    for results in run.results():
                        take(results)
                        bar.show(run)
        if not quiet:
            say(closing_line(run, clock.perf_counter() - started, late))


def checkpointing(
    checkpoint: str | None, every: int | None, open_end: bool, outputs: dict[str, str]
) -> dict[str, Any]:
    """Return the options of a replay with checkpoints, checked; none without --checkpoint."""
    if checkpoint is None:
        if every is not None or open_end:
            raise typer.BadParameter("--every and --open-end are of a replay with --checkpoint")
        for path in outputs.values():
            if "://" in path:
                raise typer.BadParameter(f"{path!r}: a database is written with --checkpoint, lest rows come twice")
        return {}
    if "-" in outputs.values():
        raise typer.BadParameter("--checkpoint needs --out: what went to standard output cannot be taken back")
    found = {"checkpoint": checkpoint, "outputs": outputs, "open_end": open_end}
    return found if every is None else found | {"every": every}


def _sinks(stack: contextlib.ExitStack, paths: dict[str, str]) -> Callable[[Any], None]:
    """Open the outputs that are wanted, to be closed with the stack, and return what writes a result to them."""
    sinks: dict[str, Sink] = {}
    for what, path in paths.items():
        sinks[what] = open_sink(path)
        stack.callback(sinks[what].close)

    def take(results: Any) -> None:
        for what, sink in sinks.items():
            part = results if what == "matches" else getattr(results, what)
            sink.write(part.to_arrow())

    return take


def closing_line(run: Replay, seconds: float, late: str | None) -> str:
    """Return what is said at the end of a replay."""
    done = run.progress
    line = f"{done.rows:,} rows, {done.matches:,} matches"
    if done.timeouts:
        line += f", {done.timeouts:,} timeouts"
    if done.partitions > 1:
        line += f", {done.partitions:,} partitions"
    null_keys = run.statistics().null_keys
    if null_keys:
        line += f", {null_keys:,} rows without a key passed over"
    line += f", {done.rows / max(seconds, 1e-9):,.0f} rows/s"
    if done.late:
        line += f"; {done.late:,} late"
        line += f", in {late}" if late else " (see --late, --out-of-order)"
    return line


@app.command()
def explain(
    pattern: PatternName,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the diagram as Mermaid text only.")] = False,
    time: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the event time.")] = "ts",
    debug: Debug = False,
) -> None:
    """Show a pattern as a diagram, and the plan by which it runs."""
    found = resolve(pattern)
    with clear_errors(debug):
        if mermaid:
            print(diagram_mermaid(found))
            return
        print(diagram_text(found))
        print()
        print(replay([], found, time=time, unit="ns").explain())


@app.command("generate")
def generate_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(KINDS)}.")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="Length of the log.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same log.")] = 0,
    disorder: Annotated[
        str, typer.Option(metavar="DURATION", help="How far events may lie behind earlier arrivals.")
    ] = "0s",
    format: Annotated[Format | None, typer.Option(help="What to write, if the name does not say it.")] = None,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    debug: Debug = False,
) -> None:
    """Make a synthetic log with something in it to find."""
    if kind not in KINDS:
        raise typer.BadParameter(f"unknown kind {kind!r}: known are {', '.join(KINDS)}")
    if format is None:
        output(out)
    with clear_errors(debug), contextlib.ExitStack() as stack:
        tables = generate(kind, rows, seed=seed, disorder_ms=to_ns(disorder) // 1_000_000)
        sink = open_sink(out, format=format.value if format else None)
        stack.callback(sink.close)
        for table in tables:
            sink.write(table)


def main() -> None:
    """Run the command line; the entry point of the `fyke` command."""
    if Path(sys.argv[0]).name == "__main__.py":
        sys.argv[0] = "fyke"
    warnings.showwarning = lambda message, *_, **__: say(f"fyke: warning: {message}")
    app()


if __name__ == "__main__":
    main()
