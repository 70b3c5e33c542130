"""`fyke state`: what is in checkpoints, savepoints and snapshots, to read, to compare, to take elsewhere."""

import difflib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from fyke.cli_shared import Debug, clear_errors, output
from fyke.errors import StateError
from fyke.graph_upgrade import Graph, difference_of_graphs
from fyke.io.sinks import open_sink
from fyke.resumable import read_partitions
from fyke.state import open_store
from fyke.state.checkpoint import verified
from fyke.state.savepoint import Savepoints
from fyke.stateview import StateView, key_text, to_json
from fyke.upgrade import difference

state_app = typer.Typer(
    help="Look into checkpoints, savepoints and snapshots.", no_args_is_help=True, rich_markup_mode=None
)

Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE[#NAME]",
        help="A store (folder, .sqlite file, URL) and a name in it, by default its last; or a file.",
    ),
]


@state_app.command("ls")
def list_command(place: Annotated[str, typer.Argument(metavar="PLACE")], debug: Debug = False) -> None:
    """List what a store holds: names, sizes, positions, and the plans they are of."""
    with clear_errors(debug):
        store = open_store(place)
        table = Table()
        for heading in ("name", "bytes", "position", "plan"):
            table.add_column(heading, justify="right" if heading == "bytes" else "left", overflow="fold")
        for name in store.list():
            data = store.load(name)
            try:
                manifest, payload = verified(data, name, f"{store.name}: {name}")
            except StateError as error:
                table.add_row(name, f"{len(data):,}", f"damaged: {str(error).rpartition('damaged: ')[2]}", "")
                continue
            position = json.dumps(manifest["position"])
            shown = position if len(position) <= 200 else f"{position[:199]}…"
            table.add_row(name, f"{len(payload):,}", shown, manifest["fingerprint"][:12])
        _console().print(table)


@state_app.command("show")
def show_command(place: Place, debug: Debug = False) -> None:
    """Say what is in a state: time, patterns or boxes, and how much is open of each."""
    with clear_errors(debug):
        for label, data in states_of(place):
            if label:
                print(f"partition {label}")
            print("\n".join(described(StateView(data), len(data))))


@state_app.command("diff")
def diff_command(old: Place, new: Place, debug: Debug = False) -> None:
    """Compare two states: the patterns or boxes they are of, and what is open."""
    with clear_errors(debug):
        sides = [dict(states_of(old)), dict(states_of(new))]
        for label in dict.fromkeys([*sides[0], *sides[1]]):
            if label:
                print(f"partition {label}")
            if label not in sides[0] or label not in sides[1]:
                print("only in the " + ("first" if label in sides[0] else "second"))
                continue
            one, other = (StateView(side[label]) for side in sides)
            lines = [definitions(one, other)]
            before, after = (described(view, len(side[label])) for view, side in zip((one, other), sides, strict=True))
            changes = difflib.unified_diff(before, after, "first", "second", n=0, lineterm="")
            lines += [line for line in changes if not line.startswith("@@")]
            print("\n".join(filter(None, lines)) or "equal")


@state_app.command("get")
def get_command(
    place: Place,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As text; of several columns with commas between.")],
    debug: Debug = False,
) -> None:
    """Show what is open of a key: its partial matches with their events, windows and the like."""
    with clear_errors(debug):
        n_found = 0
        for label, data in states_of(place):
            view = StateView(data)
            for each in view.get(key):
                n_found += 1
                where = " of ".join(filter(None, [f"pattern {each.pattern}", each.box, label and f"partition {label}"]))
                what = "complete, held back" if each.waiting_for is None else f"waiting for {each.waiting_for}"
                print(f"{where}: {what}, since {_time(each.start)}")
                for event in each.events:
                    print(f"  {event.stage} {_time(event.time)} row {event.position}: {to_json(event.row)}")
            for box, records in view.records(tuple(key.split(",")) if "," in key else key).items():
                for record in records:
                    n_found += 1
                    print(f"{box}: {to_json(record)}")
        if not n_found:
            raise StateError(f"{place}: nothing is held of the key {key!r}")


@state_app.command("export")
def export_command(
    place: Place,
    out: Annotated[str, typer.Argument(metavar="FILE", callback=output, help=".parquet, .jsonl or .csv; - is stdout.")],
    debug: Debug = False,
) -> None:
    """Write all open partial matches, a row each, with their keys and events."""
    with clear_errors(debug):
        sink = open_sink(out)
        try:
            for label, data in states_of(place):
                table = StateView(data).to_arrow()
                sink.write(table.add_column(0, "partition", pa.array([label or None] * len(table), pa.string())))
        finally:
            sink.close()


@state_app.command("save")
def save_command(
    place: Place,
    to: Annotated[str, typer.Argument(metavar="STORE#NAME", help="Where to, and under which name.")],
    debug: Debug = False,
) -> None:
    """Keep a state under a name, as a savepoint: it stays when checkpoints go."""
    store, _, name = to.partition("#")
    if not store or not name:
        raise typer.BadParameter(f"{to!r} is not STORE#NAME, e.g. saved#before-v2")
    with clear_errors(debug):
        data, manifest = _stored(place)
        position, fingerprint = (manifest.get(each) for each in ("position", "fingerprint"))
        Savepoints(open_store(store)).save(name, data, position=position, fingerprint=fingerprint or "")


def states_of(place: str) -> Iterator[tuple[str, bytes]]:
    """Yield the states at a place: one, or with partitions one of each, by the text of its value.

    Raises:
        StateError: there is none, or it is damaged.
    """
    data, _ = _stored(place)
    if data.startswith(b"FYKESNAP"):
        yield "", data
        return
    for value, state in read_partitions(data):
        yield "" if value is None else key_text(value), state


def _stored(place: str) -> tuple[bytes, dict[str, Any]]:
    """Return what is kept at a place, and the manifest of a checkpoint.

    Raises:
        StateError: there is nothing, or it is damaged.
    """
    path, _, name = place.partition("#")
    if os.path.isfile(path) and not path.endswith((".sqlite", ".db")):
        with open(path, "rb") as file:
            data = file.read()
        name = os.path.basename(path)
    else:
        store = open_store(path)
        names = store.list()
        if not names:
            raise StateError(f"{path}: holds no checkpoints")
        tasks = {each.rpartition(".")[0] for each in names if each.rpartition(".")[2].isdecimal()}
        if not name and len(tasks) > 1:
            raise StateError(f"{path}: holds checkpoints of several tasks: say which, {path}#{names[-1]}")
        name = name or max((each for each in names if each.rpartition(".")[2].isdecimal()), default=names[-1])
        data = store.load(name)
    if not data.startswith(b"FYKECKPT"):
        return data, {}
    manifest, payload = verified(data, name, f"{path}: {name}")
    return payload, manifest


def described(view: StateView, n_bytes: int) -> list[str]:
    """Say what is in a state, a line each."""
    lines = [f"{'stream' if view.is_stream else 'patterns'}, {n_bytes:,} bytes"]
    lines += [f"watermark of {name}: {_time(ns)}" for name, ns in view.watermarks.items()]
    for box in view.boxes.values():
        rows = {name: n for name, n in box.rows().items() if not name.startswith("side/")}
        if box.name:
            held = ", ".join(f"{n:,} {name}" for name, n in rows.items())
            lines.append(f"box {box.name}: {held or 'nothing held'}")
        if not box.is_matcher:
            continue
        lines.append(f"  rows waiting for the watermark: {rows.get('waiting', 0):,}")
        counts = Counter((each.pattern, each.waiting_for) for each in box.partials())
        keys = len({repr(each.key) for each in box.partials()})
        lines.append(f"  keys with something open: {keys:,}")
        for (pattern, stage), n in sorted(counts.items(), key=str):
            what = "complete, held back" if stage is None else f"waiting for {stage}"
            lines.append(f"  pattern {pattern}: {n:,} {what}")
    return lines


def definitions(one: StateView, other: StateView) -> str:
    """Say how the patterns or boxes that two states are of differ; empty where they do not."""
    if one.is_stream != other.is_stream:
        return "one is of patterns, the other of streams"
    if not one.is_stream:
        return difference(one.boxes[""].patterns(), other.boxes[""].patterns())
    graphs = [Graph(view.meta.get("definition")) for view in (one, other)]
    lines = difference_of_graphs(*graphs)
    for name, box in one.boxes.items():
        if name in other.boxes and box.is_matcher and other.boxes[name].is_matcher:
            lines.append(difference(box.patterns(), other.boxes[name].patterns()))
    return "\n".join(filter(None, lines))


def _time(ns: int | None) -> str:
    if ns is None or ns == 2**63 - 1:
        return "none yet" if ns is None else "the end"
    return f"{np.datetime64(ns, 'ns')}Z".replace("T", " ")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 140)
