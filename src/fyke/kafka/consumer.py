"""Reading: batches of records per partition, in the order of their offsets, as fast as they come and as soon.

`poll` waits for one record and then drains what librdkafka has ready: asked for many at once it would wait until there
are many. Where reading stands is counted here, since the client's own position runs ahead of what was handed out. The
client commits nothing and resets nothing by itself; an offset that the broker has no longer is a policy's matter.
Changes of the group are told to a listener, within `poll` and on its thread.
"""

from __future__ import annotations

import gc
import itertools
import logging
import operator
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from fyke.errors import DataError, DefinitionError
from fyke.kafka.failures import AbortNeeded, BrokerError, ClientLost, Clock, NotAMember, error_of, repeated, told
from fyke.kafka.settings import is_incremental

__all__ = ["Chunk", "Listener", "OnGap", "Partition", "Reader", "Start"]

log: Final = logging.getLogger("fyke.kafka")

OnGap: TypeAlias = Literal["fail", "earliest", "latest"]
"""What to do where unread records are gone: stop, go on with the first there is, or with the next to come."""
Start: TypeAlias = Literal["earliest", "latest"]
"""Where to begin with a partition of which the group has committed nothing."""
Maker: TypeAlias = Callable[[dict[str, Any]], Any]

_ERROR: Final = operator.methodcaller("error")
_TOPIC: Final = operator.methodcaller("topic")
_PARTITION: Final = operator.methodcaller("partition")

# What no repeating mends: the topic or the permission is missing.
HOPELESS: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.UNSUPPORTED_ASSIGNOR,
    }
)


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition in the order of their offsets; there is at least one.

    Attributes:
        partition: where they are from.
        messages: the client's own records.
        next: the offset after the last of them.
    """

    partition: Partition
    messages: list[Any]
    next: int

    def __len__(self) -> int:
        return len(self.messages)


class Listener(Protocol):
    """Who is told of changes of the group. What is raised here comes out of `poll`."""

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Say where to read on in partitions that are ours from now on, as offsets."""
        ...

    def revoked(self, partitions: Collection[Partition]) -> None:
        """Finish with partitions that still are ours, and will not be after this."""
        ...

    def lost(self, partitions: Collection[Partition]) -> None:
        """Drop partitions that are somebody else's already: nothing of them may be committed."""
        ...


class Reader:
    """A member of a group, or a reader of given partitions. Not thread-safe.

    Args:
        settings: see settings.py.
        start: where to begin where nothing was committed.
        on_gap: what to do where unread records are gone.
        batch: the most records of one poll.
        make: makes the client; tests bring their own.
        clock: as time has it.

    Raises:
        DefinitionError: settings that librdkafka refuses.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        start: Start = "earliest",
        on_gap: OnGap = "fail",
        batch: int = 10_000,
        make: Maker = Client,
        clock: Clock = time,
    ) -> None:
        try:
            self._client = make(dict(settings))
        except KafkaException as raised:
            raise DefinitionError(f"settings of the consumer: {error_of(raised).str()}") from None
        self._is_incremental = is_incremental(settings)
        self._start, self._on_gap, self._batch, self._clock = start, on_gap, batch, clock
        self._next: dict[Partition, int] = {}
        self._only_topic: str | None = None
        self._listener: Listener | None = None
        self._raised: BaseException | None = None
        self._moved: set[Partition] = set()  # assigned, taken away or sought since the last poll began
        # Where a log was found to end, if enable.partition.eof asks for it: behind what marks transactions, too.
        self.ended: dict[Partition, int] = {}
        self.gaps: Counter[Partition] = Counter()
        self.errors: Counter[str] = Counter()

    # -- the group

    def subscribe(self, topics: Iterable[str], listener: Listener) -> None:
        """Join the group; partitions come and go from the next poll on."""
        self._listener = listener
        wanted = list(topics)
        self._only_topic = wanted[0] if len(wanted) == 1 else None
        self._client.subscribe(
            wanted, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions, from these offsets, without a group."""
        self._next = dict(positions)
        topics = {partition.topic for partition in positions}
        self._only_topic = topics.pop() if len(topics) == 1 else None
        self._client.assign(_placed(positions))

    # What a listener raises is kept, and raised when the client has settled the change and poll is back.

    def _on_assign(self, client: Any, given: list[TopicPartition]) -> None:
        assert self._listener is not None
        partitions = _named(given)
        try:
            positions = dict(self._listener.assigned(partitions))
        except BaseException as raised:
            self._raised = self._raised or raised
            return
        self._moved |= positions.keys()
        if self._is_incremental:
            self._next |= positions
            client.incremental_assign(_placed(positions))
        else:
            self._next = positions
            client.assign(_placed(positions))

    def _on_revoke(self, client: Any, given: list[TopicPartition]) -> None:
        assert self._listener is not None
        self._leave(client, given, self._listener.revoked)

    def _on_lost(self, client: Any, given: list[TopicPartition]) -> None:
        assert self._listener is not None
        self._leave(client, given, self._listener.lost)

    def _leave(self, client: Any, given: list[TopicPartition], tell: Callable[[list[Partition]], None]) -> None:
        partitions = _named(given)
        try:
            tell(partitions)
        except BaseException as raised:
            self._raised = self._raised or raised
        self._moved.update(partitions)
        for each in partitions:
            self._next.pop(each, None)
            self.ended.pop(each, None)
        if self._is_incremental:
            client.incremental_unassign(given)
        else:
            client.unassign()

    def membership(self) -> bytes:
        """Give the group metadata of now, which a transaction is fenced by.

        Raises:
            NotAMember: there is no generation in it; the broker would take it whatever the group does.
        """
        metadata: bytes = self._client.consumer_group_metadata()
        generation = generation_of(metadata)
        if generation < 0:
            raise NotAMember(f"this client is no member of its group now (generation {generation})")
        return metadata

    # -- records

    def poll(self, timeout_s: float) -> list[Chunk]:
        """Give what there is, waiting at most timeout_s for the first record. In order of arrival of their partitions.

        Raises:
            DataError: records that were not read are gone, and the policy is to fail.
            BrokerError: what repeating does not mend; ClientLost where the client is useless.
        """
        first = self._client.poll(timeout_s)
        self._moved.clear()
        self._reraise()
        if first is None:
            return []
        messages = [first, *self._drain()] if self._batch > 1 else [first]
        self._reraise()
        if any(map(_ERROR, messages)):  # without a loop of ours, for there are many
            for message in messages:
                if message.error() is not None:
                    self._failed(message)
            messages = [message for message in messages if message.error() is None]
        found = _by_place(messages, self._only_topic) if messages else {}
        return [
            self._chunk(Partition(*place), records)
            for place, records in found.items()
            if place in self._next and not self._is_stale(Partition(*place))
        ]

    def _drain(self) -> list[Any]:
        """What is ready. Many objects at once and no garbage among them: looking for it would take as long again."""
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            found: list[Any] = self._client.consume(self._batch - 1, 0)
        finally:
            if is_collecting:
                gc.enable()
        return found

    def _is_stale(self, partition: Partition) -> bool:
        """Whether the partition got a new position while its records were being drained: they come again from there."""
        if partition not in self._moved:
            return False
        self.seek(partition, self._next[partition])
        return True

    def _chunk(self, partition: Partition, messages: list[Any]) -> Chunk:
        first, after = messages[0].offset(), messages[-1].offset() + 1
        if first < self._next[partition] or after - first < len(messages):
            due = self._next[partition]
            raise DataError(f"{partition}: {due} is due, but {first} came; was the log cut off and written anew?")
        self._next[partition] = after
        return Chunk(partition, messages, after)

    def _reraise(self) -> None:
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def _failed(self, message: Any) -> None:
        error = message.error()
        partition = None if message.topic() is None else Partition(message.topic(), message.partition())
        if error.code() == KafkaError._PARTITION_EOF and partition is not None:
            if partition in self._next:
                self.ended[partition] = message.offset()
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition is not None:
            self._bridge(partition, error)
            return
        where = f"reading {partition}" if partition is not None and partition.number >= 0 else "reading"
        if error.fatal():
            raise ClientLost(f"{where}: {told(error)}")
        if error.code() in HOPELESS:
            raise BrokerError(f"{where}: {told(error)}")
        # The client goes on by itself: a broker that is away comes back, a group is joined again.
        self.errors[error.name()] += 1
        log.warning("%s: %s", where, told(error))

    def _bridge(self, partition: Partition, error: KafkaError) -> None:
        """The offset to read on from is not there any more."""
        if partition not in self._next:
            return  # of a partition that has gone meanwhile
        wanted = self._next[partition]
        low, high = self.ends(partition)
        lost = f"{low - wanted:,} records from there on are gone" if wanted < low else "the log ends before it"
        what = f"{partition}: offset {wanted} is due, but the log holds {low} to {high - 1}: {lost} ({error.str()})"
        if self._on_gap == "fail":
            raise DataError(f'{what}. To go on without them say on_offset_gap="earliest" or "latest"')
        self.gaps[partition] += 1
        log.error("%s; going on at the %s", what, self._on_gap)
        self.seek(partition, low if self._on_gap == "earliest" else high)

    # -- positions

    @property
    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition that is ours."""
        return dict(self._next)

    def committed(
        self, partitions: Iterable[Partition], within_s: float
    ) -> dict[Partition, tuple[int, str | None] | None]:
        """Ask for the group's committed offsets with their metadata; None where there is none.

        It waits for transactions that hold offsets of these partitions to end.

        Raises:
            ClientLost: no answer in time.
        """
        asked = [TopicPartition(*each) for each in partitions]
        if not asked:
            return {}
        answer = self._asked(lambda left: self._client.committed(asked, timeout=left), "committed offsets", within_s)
        for each in answer:
            if each.error is not None:
                raise BrokerError(f"committed offset of {each.topic}/{each.partition}: {told(each.error)}")
        return {
            Partition(each.topic, each.partition): (each.offset, each.metadata) if each.offset >= 0 else None
            for each in answer
        }

    def ends(self, partition: Partition, within_s: float = 10.0) -> tuple[int, int]:
        """Give the first offset of a partition, and the one after its last committed record."""
        ask = TopicPartition(*partition)
        low, high = self._asked(
            lambda left: self._client.get_watermark_offsets(ask, timeout=left), f"ends of {partition}", within_s
        )
        return low, high

    def known_end(self, partition: Partition) -> int | None:
        """Give the offset after the last committed record, as the client last heard of it; None before it did."""
        _, high = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return high if high >= 0 else None

    def _asked(self, call: Callable[[float], Any], what: str, within_s: float) -> Any:
        """Ask what may be asked twice: any error that may pass is waited for."""
        return repeated(
            call, what, within_s, self._clock, lambda error: not error.fatal() and error.code() not in HOPELESS
        )

    def beginning(self, partition: Partition, within_s: float = 10.0) -> int:
        """Give where to begin with a partition of which nothing was committed."""
        low, high = self.ends(partition, within_s)
        return low if self._start == "earliest" else high

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from another offset. What was drained already is the caller's to forget.

        Raises:
            ClientLost: the client refuses.
        """
        self._next[partition] = offset
        self._moved.add(partition)
        self.ended.pop(partition, None)
        to = TopicPartition(*partition, offset)
        try:
            try:
                self._client.seek(to)
            except KafkaException as raised:
                if error_of(raised).code() != KafkaError._STATE:
                    raise
                # It is not being fetched: assigned just now, or stopped at an offset that is not there. So: anew.
                if self._is_incremental:
                    self._client.incremental_unassign([to])
                    self._client.incremental_assign([to])
                else:
                    self._client.assign(_placed(self._next))
        except KafkaException as raised:
            raise ClientLost(f"seeking to {offset} in {partition}: {told(error_of(raised))}") from raised

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hand out nothing more of these, until resumed."""
        self._client.pause([TopicPartition(*each) for each in partitions])

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Hand them out again."""
        self._client.resume([TopicPartition(*each) for each in partitions])

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Commit offsets with their metadata, outside of a transaction, and wait for the answer.

        Raises:
            AbortNeeded: they are not committed.
        """
        try:
            answer = self._client.commit(offsets=offsets, asynchronous=False)
        except KafkaException as raised:
            raise AbortNeeded(f"committing offsets: {told(error_of(raised))}") from raised
        for each in answer:
            if each.error is not None:
                raise AbortNeeded(f"committing the offset of {each.topic}/{each.partition}: {told(each.error)}")

    def close(self) -> None:
        """Leave the group; the listener is told of what is revoked."""
        self._client.close()
        self._reraise()


def _by_place(messages: list[Any], topic: str | None) -> dict[tuple[str, int], list[Any]]:
    """Sort records by topic (None: they may be of several) and partition; they come in runs of equal ones."""
    numbers = np.fromiter(map(_PARTITION, messages), np.int64, len(messages))
    changes = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    topics = None if topic is not None else list(map(_TOPIC, messages))
    if topics is not None:
        others = [i for i in range(1, len(topics)) if topics[i] != topics[i - 1]]
        changes = np.union1d(changes, np.array(others, np.int64))
    found: dict[tuple[str, int], list[Any]] = {}
    for low, high in itertools.pairwise([0, *changes.tolist(), len(messages)]):
        place = (topic or (topics or [""])[low], int(numbers[low]))
        if place in found:
            found[place] += messages[low:high]
        else:
            found[place] = messages[low:high]
    return found


def generation_of(metadata: bytes) -> int:
    """Give the generation (or member epoch) in group metadata; it has none where it is below 0.

    >>> generation_of(b"CGMDv2:" + (5).to_bytes(4, "little") + b"group" + bytes(2) + b"member" + bytes(1))
    5
    """
    if not isinstance(metadata, bytes) or not metadata.startswith(b"CGMDv2:") or len(metadata) < 11:
        raise BrokerError(f"group metadata {metadata!r:.40} in a form that this version of fyke does not know")
    return int.from_bytes(metadata[7:11], sys.byteorder, signed=True)


def _named(given: Iterable[TopicPartition]) -> list[Partition]:
    return [Partition(each.topic, each.partition) for each in given]


def _placed(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(*partition, offset) for partition, offset in positions.items()]
