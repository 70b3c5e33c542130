"""checkpoint: an open partial match of fraud for each of n keys: snapshot, restore, a delta, the pause of a freeze."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from typing import Any

import numpy as np
import pyarrow as pa

from benches.case import Case, Options, Outcome, Subject, Target, Variant
from benches.workloads._fyke import fraud_pattern

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"what": what} for what in ("snapshot", "restore", "delta", "freeze")]
OPTIONS = {"time": "ts", "unit": "ms"}
PUSH_ROWS = 1_000


def rows(first: int, keys: np.ndarray, price: float) -> pa.Table:
    """Events 1 us apart, so that none times out however many there are."""
    n = len(keys)
    ts = pa.array(np.arange(first, first + n) * 1_000).cast(pa.timestamp("ns"))
    return pa.table({"ts": ts, "key": keys, "type": np.zeros(n, np.int64), "price": np.full(n, price)})


def filled(n: int, options: Options) -> Any:
    """Return an engine that holds a partial match of each of n keys."""
    import fyke

    engine = fyke.Engine(fraud_pattern(), time="ts")
    order = np.random.default_rng(1).permutation(n)
    for first in range(0, n, options.batch_rows):
        engine.push(rows(first, order[first : first + options.batch_rows], 5.0))
    engine.advance((n + 1) * 1_000)
    assert engine.statistics().partials == n
    return engine


def write(parts: list[Any]) -> None:
    """Write buffers to a file, and see to it that they are on the disk."""
    with tempfile.TemporaryFile() as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def case(n: int, variant: Variant, options: Options) -> Case:
    return {"snapshot": snapshot, "restore": restore, "delta": delta, "freeze": freeze}[str(variant["what"])](
        n, options
    )


def snapshot(n: int, options: Options) -> Case:
    engine = filled(n, options)
    state = engine.snapshot()
    bytes_per_key = engine.statistics().bytes / n

    def work(_: Any) -> Outcome:
        engine.snapshot()
        return Outcome(
            None,
            {
                "state_mb": len(state) / 1e6,
                "state_bytes_per_key": len(state) / n,
                "memory_bytes_per_key": bytes_per_key,
            },
        )

    return Case(
        events=n,
        matches=None,
        engine=Subject(work, is_fyke=True),
        references={"the same bytes to disk": Subject(lambda _: write([state]))},
        targets=(
            Target(
                "at most 3x the time of writing the same bytes",
                3.0,
                lambda s: s["engine"] / s["the same bytes to disk"],
            ),
        ),
    )


def restore(n: int, options: Options) -> Case:
    import fyke

    state = filled(n, options).snapshot()
    megabytes = len(state) / 1e6

    def work(_: Any) -> Outcome:
        fyke.Engine.restore(state, fraud_pattern(), time="ts")
        return Outcome(None, {"state_mb": megabytes})

    return Case(
        events=n,
        matches=None,
        engine=Subject(work, is_fyke=True),
        targets=(Target("at least 200 MB/s", 200.0, lambda s: megabytes / s["engine"], at_least=True),),
    )


def delta(n: int, options: Options) -> Case:
    """A hundredth of the keys takes an event between two deltas."""
    engine = filled(n, options)
    base = engine.snapshot(base=True)
    sizes: list[int] = []
    at = n + 1

    def prepare() -> None:
        nonlocal at
        some = np.random.default_rng(at).choice(n, n // 100, replace=False)
        engine.push(rows(at, some, 5.0))
        at += len(some)
        engine.advance((at + 1) * 1_000)

    def work(_: Any) -> Outcome:
        sizes.append(len(engine.delta()))
        return Outcome(None, {"delta_mb": sizes[-1] / 1e6, "base_mb": len(base) / 1e6})

    return Case(
        events=n // 100,
        matches=None,
        engine=Subject(work, prepare, is_fyke=True),
        references={"a whole snapshot": Subject(lambda _: Outcome(None, {"whole_mb": len(engine.snapshot()) / 1e6}))},
        targets=(
            Target(
                "1 % of the keys: at most 5 % of a snapshot's time", 0.05, lambda s: s["engine"] / s["a whole snapshot"]
            ),
        ),
    )


def freeze(n: int, options: Options) -> Case:
    """Rows go on, 1,000 a push, each of a key that holds a partial match, while a checkpoint is made and written."""
    engine = filled(n, options)
    random = np.random.default_rng(2)
    at = n + 1

    def push() -> float:
        nonlocal at
        piece = rows(at, random.integers(0, n, PUSH_ROWS), 50.0)
        at += PUSH_ROWS
        begin = time.perf_counter()
        engine.push(piece)
        return time.perf_counter() - begin

    def work(_: Any) -> Outcome:
        alone = [push() for _ in range(200)]
        begin = time.perf_counter()
        frozen = engine.freeze()
        frozen_at = time.perf_counter() - begin
        collecting, writing = [], []
        while not frozen.ready:
            collecting.append(push())
        writer = threading.Thread(target=lambda: write(list(frozen.parts())))
        writer.start()
        while writer.is_alive():
            writing.append(push())
        usual = float(np.median(alone))
        pause = max(frozen_at, max(collecting) - usual)
        figures = {
            "freeze_ms": frozen_at,
            "usual_push_ms": usual,
            "slowest_usual_push_ms": max(alone),
            "pause_ms": pause,
            "median_push_while_copying_ms": float(np.median(collecting)),
            "p99_push_while_writing_ms": float(np.percentile(writing, 99)),
            "slowest_push_while_writing_ms": max(writing),
        }
        return Outcome(
            None, {name: value * 1e3 for name, value in figures.items()} | {"pushes_while_copying": len(collecting)}
        )

    return Case(
        events=n,
        matches=None,
        engine=Subject(work, is_fyke=True),
        targets=(Target("processing pauses at most 10 ms", 10.0, lambda s: s["pause_ms"]),),
    )
