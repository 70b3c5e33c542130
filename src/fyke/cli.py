"""The command line: `fyke replay`, `fyke backtest`, `fyke explain`, `fyke generate`, `fyke doctor`, `fyke reset`.

Results go to standard output or to files, everything that is said about them to standard error. Exit status: 0 done,
1 the data or the run failed, 2 used wrongly, 130 interrupted. Errors are one line; --debug shows where they came from.
"""

import contextlib
import os
import sys
import time as clock
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fyke import __version__
from fyke.cli_app import doctor_command, reset_command
from fyke.cli_backtest import backtest_command
from fyke.cli_files import AT_ITS_END, checkpointing, refuse_the_logs
from fyke.cli_names import resolve, resolve_pattern
from fyke.cli_shared import (
    TYPES,
    Checkpoint,
    Debug,
    Every,
    Format,
    OpenEnd,
    Policy,
    Quiet,
    Unit,
    clear_errors,
    output,
    parse_types,
    say,
)
from fyke.cli_state import state_app
from fyke.cli_streams import StreamRun
from fyke.cli_terminal import Bar, bar_fits
from fyke.duration import to_ns
from fyke.explain import diagram_mermaid, diagram_text
from fyke.generate import KINDS, generate
from fyke.graph import StreamEngine
from fyke.io import Sink
from fyke.io.sinks import open_sink
from fyke.pattern import Pattern
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
app.add_typer(state_app, name="state")
app.command("doctor")(doctor_command)
app.command("reset")(reset_command)


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
    context: typer.Context,
    log: Annotated[
        str,
        typer.Argument(
            metavar="LOG | MODULE:NAME",
            help="A log for patterns: JSONL, CSV or Parquet, also compressed; - is stdin. Or the streams to run.",
        ),
    ],
    pattern: Annotated[
        list[str] | None, typer.Option("--pattern", "-p", metavar="MODULE:NAME", help="What to look for; repeatable.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="[NAME=]FILE", help="Streams: the log of a source; repeatable."),
    ] = None,
    time: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the event time.")] = "ts",
    unit: Annotated[Unit | None, typer.Option(help="The unit of a time that is a number.")] = None,
    out_of_order: Annotated[
        str, typer.Option(metavar="DURATION", help="How far an event may lie behind earlier arrivals: 30s, 1h30m.")
    ] = "0s",
    partition: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A watermark for each value, as a topic's partitions have.")
    ] = None,
    out: Annotated[
        list[str] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="[NAME=]FILE",
            help="Matches, or the rows of a stream (NAME= where there are several); default: JSONL on stdout. With "
            "--checkpoint a database's URL, too; .parquet is a folder.",
        ),
    ] = None,
    late: Annotated[str | None, typer.Option(metavar="FILE", callback=output, help="Late events.")] = None,
    errors: Annotated[
        str | None, typer.Option(metavar="FILE", callback=output, help="Streams: rows that a box could not take.")
    ] = None,
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
    """Run patterns over a log, or streams over logs, as they would have run live."""
    sides = {"late": late, "errors": errors, "timeouts": timeouts, "held": held}
    reading: dict[str, Any] = {
        "partition": partition,
        "batch_size": batch_size,
        "format": format.value if format else None,
        "types": parse_types(type_ or []),
    }
    if not pattern:
        if not inputs and (os.path.exists(log) or ":" not in log):
            raise typer.BadParameter(
                "say what to look for, --pattern MODULE:NAME; or in place of the log what to run, the MODULE:NAME of "
                "streams, with --input FILE"
            )
        _refuse_what_streams_say(context)
        streams: Any = resolve(log, "Stream")
        with clear_errors(debug):
            places = (checkpoint, every, open_end)
            StreamRun(log, streams, inputs or [], out or [], sides, reading, places, quiet).run()
        return
    if inputs or errors is not None:
        raise typer.BadParameter(f"{'--input' if inputs else '--errors'} is for streams: fyke replay MODULE:NAME ...")
    if len(out or []) > 1:
        raise typer.BadParameter("--out: matches of all patterns go to one file")
    patterns = {name: resolve_pattern(name) for name in pattern}
    wanted = {"matches": output(out[0]) if out else "-"} | {name: sides[name] for name in ("late", "timeouts", "held")}
    outputs = {name: path for name, path in wanted.items() if path is not None}
    refuse_the_logs(outputs.values(), [log])
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
            timeouts=timeouts is not None,
            keep=keep,
            **reading,
            **{name: value for name, value in limits.items() if value is not None},
            **resuming,
        )
        started = clock.perf_counter()
        with Bar(bar_fits(outputs["matches"]) and not quiet) as bar:
            if isinstance(run, Resumable):
                whole, replayed = run, run.replay
                assert isinstance(replayed, Replay)
                if not whole.run(lambda: _show(bar, replayed)):
                    say(AT_ITS_END)
                    return
                run = replayed
            else:
                with contextlib.ExitStack() as open_sinks:
                    take = _sinks(open_sinks, outputs)
                    for results in run.results():
                        take(results)
                        _show(bar, run)
        if not quiet:
            say(closing_line(run, clock.perf_counter() - started, late))


def _show(bar: Bar, run: Replay) -> None:
    done = run.progress
    bar.show(done.rows, done.matches, done.watermark, done.fraction)


def _refuse_what_streams_say(context: typer.Context) -> None:
    """Refuse the options of patterns: streams say these themselves."""
    for name in ("time", "unit", "out_of_order", "keep", "max_partials", "on_max_partials", "key_ttl"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("_", "-")
            raise typer.BadParameter(f"--{option} is for patterns: streams say it where they are written")


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
    name: Annotated[
        str, typer.Argument(metavar="MODULE:NAME", help="A pattern or streams, e.g. fyke.patterns.fraud:card_testing.")
    ],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the diagram as Mermaid text only.")] = False,
    time: Annotated[str, typer.Option(metavar="COLUMN", help="Of a pattern: the column of the event time.")] = "ts",
    debug: Debug = False,
) -> None:
    """Show a pattern or streams as a diagram, and how they run."""
    found = resolve(name)
    with clear_errors(debug):
        if not isinstance(found, Pattern):
            engine = StreamEngine(found)
            print(engine.describe("mermaid") if mermaid else engine.explain())
        elif mermaid:
            print(diagram_mermaid(found))
        else:
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
