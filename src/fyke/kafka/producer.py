"""Writing records: what the two guarantees share, and the one that needs no transaction.

Records are handed to librdkafka, which sends them from threads of its own in batches. Only failed deliveries are
reported back, and they are counted; nothing is called per record. `flush` says whether all that was handed over since
the last one has arrived. See transaction.py for exactly-once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from fyke.errors import DefinitionError
from fyke.kafka.failures import AbortNeeded, BrokerError, ClientLost, Clock, error_of, told

__all__ = ["Headers", "Producer", "Sent"]

Headers: TypeAlias = "Sequence[tuple[str, bytes | None]]"
Maker: TypeAlias = Callable[[dict[str, Any]], Any]

POLL_EVERY: Final = 1024
FULL_POLL_S: Final = 0.1
# What an abort leaves of records that were on their way: meant, and no failure.
PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


@dataclass(frozen=True, slots=True)
class Sent:
    """Counts of a producer since its start.

    Attributes:
        records: handed over.
        failed: that did not arrive, because of an error.
        purged: that an abort took back before they left.
        waits: how often the queue was full.
    """

    records: int
    failed: int
    purged: int
    waits: int


class Producer:
    """Writes records, at least once.

    Args:
        settings: see settings.py.
        make: makes the client; tests bring their own.
        clock: as time has it.

    Raises:
        DefinitionError: settings that librdkafka refuses.
    """

    def __init__(self, settings: Mapping[str, Any], make: Maker = Client, clock: Clock = time) -> None:
        try:
            self._client = make({**settings, "on_delivery": self._delivered})
        except KafkaException as raised:
            raise DefinitionError(f"settings of the producer: {error_of(raised).str()}") from None
        self._clock = clock
        self._records = self._failed = self._purged = self._waits = 0
        self._failed_before = 0
        self._failure: KafkaError | None = None

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        if error is None:
            return
        if error.code() in PURGED:
            self._purged += 1
        else:
            self._failed += 1
            self._failure = self._failure or error

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
        timestamp_ms: int = 0,
        within_s: float = 30.0,
    ) -> None:
        """Hand a record over; it waits while the queue is full.

        Args:
            partition: -1: chosen by the key's hash, as Java's clients do.
            timestamp_ms: the record's time; 0: now.
            within_s: how long a full queue is waited for.

        Raises:
            BrokerError: the record cannot be written, ever (too large, no such partition).
            AbortNeeded, ClientLost: nothing can be written now, or any more; see failures.py.
        """
        given: dict[str, Any] = {"partition": partition, "timestamp": timestamp_ms}
        if headers is not None:
            given["headers"] = list(headers)
        deadline: float | None = None
        while True:
            try:
                self._client.produce(topic, value, key, **given)
                break
            except BufferError:
                deadline = deadline or self._clock.monotonic() + within_s
                if self._clock.monotonic() >= deadline:
                    raise ClientLost(f"writing to {topic}: the queue was full for {within_s:g} s") from None
                self._waits += 1
                self._client.poll(FULL_POLL_S)
            except KafkaException as raised:
                raise _refused(error_of(raised), topic, value) from raised
        self._records += 1
        if self._records % POLL_EVERY == 0:
            self._client.poll(0)

    def flush(self, within_s: float) -> None:
        """Wait until all records have arrived.

        Raises:
            AbortNeeded: some did not arrive, or not in time. What was read for them must be read again.
        """
        left = self._client.flush(within_s)
        failed, failure = self._failed - self._failed_before, self._failure
        self._forget_failures()
        if failed and failure is not None:
            raise AbortNeeded(f"{failed:,} records were not delivered; the first because of {told(failure)}")
        if left:
            raise AbortNeeded(f"{left:,} records were not delivered within {within_s:g} s")

    def _forget_failures(self) -> None:
        self._failed_before, self._failure = self._failed, None

    def statistics(self) -> Sent:
        """Give the counts."""
        return Sent(self._records, self._failed, self._purged, self._waits)

    def close(self) -> None:
        """Let go of the client; what was not flushed is dropped."""
        self._client.purge()
        self._client.flush(0)


def _refused(error: KafkaError, topic: str, value: bytes | None) -> BrokerError:
    if error.fatal():
        return ClientLost(f"writing to {topic}: {told(error)}")
    if error.code() in (KafkaError._STATE, KafkaError._CONFLICT) or error.txn_requires_abort():
        return AbortNeeded(f"writing to {topic}: {told(error)}")
    return BrokerError(f"writing {len(value or b''):,} bytes to {topic}: {told(error)}")
