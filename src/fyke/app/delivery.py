"""The two guarantees: what it takes that records are written, offsets committed, and that both are given up.

Exactly once: results and offsets are one transaction. At least once: results first, then offsets; whatever comes
between is processed again. All else is the same code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from confluent_kafka import TopicPartition

from fyke.kafka.consumer import Reader
from fyke.kafka.failures import BrokerError
from fyke.kafka.producer import Headers, Producer, Sent
from fyke.kafka.transaction import TransactionalProducer

__all__ = ["AtLeastOnce", "Delivery", "ExactlyOnce", "Guarantee"]

Guarantee: TypeAlias = Literal["exactly_once", "at_least_once"]


class Delivery(Protocol):
    """Writes, and commits what was written."""

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
        timestamp_ms: int = 0,
    ) -> None:
        """Write a record; see Producer.send."""
        ...

    def commit(self, offsets: Sequence[TopicPartition], reader: Reader, within_s: float) -> None:
        """Commit all that was sent, and the offsets.

        Raises:
            AbortNeeded: nothing is committed. ClientLost: that is not known.
        """
        ...

    def abort(self, within_s: float) -> None:
        """Take back what was sent, as far as that is possible.

        Raises:
            ClientLost: it did not work; say renew.
        """
        ...

    def renew(self, within_s: float) -> None:
        """Begin anew with another producer, which ends what the last one left open.

        Raises:
            ClientLost: that does not work either.
        """
        ...

    def sent(self) -> Sent:
        """Give the counts of the producer in use."""
        ...

    def close(self) -> None:
        """Let go of the producer."""
        ...


class ExactlyOnce:
    """Results and offsets in one transaction.

    Args:
        make: makes a producer of the instance's transactional id.
        within_s: to take possession of it.
    """

    def __init__(self, make: Callable[[], TransactionalProducer], within_s: float) -> None:
        self._make = make
        self._producer = make()
        self._producer.open(within_s)

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
        timestamp_ms: int = 0,
    ) -> None:
        if not self._producer.is_open:
            self._producer.begin()
        self._producer.send(topic, value, key, partition=partition, headers=headers, timestamp_ms=timestamp_ms)

    def commit(self, offsets: Sequence[TopicPartition], reader: Reader, within_s: float) -> None:
        if not self._producer.is_open:
            self._producer.begin()
        self._producer.commit(offsets, reader.membership(), within_s)

    def abort(self, within_s: float) -> None:
        self._producer.abort(within_s)

    def renew(self, within_s: float) -> None:
        self._producer.close()
        self._producer = self._make()
        self._producer.open(within_s)

    def sent(self) -> Sent:
        return self._producer.statistics()

    def close(self) -> None:
        self._producer.close()


class AtLeastOnce:
    """Results first, then offsets.

    Args:
        make: makes a producer.
    """

    def __init__(self, make: Callable[[], Producer]) -> None:
        self._make = make
        self._producer = make()

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
        timestamp_ms: int = 0,
    ) -> None:
        self._producer.send(topic, value, key, partition=partition, headers=headers, timestamp_ms=timestamp_ms)

    def commit(self, offsets: Sequence[TopicPartition], reader: Reader, within_s: float) -> None:
        self._producer.flush(within_s)
        reader.membership()
        reader.commit(list(offsets))

    def abort(self, within_s: float) -> None:
        with contextlib.suppress(BrokerError):  # what did not arrive is made again
            self._producer.flush(within_s)

    def renew(self, within_s: float) -> None:
        self._producer.close()
        self._producer = self._make()

    def sent(self) -> Sent:
        return self._producer.statistics()

    def close(self) -> None:
        self._producer.close()
