"""`fyke doctor` and `fyke reset`: an app on Kafka, from outside."""

import datetime as dt
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fyke.cli_names import look_up
from fyke.cli_shared import Debug, clear_errors, say

if TYPE_CHECKING:
    from fyke.app import App

_COLOURS = {"problem": "bold red", "warning": "yellow", "ok": "green"}

AppName = Annotated[str, typer.Argument(metavar="MODULE:NAME", help="Where the app is, e.g. alerts:app.")]


def _resolve(name: str) -> "App":
    from fyke.app import App  # the client of Kafka takes a while to import, and most commands need none

    found: App = look_up(name, lambda value: isinstance(value, App), "App")
    return found


def doctor_command(
    name: AppName,
    watch: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Look at open transactions for so long, to tell which hang.")
    ] = 0.0,
    debug: Debug = False,
) -> None:
    """Say what is wrong with an app on Kafka; asks the brokers alone. Exit status 1 if there is a problem."""
    app = _resolve(name)
    with clear_errors(debug):
        findings = app.examine(watch)
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(f"[{_COLOURS[finding.level]}]{finding.level}[/]", finding.about, finding.text)
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def reset_command(
    name: AppName,
    since: Annotated[
        str, typer.Option(metavar="PLACE", help="earliest, latest, or a time such as 2026-01-31T12:00:00+00:00.")
    ] = "earliest",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    debug: Debug = False,
) -> None:
    """Let an app on Kafka begin anew, without state, from a place in its topics. No instance may run."""
    app = _resolve(name)
    place = _place(since)
    if not yes:
        typer.confirm(f"Forget state and offsets of {app!r}, and begin at {since}?", abort=True, err=True)
    with clear_errors(debug):
        app.reset(place)
    say(f"{app.name} begins at {since} when it is started next")


def _place(since: str) -> Any:
    if since in ("earliest", "latest"):
        return since
    try:
        time = dt.datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter(f"--since {since}: expected earliest, latest or a time in ISO 8601") from None
    if time.tzinfo is None:
        raise typer.BadParameter(f"--since {since}: say the zone, {since}+00:00 for UTC")
    return time
