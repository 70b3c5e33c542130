"""`fyke replay MODULE:NAME --input NAME=FILE`: streams over logs, their outputs and what they put aside to files."""

import os
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from fyke.cli_files import AT_ITS_END, checkpointing, refuse_the_logs
from fyke.cli_shared import checked_file, say
from fyke.cli_terminal import Bar, bar_fits
from fyke.graph import StreamEngine, Streams
from fyke.resumable import Resumable
from fyke.stream_replay import StreamReplay

__all__ = ["StreamRun", "inputs_of"]


@dataclass(frozen=True, slots=True)
class StreamRun:
    """What was asked for on the command line.

    Attributes:
        name: MODULE:NAME of the streams.
        inputs: FILE, or NAME=FILE for each source.
        outs: FILE, or NAME=FILE for outputs and what boxes put aside.
        sides: files for "late", "errors" and so on, from options of their own.
        options: of the replay.
        resuming: --checkpoint, --every and --open-end.
        quiet: nothing is said.
    """

    name: str
    streams: Streams
    inputs: Sequence[str]
    outs: Sequence[str]
    sides: Mapping[str, str | None]
    options: Mapping[str, Any]
    resuming: tuple[str | None, int | None, bool]
    quiet: bool

    def run(self) -> None:
        """Run the streams; what is found goes to files or to standard output."""
        logs = inputs_of(self.name, self.inputs, self.streams)
        run = StreamReplay(logs, self.streams, **self.options)
        to = self._files(run)
        refuse_the_logs(to.values(), logs.values())
        run.check_outputs(to)
        resuming = checkpointing(*self.resuming, to)
        started = clock.perf_counter()
        with Bar(_bar_fits(to) and not self.quiet, "results") as bar:
            if not resuming:
                run.run(to, on_step=lambda: self._show(bar, run))
            else:
                checkpoint, outputs = resuming.pop("checkpoint"), resuming.pop("outputs")
                if not Resumable(run, checkpoint, outputs, **resuming).run(lambda: self._show(bar, run)):
                    say(AT_ITS_END)
                    return
        if not self.quiet:
            say(closing_line(run, clock.perf_counter() - started, to))

    def _files(self, run: StreamReplay) -> dict[str, str]:
        to: dict[str, str] = {}
        for given in self.outs:
            name, sign, path = given.partition("=")
            if not sign:
                if len(run.main_outputs) > 1:
                    each = _listed(run.main_outputs, "FILE")
                    raise typer.BadParameter(f"--out {given}: say for which output, {each}")
                name, path = run.main_outputs[0], given
            if name in to:
                raise typer.BadParameter(f"--out {given}: {name} goes to {to[name]} already")
            to[name] = checked_file(path)
        to |= {name: path for name, path in self.sides.items() if path is not None}
        if not any(name in to for name in run.main_outputs):
            if len(run.main_outputs) > 1:
                raise typer.BadParameter(f"{self.name} has several outputs: say {_listed(run.main_outputs, 'FILE')}")
            to[run.main_outputs[0]] = "-"
        return to

    @staticmethod
    def _show(bar: Bar, run: StreamReplay) -> None:
        done = run.progress
        bar.show(done.rows, sum(done.results.values()), done.watermark, done.fraction)


def inputs_of(name: str, given: Sequence[str], streams: Streams) -> dict[str, str]:
    """Return the logs by the names of the streams' sources.

    Raises:
        BadParameter: one is missing, or there is no such source.
    """
    sources = StreamEngine(streams).inputs
    logs: dict[str, str] = {}
    takes = f"{name} takes rows from {', '.join(sources)}"
    for each in given:
        source, sign, path = each.partition("=")
        if not sign or source not in sources:
            if len(sources) > 1 or (sign and not os.path.exists(each)):
                raise typer.BadParameter(f"--input {each}: {takes}: say {_listed(sources, 'FILE', '--input')}")
            source, path = sources[0], each
        if source in logs:
            raise typer.BadParameter(f"--input {each}: {source} is read from {logs[source]} already")
        logs[source] = path
    missing = [source for source in sources if source not in logs]
    if missing:
        raise typer.BadParameter(f"{takes}: say {_listed(missing, 'FILE', '--input')}")
    return logs


def closing_line(run: StreamReplay, seconds: float, to: Mapping[str, str]) -> str:
    """Return what is said at the end."""
    done, told = run.progress, run.statistics()
    parts = [f"{done.rows:,} rows", *(f"{n:,} {name}" for name, n in done.results.items())]
    if done.partitions > 1:
        parts.append(f"{done.partitions:,} partitions")
    if told.null_keys:
        parts.append(f"{told.null_keys:,} rows without a key passed over")
    parts.append(f"{done.rows / max(seconds, 1e-9):,.0f} rows/s")
    line = ", ".join(parts)
    for what, n in (("late", done.late), ("errors", done.errors)):
        if n:
            line += f"; {n:,} {what}" + (f", in {to[what]}" if what in to else f" (see --{what})")
    return line


def _bar_fits(to: Mapping[str, str]) -> bool:
    return bar_fits("-" if "-" in to.values() else "file")


def _listed(names: Sequence[str], what: str, option: str = "--out") -> str:
    return " ".join(f"{option} {name}={what}" for name in names)
