"""The transactional producer: results and offsets become visible together, or not at all.

    open -> [begin -> send ... -> commit(offsets, membership) | abort] ...

`commit` is the only commit point. A call whose outcome is unknown is repeated, since librdkafka takes only the same
call then; when its time is over the producer is lost, and a new one with the same id decides: its start ends whatever
is open, and afterwards the broker's committed offsets tell what was committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Producer as Client
from confluent_kafka import TopicPartition

from fyke.kafka.failures import AbortNeeded, ClientLost, Clock, Stuck, bounded, repeated
from fyke.kafka.producer import Maker, Producer

__all__ = ["TransactionalProducer"]


class TransactionalProducer(Producer):
    """Writes records, exactly once, as one application instance's one thread.

    Args:
        settings: with transactional.id; see settings.py.
        make: makes the client; tests bring their own.
        clock: as time has it.
    """

    def __init__(self, settings: Mapping[str, Any], make: Maker = Client, clock: Clock = time) -> None:
        super().__init__(settings, make, clock)
        self._is_open = self._is_stuck = False

    def _repeated(self, call: Callable[[float], object], what: str, within_s: float) -> None:
        """Repeat a call as its errors ask for, and leave the client alone if it does not come back."""
        try:
            repeated(bounded(call, what), what, within_s, self._clock)
        except Stuck:
            self._is_stuck = True
            raise

    @property
    def is_open(self) -> bool:
        """Whether a transaction is under way."""
        return self._is_open

    def open(self, within_s: float) -> None:
        """Take possession of the id: fence its earlier owners and end what they left open.

        Raises:
            ClientLost: it did not work in time, or the id is not ours to use.
        """
        self._repeated(self._client.init_transactions, "init_transactions", within_s)

    def begin(self) -> None:
        """Begin a transaction; there must be none."""
        repeated(lambda _: self._client.begin_transaction(), "begin_transaction", 0, self._clock)
        self._is_open = True

    def commit(self, offsets: Sequence[TopicPartition], membership: bytes, within_s: float) -> None:
        """Send the offsets, with their metadata, into the transaction, and commit it.

        Args:
            offsets: of the inputs; see offsets.py for the metadata.
            membership: the consumer's group metadata of now (see Reader.membership).
            within_s: for everything: delivery of all records, offsets, the commit.

        Raises:
            AbortNeeded: it is not committed and must be aborted; a zombie ends up here.
            ClientLost: it may be committed or not; see above.
        """
        deadline = self._clock.monotonic() + within_s
        if offsets:
            self._repeated(
                lambda left: self._client.send_offsets_to_transaction(list(offsets), membership, left),
                "send_offsets_to_transaction",
                within_s,
            )
        self._repeated(self._client.commit_transaction, "commit_transaction", deadline - self._clock.monotonic())
        self._is_open = False
        self._forget_failures()

    def abort(self, within_s: float) -> None:
        """Take the transaction back; without one it does nothing.

        Raises:
            ClientLost: it did not work in time, or this producer was fenced.
        """
        if not self._is_open:
            return
        deadline = self._clock.monotonic() + within_s
        try:
            # An abort that overtakes the registration of the records' partitions is refused by the broker and loses the
            # producer (librdkafka #4849), so they are given a chance to arrive.
            self._client.flush(within_s / 2)
            left = deadline - self._clock.monotonic()
            self._repeated(self._client.abort_transaction, "abort_transaction", left)
        except AbortNeeded as refused:
            raise ClientLost(str(refused)) from refused
        finally:
            self._is_open = False
        self._forget_failures()

    def close(self) -> None:
        if not self._is_stuck:
            super().close()
