"""The settings of the clients: ours where a guarantee or a known trap is at stake, the user's for all else.

What the user gives goes to librdkafka as it is, `consumer.` and `producer.` before a name limit it to one of them.
Secrets stay out of reprs and messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from fyke.errors import DefinitionError

__all__ = [
    "Assignor",
    "Protocol",
    "Settings",
    "admin_settings",
    "consumer_settings",
    "is_incremental",
    "producer_settings",
]

Protocol: TypeAlias = Literal["classic", "consumer"]
"""How a group is coordinated: by its members (classic), or by the broker (consumer, KIP-848, Kafka 4.0 or later)."""
Assignor: TypeAlias = Literal["balanced", "together"]
"""Which member gets what: evenly, or the same partition numbers of all topics, as a task with two inputs needs."""

CONSUMER: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",  # aborted results of another application are no events; also: stable offsets
    "auto.offset.reset": "error",  # an offset that is no longer there is a loss; see on_offset_gap
    "fetch.queue.backoff.ms": 20,  # 1,000 by default: a second's stall whenever the queue was full
    "fetch.wait.max.ms": 50,
    "fetch.message.max.bytes": 4 << 20,
    "queued.max.messages.kbytes": 64 << 10,
}
CLASSIC: Final[Mapping[str, Any]] = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 1_000}
PRODUCER: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",  # that of Java's clients, so that equal keys meet in equal partitions
    "linger.ms": 20,  # a commit does not wait for it
    "batch.size": 1_000_000,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 128 << 10,
    "delivery.report.only.error": True,
}
# Not to be set: a guarantee would be void, or there is an argument for it.
REFUSED: Final[Mapping[str, str]] = {
    "bootstrap.servers": "say brokers=",
    "metadata.broker.list": "say brokers=",
    "group.id": "the group has the application's name",
    "group.protocol": "say group_protocol=",
    "group.remote.assignor": "it follows from the inputs of the tasks",
    "partition.assignment.strategy": "it follows from the inputs of the tasks",
    "enable.auto.commit": "offsets are committed with the results",
    "enable.auto.offset.store": "offsets are committed with the results",
    "isolation.level": "records of aborted transactions are no events",
    "auto.offset.reset": "say start= and on_offset_gap=",
    "transactional.id": "it follows from application and instance",
    "enable.idempotence": "without it records may be doubled or change their order",
    "acks": "without acks=all a commit may be lost",
    "delivery.report.only.error": "failed deliveries are counted",
}
_SECRET: Final = re.compile(r"password|secret|\.pem$|username|oauthbearer\.config|client\.secret|token", re.IGNORECASE)


class Settings(Mapping[str, Any]):
    """Settings of one client. Shown without its secrets.

    >>> Settings({"sasl.password": "sesame", "linger.ms": 5})
    Settings({'sasl.password': '***', 'linger.ms': 5})
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = {name: "***" if _SECRET.search(name) else value for name, value in self.items()}
        return f"Settings({shown})"


def consumer_settings(
    brokers: str,
    group: str,
    *,
    protocol: Protocol = "classic",
    assignor: Assignor = "balanced",
    member: str | None = None,
    user: Mapping[str, Any] | None = None,
) -> Settings:
    """Give the settings of the consumer.

    Args:
        brokers: host:port, several with commas between them.
        group: the group's name.
        protocol: how the group is coordinated.
        assignor: "together" where a task has several inputs.
        member: the name of a static member (group.instance.id): a restart within the session moves nothing.
        user: the user's own.

    Raises:
        DefinitionError: a setting that is not the user's to make.
    """
    together = assignor == "together"
    if protocol == "consumer":
        ours = {"group.protocol": "consumer", "group.remote.assignor": "range" if together else "uniform"}
    else:
        ours = {**CLASSIC, "partition.assignment.strategy": "range" if together else "cooperative-sticky"}
    if member is not None:
        ours["group.instance.id"] = member
    ours |= {"bootstrap.servers": brokers, "group.id": group, "client.id": group}
    return Settings({**CONSUMER, **ours, **_of(user, "consumer")})


def producer_settings(
    brokers: str,
    app: str,
    *,
    transactional_id: str | None = None,
    transaction_timeout_ms: int = 15_000,
    user: Mapping[str, Any] | None = None,
) -> Settings:
    """Give the settings of the producer: transactional where an id is given.

    Args:
        brokers: host:port, several with commas between them.
        app: its name among the broker's clients.
        transactional_id: see identity.py.
        transaction_timeout_ms: after which the broker aborts what nobody ends; until then, readers wait.
        user: the user's own.

    Raises:
        DefinitionError: a setting that is not the user's to make.
    """
    ours: dict[str, Any] = {"bootstrap.servers": brokers, "client.id": app}
    if transactional_id is not None:
        ours |= {"transactional.id": transactional_id, "transaction.timeout.ms": transaction_timeout_ms}
    return Settings({**PRODUCER, **ours, **_of(user, "producer")})


def admin_settings(brokers: str, app: str, user: Mapping[str, Any] | None = None) -> Settings:
    """Give the settings of a client that asks the cluster: those of the user that are for all clients.

    Raises:
        DefinitionError: a setting that is not the user's to make.
    """
    return Settings({"bootstrap.servers": brokers, "client.id": app, **_of(user, "admin")})


def is_incremental(settings: Mapping[str, Any]) -> bool:
    """Tell whether partitions come and go one by one, rather than all of them at every change of the group."""
    return settings.get("group.protocol") == "consumer" or "cooperative" in settings.get(
        "partition.assignment.strategy", ""
    )


def _of(user: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    """The user's settings for one kind of client."""
    common: dict[str, Any] = {}
    special: dict[str, Any] = {}
    for name, value in (user or {}).items():
        prefix, _, rest = name.partition(".")
        is_special = prefix in ("consumer", "producer")
        plain = rest if is_special else name
        if plain in REFUSED:
            raise DefinitionError(f'setting "{name}" is not for the user to make: {REFUSED[plain]}')
        if callable(value):
            raise DefinitionError(f'setting "{name}": a callback cannot be given')
        if not is_special:
            common[name] = value
        elif prefix == kind:
            special[rest] = value
    return common | special
