"""`python -m benches.soak --events 100000000`: windows over keys that come and go; memory stays flat, nothing is left.

A row a millisecond with disorder of a second. Of KEYS keys in use at a time a new one takes the place of an old one
every KEY_EVENTS / KEYS rows, so that each is used for KEY_EVENTS rows and never again. The resident size and what the
engine says it holds are read after every hundredth; the run fails if they grow once a tenth is done, or if a key or a
window is left in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

import fyke
from benches.data import mix
from fyke import agg, col, hopping, session, tumbling

KEYS = 10_000
KEY_EVENTS = 1_000_000
BATCH = 100_000
DISORDER_MS = 1_000
ALLOWED_GROWTH = 1.10
SETTLED_EVENTS = 1_000_000
HELD = ("keys", "windows", "groups", "timers", "held_rows", "partials", "held", "waiting", "segments")


def streams() -> dict[str, fyke.Stream]:
    """Give the graph: three kinds of windows and a pattern over one source."""
    source = fyke.stream("rows", time="ts", unit="ms", out_of_order=f"{DISORDER_MS}ms")
    keyed = source.key_by("key")
    sums = {"n": agg.count(), "total": agg.sum("price"), "most": agg.max("price")}
    low_then_high = fyke.begin("low", col.price < 10).followed_by("high", col.price > 990).within("20s")
    return {
        "tumbling": keyed.window(tumbling("60s")).aggregate(**sums),
        "hopping": keyed.window(hopping("60s", "10s")).aggregate(**sums),
        "session": keyed.window(session("30s"), allowed_lateness="10s").aggregate(**sums),
        "matches": keyed.match(low_then_high),
    }


def rows(first: int, n: int) -> pa.Table:
    """Give rows first to first + n of the stream."""
    number = np.arange(first, first + n, dtype=np.uint64)
    bits = mix(number * np.uint64(0x9E3779B97F4A7C15))
    oldest = number // np.uint64(KEY_EVENTS // KEYS)
    return pa.table(
        {
            "ts": number.astype(np.int64) - (bits % np.uint64(DISORDER_MS)).astype(np.int64),
            "key": (oldest + (bits >> np.uint64(20)) % np.uint64(KEYS)).astype(np.int64),
            "price": ((bits >> np.uint64(33)) & np.uint64(0xFFFF)) / 65.536,
        }
    )


def resident_mb() -> float:
    """Give the resident size of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benches.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000_000)
    events = parser.parse_args(arguments).events
    engine = fyke.Engine(streams())
    found = dict.fromkeys(streams(), 0)
    early: tuple[float, int] | None = None
    held_mb, held = 0.0, 0
    settled = min(events // 2, max(events // 10, SETTLED_EVENTS))
    began = time.monotonic()
    for first in range(0, events, BATCH):
        results = engine.push(rows(first, min(BATCH, events - first)))
        for name in found:
            found[name] += len(results[name])
        done = first + BATCH
        if done % max(BATCH, events // 100 // BATCH * BATCH) == 0:
            held_mb, held = max(held_mb, resident_mb()), max(held, engine.statistics().bytes)
            if early is None and done >= settled:
                early = (held_mb, held)
                held_mb, held = 0.0, 0
    results = engine.flush()
    for name in found:
        found[name] += len(results[name])
    statistics = engine.statistics()
    left = {
        f"{box}.{what}": count
        for box, counts in statistics.boxes.items()
        for what, count in counts.items()
        if what in HELD and count
    }
    assert early is not None
    report = {
        "events": events, "seconds": round(time.monotonic() - began, 1), "late": statistics.late, "results": found,
        "resident_mb": [round(early[0]), round(held_mb)], "held_bytes": [early[1], held], "left": left,
    }  # fmt: skip
    print(json.dumps(report))
    grown = held_mb > early[0] * ALLOWED_GROWTH or held > early[1] * ALLOWED_GROWTH
    return 1 if grown or left else 0


if __name__ == "__main__":
    sys.exit(main())
