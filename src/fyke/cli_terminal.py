"""How far a run is, drawn on a terminal."""

import os
import stat
import sys
import time as clock
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["Bar", "bar_fits", "time_text"]


class EventTimeColumn(ProgressColumn):
    """How far event time has come."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["event_time"], style="cyan")


class Bar:
    """The progress bar of a replay: rows, rows per second, event time reached, what was found.

    Args:
        is_shown: whether it is drawn at all.
        what: what is found: "matches".
    """

    def __init__(self, is_shown: bool, what: str = "matches") -> None:
        self._bar = Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[rows]:,} rows"),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            EventTimeColumn(),
            TextColumn(f"[bold]{{task.fields[found]:,}} {what}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not is_shown,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, rows=0, rate=0.0, event_time="", found=0)
        self._started = clock.perf_counter()

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, rows: int, found: int, watermark: int | None, fraction: float | None) -> None:
        """Draw how far it is: rows read, rows found, event time (ns), and how much was read, 0 to 1."""
        self._bar.update(
            self._task,
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            rows=rows,
            rate=rows / (clock.perf_counter() - self._started),
            found=found,
            event_time=time_text(watermark),
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
