"""What a client's error asks for: the same call again, an abort, a new client, or the end.

librdkafka marks its errors, and the marks decide: retriable -> the same call again, until a deadline; abort required ->
AbortNeeded; everything else leaves the client useless -> ClientLost. A caller of ours never looks at error codes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from fyke.errors import FykeError

__all__ = ["AbortNeeded", "BrokerError", "ClientLost", "NotAMember", "Stuck", "bounded", "repeated"]

T = TypeVar("T")
PAUSE_S: Final = 0.05
GRACE_S: Final = 5.0


class BrokerError(FykeError):
    """Kafka cannot be reached or refuses what is asked for; the text says what was asked and what it answered."""


class AbortNeeded(BrokerError):
    """The transaction cannot be committed. Abort it, take the last committed state, and go on from there."""


class NotAMember(AbortNeeded):
    """The group has gone on without this member: its partitions are somebody else's."""


class ClientLost(BrokerError):
    """The client is of no use any more: another one with its id has started, or what it did last is unknown.

    Make a new one (which ends what this one left open) and ask the broker for what was committed.
    """


class Stuck(ClientLost):
    """The client does not come back from a call. It must not be touched again."""


class Clock(Protocol):
    """What repeating needs of time; tests bring their own."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


def repeated(
    call: Callable[[float], T],
    what: str,
    within_s: float,
    clock: Clock = time,
    may_pass: Callable[[KafkaError], bool] = KafkaError.retriable,
) -> T:
    """Call with the seconds that are left, again and again while its error may pass.

    Args:
        call: does one attempt.
        what: what is attempted, for the message.
        within_s: for all attempts together; one is always made.
        clock: as time has it.
        may_pass: whether the same call is worth another attempt.

    Raises:
        AbortNeeded: the transaction must be aborted.
        ClientLost: the client is useless, or the outcome is unknown because the time is over.
    """
    deadline = clock.monotonic() + within_s
    while True:
        try:
            return call(max(deadline - clock.monotonic(), 0.001))
        except KafkaException as raised:
            error = error_of(raised)
            if error.txn_requires_abort():
                raise AbortNeeded(f"{what}: {told(error)}") from raised
            if not may_pass(error):
                raise ClientLost(f"{what}: {told(error)}") from raised
            if clock.monotonic() >= deadline:
                unknown = f"no answer within {within_s:g} s, so the outcome is unknown"
                raise ClientLost(f"{what}: {unknown}: {told(error)}") from raised
        clock.sleep(min(PAUSE_S, max(deadline - clock.monotonic(), 0)))


def bounded(call: Callable[[float], T], what: str, grace_s: float = GRACE_S) -> Callable[[float], T]:
    """Give a call that does not wait much longer than it was told to, whatever the client does.

    A client has been seen to wait for ever in a call with a time limit, after the broker was restarted
    (send_offsets_to_transaction, librdkafka 2.16). The call is made in a thread, which is left alone if it does not
    come back; the client is of no use any more then, and must not be touched.

    Raises:
        Stuck: it did not come back grace_s after its time.
    """

    def in_time(left: float) -> T:
        done: list[tuple[bool, Any]] = []

        def run() -> None:
            try:
                done.append((True, call(left)))
            except BaseException as raised:
                done.append((False, raised))

        thread = threading.Thread(target=run, name=f"fyke {what}", daemon=True)
        thread.start()
        thread.join(left + grace_s)
        if not done:
            raise Stuck(f"{what}: the client did not come back {grace_s:g} s after its time of {left:g} s was over")
        is_good, value = done[0]
        if not is_good:
            raise value
        result: T = value
        return result

    return in_time


def error_of(raised: KafkaException) -> KafkaError:
    """Give the error in an exception."""
    error: KafkaError = raised.args[0]
    return error


def told(error: Any) -> str:
    """Say an error in words, with its name.

    >>> told(KafkaError(KafkaError._TIMED_OUT))
    '_TIMED_OUT: Local: Timed out'
    """
    return f"{error.name()}: {error.str()}"
