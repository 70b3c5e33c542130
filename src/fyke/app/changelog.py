"""States of tasks in a compacted topic: written in the transaction that names them, read by whoever gets the partition.

A state goes to the partition of its task's number, in chunks:

    key    task/parity/chunk        of the checkpoint's number, so that compaction keeps the last two states
    header cid, chunks              which state it is a part of, and of how many parts

What was read or written last is kept in memory too, so that giving up needs no reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from fyke.app.delivery import Delivery
from fyke.errors import StateError
from fyke.kafka.consumer import Partition, Reader
from fyke.kafka.failures import ClientLost, Clock
from fyke.kafka.offsets import number_of

__all__ = ["SETTINGS", "Changelog", "changelog_of"]

CHUNK: Final = 512 << 10
"""Bytes of a chunk: half of what a broker takes by default (message.max.bytes)."""
SETTINGS: Final = {"cleanup.policy": "compact"}


def changelog_of(app: str) -> str:
    """Give the name of an app's changelog topic."""
    return f"{app}-changelog"


class Changelog:
    """Keeps states in a topic.

    Args:
        topic: compacted, with as many partitions as there are tasks.
        delivery: writes with the results.
        open_reader: makes a reader of committed records, which tells the ends of logs.
        end: gives the offset after the last record of a partition, committed or not. The last stable offset could miss
            a transaction that is committed already and only being ended.
        within_s: for reading a state.
        clock: as time has it.
    """

    def __init__(
        self,
        topic: str,
        delivery: Delivery,
        open_reader: Callable[[], Reader],
        end: Callable[[Partition], int],
        *,
        within_s: float = 60.0,
        chunk: int = CHUNK,
        clock: Clock = time,
    ) -> None:
        self._topic, self._delivery, self._open_reader, self._end = topic, delivery, open_reader, end
        self._within_s, self._chunk, self._clock = within_s, chunk, clock
        self._known: dict[int, dict[str, bytes]] = {}
        self._chunks: dict[tuple[int, int], int] = {}  # of each task and parity, as last written

    def save(self, task: int, cid: str, blob: bytes) -> None:
        parity = number_of(cid) % 2
        n = max(1, -(-len(blob) // self._chunk))
        headers = [("cid", cid.encode()), ("chunks", str(n).encode())]
        for i in range(n):
            part = blob[i * self._chunk : (i + 1) * self._chunk]
            self._delivery.send(self._topic, part, _key(task, parity, i), partition=task, headers=headers)
        for i in range(n, self._chunks.get((task, parity), n)):  # a larger state was there before
            self._delivery.send(self._topic, None, _key(task, parity, i), partition=task)
        self._chunks[task, parity] = n
        self._known.setdefault(task, {})[cid] = blob

    def load(self, task: int, cid: str) -> bytes:
        known = self._known.get(task, {}).get(cid)
        if known is not None:
            return known
        blob = self._read(Partition(self._topic, task), cid)
        self._known[task] = {cid: blob}
        return blob

    def _read(self, partition: Partition, cid: str) -> bytes:
        end = self._end(partition)
        reader = self._open_reader()
        parts: dict[int, bytes] = {}
        n = 1
        try:
            reader.assign({partition: reader.ends(partition)[0]})
            deadline = self._clock.monotonic() + self._within_s
            while max(reader.positions[partition], reader.ended.get(partition, 0)) < end:
                if self._clock.monotonic() > deadline:
                    at = reader.positions[partition]
                    raise ClientLost(f"{partition}: read up to {at} of {end} within {self._within_s:g} s")
                for chunk in reader.poll(0.1):
                    for message in chunk.messages:
                        headers: dict[str, Any] = dict(message.headers() or ())
                        if headers.get("cid") == cid.encode():
                            parts[int(message.key().rpartition(b"/")[2])] = message.value()
                            n = int(headers["chunks"])
        finally:
            reader.close()
        if sorted(parts) != list(range(n)):
            raise StateError(
                f"{partition}: the state {cid} is not there ({len(parts)} of {n} parts): was the topic made anew, or "
                "has it another cleanup.policy than compact?"
            )
        return b"".join(parts[i] for i in range(n))

    def drop(self, task: int, kept: str) -> None:
        known = self._known.get(task, {})
        self._known[task] = {cid: blob for cid, blob in known.items() if cid == kept}

    def forget(self, task: int) -> None:
        """The task has gone to another instance: what is known of it is of no use."""
        self._known.pop(task, None)
        self._chunks = {place: n for place, n in self._chunks.items() if place[0] != task}

    def close(self) -> None:
        pass


def _key(task: int, parity: int, chunk: int) -> bytes:
    return f"{task}/{parity}/{chunk}".encode()
