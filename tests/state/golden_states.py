"""What the golden snapshots are of: definitions and rows that must never change.

    python -m tests.state.golden_states FOLDER    writes the snapshots of this version, FOLDER/NAME.state
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

import fyke
from fyke import Process, ValueState, agg, begin, col, join, prev, ref, session, sliding, stream, tumbling

START = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
SCHEMA = pa.schema({"t": pa.int64(), "k": pa.string(), "v": pa.int64()})
ROWS = [{"t": 3 * i + (i * 7) % 5, "k": "xyz"[i * i % 3], "v": i * 5 % 11} for i in range(60)]


class Sum(Process):
    """Adds up, and says so five seconds after the first row."""

    total = ValueState(int)

    def on_row(self, row: Any, ctx: Any) -> None:
        if self.total.get(0) == 0:
            ctx.set_timer(after="5s")
        self.total.set(self.total.get(0) + row["v"])

    def on_timer(self, name: str, ctx: Any) -> dict[str, Any]:
        total = self.total.get(0)
        self.total.clear()
        return {"k": ctx.key, "total": total}


@dataclass(frozen=True)
class Golden:
    """One definition, and the rows before and after its snapshot."""

    make: Callable[[], Any]
    restore: Callable[[bytes], Any]
    before: list[Any]
    after: list[Any]


def of_patterns(patterns: Any, before: list[Any], after: list[Any], **options: Any) -> Golden:
    return Golden(
        lambda: fyke.Engine(patterns, **options),
        lambda state: fyke.Engine.restore(state, patterns, **options),
        before,
        after,
    )


def tables(rows: list[dict[str, Any]]) -> list[pa.Table]:
    return [pa.Table.from_pylist(rows[i : i + 9], schema=SCHEMA) for i in range(0, len(rows), 9)]


def dicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"at": START + dt.timedelta(seconds=row["t"]), "k": (row["k"], 1), "v": row["v"], "cost": Decimal(row["v"]) / 4}
        for row in rows
    ]


RISING = (
    begin("low", col.v < 4)
    .followed_by("more", (col.v > prev.v) | prev.v.is_null())
    .one_or_more()
    .followed_by("high", (col.v > ref("low").v + 4) & (ref("more").v.sum() < 60))
    .within("40s")
    .by("k")
    .skip(fyke.skip.to_next())
)
QUIET = begin("one", col.v == 7).not_followed_by("zero", col.v == 0).within("9s").by("k")
STRICT = begin("a", col.v < 8).next("b", col.v > 2).next("c", col.v > 5).by("k")
A = stream("a", time="t", unit="s", schema=SCHEMA, out_of_order="5s")
KEYED = A.key_by("k")
STREAMS = {
    "tumbling": KEYED.window(tumbling("10s"), allowed_lateness="4s").aggregate(n=agg.count(), v=agg.sum("v")),
    "session": KEYED.window(session("7s")).aggregate(mean=agg.mean("v"), last=agg.last("v")),
    "sliding": KEYED.window(sliding("12s")).aggregate(most=agg.max("v")),
    "joined": KEYED.join(A.filter(col.v > 6).key_by("k"), join.interval("-4s", "6s")),
    "latest": KEYED.aggregate(n=agg.count(), v=agg.sum("v")),
    "up": KEYED.match(begin("low", col.v < 4).followed_by("high", col.v > 5).within("12s").named("up")),
    "sums": KEYED.process(Sum, schema=pa.schema({"k": pa.string(), "total": pa.int64()})),
}
GOLDEN = {
    "patterns": of_patterns(
        {"rising": RISING, "quiet": QUIET}, tables(ROWS)[:3], tables(ROWS)[3:], time="t", unit="s", out_of_order="5s",
        schema=SCHEMA, timeouts=True,
    ),
    "strict": of_patterns(
        STRICT, tables(ROWS)[:3], tables(ROWS)[3:], time="t", unit="s", out_of_order="5s", schema=SCHEMA
    ),
    "dicts": of_patterns(RISING, [dicts(ROWS)[:30]], [dicts(ROWS)[30:]], time="at", out_of_order="5s"),
    "streams": Golden(
        lambda: fyke.Engine(STREAMS), lambda state: fyke.Engine.restore(state, STREAMS), tables(ROWS)[:3],
        tables(ROWS)[3:],
    ),
}  # fmt: skip


def filled(golden: Golden) -> Any:
    engine = golden.make()
    for rows in golden.before:
        engine.push(rows)
    return engine


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, golden in GOLDEN.items():
        (folder / f"{name}.state").write_bytes(filled(golden).snapshot())


if __name__ == "__main__":
    from tests.state import golden_states  # a process is known by its module's name, which is not __main__

    golden_states.write(Path(sys.argv[1]))
