"""What is written on the command line, and where checkpoints are kept: checked before anything is read."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import typer

__all__ = ["AT_ITS_END", "checkpointing", "refuse_the_logs"]

AT_ITS_END = "fyke: the replay is at its end already; --checkpoint of another place begins anew"


def refuse_the_logs(outputs: Iterable[str], logs: Iterable[str]) -> None:
    """Refuse to write over what is read."""
    read = [log for log in logs if log != "-"]
    for path in outputs:
        if path != "-" and any(os.path.exists(path) and os.path.samefile(path, log) for log in read):
            raise typer.BadParameter(f"{path!r} is the log itself")


def checkpointing(
    checkpoint: str | None, every: int | None, open_end: bool, outputs: Mapping[str, str]
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
    found = {"checkpoint": checkpoint, "outputs": dict(outputs), "open_end": open_end}
    return found if every is None else found | {"every": every}
