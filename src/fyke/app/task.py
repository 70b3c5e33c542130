"""A task: partition p of all inputs, an engine over them, and up to where their records are in it.

Its state is a blob, named by a checkpoint id and guarded by a CRC that is committed beside the offsets:

    u32 length of the header | header, JSON | a snapshot of the engine | what each merge holds
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from fyke.app.merge import Merge
from fyke.app.plan import Plan
from fyke.app.rekey import Sender
from fyke.errors import StateError
from fyke.graph import StreamEngine
from fyke.kafka.consumer import Partition
from fyke.kafka.offsets import Committed, number_of
from fyke.operator import START

__all__ = ["NOWHERE", "NO_STATE", "Point", "Task", "crc_of", "read_blob"]

_HEAD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Point:
    """A state that was committed: what giving up goes back to.

    Attributes:
        cid: the checkpoint; None: nothing was ever committed.
        crc: of its blob.
    """

    cid: str | None
    crc: int

    @property
    def number(self) -> int:
        """The number in the checkpoint's name; 0 before the first."""
        return 0 if self.cid is None else number_of(self.cid)


NOWHERE = Point(None, 0)
NO_STATE = 0
"""The checksum of what has no state."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a state holds; see Task."""

    engine: StreamEngine
    merges: Mapping[str, Merge]
    senders: Mapping[str, Sender]
    loading: Mapping[Partition, int]


class Task:
    """Runs the graph over one partition number.

    Attributes:
        number: of the partitions.
        next: the first offset of each input that is not in the engine, or in what waits before it.
        point: the last committed state.
        is_dirty: whether anything has changed since.
        heard: when each input last had a record, on the monotonic clock.
        loading: partitions of tables that are read first, and up to where.
        merges: by rekey topic that it reads. senders: by outlet that is one.
    """

    def __init__(
        self,
        number: int,
        engine: StreamEngine,
        next: Mapping[Partition, int],
        point: Point,
        now: float,
        merges: Mapping[str, Merge] | None = None,
        senders: Mapping[str, Sender] | None = None,
    ) -> None:
        self.number = number
        self.engine = engine
        self.next = dict(next)
        self.point = point
        self.is_dirty = False
        self.heard = dict.fromkeys((partition.topic for partition in next), now)
        self.poison_in_a_row: dict[str, int] = {}
        self.merges, self.senders = dict(merges or {}), dict(senders or {})
        self.loading: dict[Partition, int] = {}

    def watermark(self, topic: str) -> int:
        """Give the watermark of an input, ns; START before the first."""
        known = self.engine.statistics().inputs[topic].watermark
        return START if known is None else known

    def blob(self, partitions: int) -> bytes:
        """Write the state; `partitions`: how many there are of each topic."""
        snapshot = self.engine.snapshot()
        merges = {topic: merge.export() for topic, merge in self.merges.items()}
        header = {
            "task": self.number,
            "partitions": partitions,
            "next": {p.topic: n for p, n in self.next.items()},
            "snapshot": len(snapshot),
            "merges": {topic: len(data) for topic, data in merges.items()},
            "loading": {p.topic: end for p, end in self.loading.items()},
            "told": {name: [sender.watermark, sender.is_idle] for name, sender in self.senders.items()},
        }
        text = json.dumps(header).encode()
        return b"".join([_HEAD.pack(len(text)), text, snapshot, *merges.values()])

    def offsets(self, point: Point) -> list[TopicPartition]:
        """Give what is to be committed with a state."""
        assert point.cid is not None
        return [
            TopicPartition(*partition, n, Committed(point.cid, n, self.watermark(partition.topic), point.crc).text())
            for partition, n in self.next.items()
        ]


def crc_of(blob: bytes) -> int:
    """Give the checksum that is committed beside the offsets; never NO_STATE."""
    return zlib.crc32(blob) or 1


def read_blob(blob: bytes, point: Point, number: int, partitions: int, plan: Plan) -> Restored:
    """Give what a state holds.

    Raises:
        StateError: it is not what was committed, of other streams, or of another number of partitions.
    """
    where = f"task {number}, checkpoint {point.cid}"
    if crc_of(blob) != point.crc:
        raise StateError(f"{where}: CRC {crc_of(blob):08x}, but {point.crc:08x} was committed: it is damaged")
    (length,) = _HEAD.unpack_from(blob)
    at = _HEAD.size + length
    header = json.loads(blob[_HEAD.size : at])
    if header["partitions"] != partitions:
        raise StateError(
            f"{where}: the inputs had {header['partitions']} partitions and have {partitions}, so keys are in other "
            "partitions than their state. Process what was written before with the old state, then begin with a new one"
        )
    engine = StreamEngine.restore(blob[at : at + header["snapshot"]], plan.streams)
    at += header["snapshot"]
    merges = {}
    for topic, size in header["merges"].items():
        merges[topic] = Merge.restore(plan.rekeyed[topic], blob[at : at + size])
        at += size
    senders = {}
    for name, rekey in plan.rekeys.items():
        watermark, is_idle = header["told"][name]
        senders[name] = Sender(rekey, number, watermark, is_idle)
    loading = {Partition(topic, number): end for topic, end in header["loading"].items()}
    return Restored(engine, merges, senders, loading)


def together(partitions: Sequence[Partition]) -> dict[int, list[Partition]]:
    """Sort partitions by number, which is that of their task."""
    found: dict[int, list[Partition]] = {}
    for partition in partitions:
        found.setdefault(partition.number, []).append(partition)
    return found
