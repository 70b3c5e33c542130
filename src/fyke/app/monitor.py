"""What an instance says of itself while it runs: a record that the loop makes now and then, for any thread to read.

The loop is the only one that looks at tasks; metrics, health checks and `App.status` read the last record it made. So
they cost it the same whoever asks, and how old the record is says whether the loop still turns.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fyke.app.runtime import AppStatistics, Runtime
from fyke.kafka.consumer import Partition
from fyke.operator import END, START

__all__ = ["Monitor", "Status", "Watchdog"]

log: Final = logging.getLogger("fyke.app")
EVERY_S: Final = 1.0
STALLED: Final = 70
"""The exit status of a process that its watchdog ended: that of an internal error (sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Status:
    """An instance at one moment.

    Attributes:
        app: its name.
        at: when, seconds since the epoch.
        statistics: counts.
        lag: records that wait in each partition, as far as its end is known.
        watermark_lag_s: how far each partition's watermark is behind the clock; None before the first record, and after
            the end.
        holding: of each task with several inputs, the partition whose time is the earliest: who holds it back.
        late, null_keys: rows, summed over the tasks that are ours; they move with their tasks.
        engine_bytes: what the engines hold.
        boxes: what each box counts, summed over the tasks.
        has_partitions: whether some are ours. is_member: whether the group has answered.
    """

    app: str
    at: float
    statistics: AppStatistics
    lag: Mapping[Partition, int | None]
    watermark_lag_s: Mapping[Partition, float | None]
    holding: Mapping[int, Partition]
    late: int
    null_keys: int
    engine_bytes: int
    boxes: Mapping[str, Mapping[str, int]]
    is_member: bool

    @property
    def has_partitions(self) -> bool:
        return bool(self.statistics.partitions)


def status_of(app: str, runtime: Runtime, at: float) -> Status:
    """Look at a runtime, on its own thread."""
    statistics = runtime.statistics()
    lag: dict[Partition, int | None] = {}
    behind: dict[Partition, float | None] = {}
    for partition, each in statistics.partitions.items():
        end = runtime.known_end(partition)
        lag[partition] = None if end is None else max(0, end - each.next)
        known = each.watermark is not None and START < each.watermark < END
        behind[partition] = at - each.watermark / 1e9 if known and each.watermark is not None else None
    holding = {}
    late = null_keys = held = 0
    boxes: dict[str, Counter[str]] = {}
    for task in runtime.tasks.values():
        counted = task.engine.statistics()
        late += counted.late
        null_keys += counted.null_keys
        held += counted.bytes
        for name, counts in counted.boxes.items():
            boxes.setdefault(name, Counter()).update(counts)
        if len(task.next) > 1:
            waiting = {p: task.watermark(p.topic) for p in task.next if not counted.inputs[p.topic].is_idle}
            if waiting:
                holding[task.number] = min(waiting, key=lambda p: waiting[p])
    return Status(
        app=app,
        at=at,
        statistics=statistics,
        lag=lag,
        watermark_lag_s=behind,
        holding=holding,
        late=late,
        null_keys=null_keys,
        engine_bytes=held,
        boxes=boxes,
        is_member=statistics.rebalances > 0,
    )


class Monitor:
    """Keeps the last status of an instance.

    Args:
        app: its name.
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._turned = time.monotonic()
        self._due = 0.0
        self._status: Status | None = None

    def turned(self, runtime: Runtime) -> None:
        """The loop has gone round once more; makes a status if the last is a second old."""
        self._turned = time.monotonic()
        if self._turned >= self._due:
            self._status = status_of(self._app, runtime, time.time())
            self._due = time.monotonic() + EVERY_S

    @property
    def status(self) -> Status | None:
        """The last status; None before the first."""
        return self._status

    @property
    def age_s(self) -> float:
        """Seconds since the loop last went round."""
        return time.monotonic() - self._turned


class Watchdog:
    """Ends the process when the loop of an app stands still: what supervises it starts it anew.

    A loop that hangs in a user's function or in a client cannot end itself. The stacks of all threads go to standard
    error first; nothing is committed, so nothing is lost.

    Args:
        monitor: of the app.
        after_s: how long the loop may stand still; longer than any commit, restore or call of a user's function takes.
    """

    def __init__(self, monitor: Monitor, after_s: float) -> None:
        self._monitor, self._after_s = monitor, after_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fyke-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._after_s / 4)):
            if self._monitor.age_s > self._after_s:
                log.critical("the loop has stood still for %.0f s: ending the process", self._monitor.age_s)
                logging.shutdown()
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
                os._exit(STALLED)
