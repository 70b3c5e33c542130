"""What is asked of the cluster rather than of a partition: how topics are cut, new topics, a group's offsets anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from fyke.errors import DefinitionError
from fyke.kafka.consumer import Partition
from fyke.kafka.failures import BrokerError, ClientLost, error_of, repeated, told

AWAY: Final = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT})

__all__ = ["Admin", "Group", "When"]

When: TypeAlias = "str | int"
"""A place in a log: "earliest", "latest", or a time in ms since the epoch: the first record at or after it."""

SETTLES_S: Final = 2.0
"""For so long a topic may be new, and not known to every broker yet."""
PASSING: Final = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
    }
)


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group at one moment.

    Attributes:
        state: "stable", "empty", "dead", "preparing_rebalancing", ...
        assignor: of its partitions; "" where it has none.
        members: by their names, with the partitions that each has.
    """

    state: str
    assignor: str
    members: Mapping[str, frozenset[Partition]]


class Admin:
    """Asks a cluster.

    Args:
        settings: of any client of it; see settings.py.
        within_s: for each answer.
    """

    def __init__(self, settings: Mapping[str, Any], within_s: float = 15.0) -> None:
        self._client = AdminClient(dict(settings))
        self._within_s = within_s

    def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Give how many partitions each topic has.

        Raises:
            DefinitionError: a topic is not there. BrokerError: no answer.
        """
        deadline = time.monotonic() + SETTLES_S
        found: dict[str, int] = {}
        for topic in topics:
            about = self._about(topic)
            while (about.error is not None or not about.partitions) and time.monotonic() < deadline:
                time.sleep(0.1)
                about = self._about(topic)
            if about.error is not None or not about.partitions:
                raise DefinitionError(f'there is no topic "{topic}": {told(about.error) if about.error else "no"}')
            found[topic] = len(about.partitions)
        return found

    def _about(self, topic: str) -> Any:
        def ask(left: float) -> Any:
            return self._client.list_topics(topic, timeout=left).topics[topic]

        # An app that starts while its broker is away for a moment waits for it.
        return repeated(ask, f"asking for topic {topic}", self._within_s, may_pass=lambda e: e.code() in AWAY)

    def make(self, topic: str, partitions: int, settings: Mapping[str, str], replicas: int = -1) -> bool:
        """Make a topic unless it is there; return whether it was made. replicas -1: as many as the broker's default.

        Raises:
            BrokerError: it cannot be made.
        """
        wanted = NewTopic(topic, partitions, replicas, config=dict(settings))
        try:
            self._client.create_topics([wanted])[topic].result(self._within_s)
        except KafkaException as raised:
            if error_of(raised).code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise BrokerError(f"making topic {topic}: {told(error_of(raised))}") from raised
        return True

    def offsets(self, partitions: Iterable[Partition], when: When) -> dict[Partition, int]:
        """Give the offset that a place means in each partition; a time after the last record means its end.

        Raises:
            BrokerError: no answer.
        """
        if when == "earliest":
            spec: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        elif when == "latest":
            spec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        elif isinstance(when, int):
            spec = OffsetSpec.for_timestamp(when)
        else:
            raise DefinitionError(f'{when!r}: expected "earliest", "latest" or a time in ms')
        asked = list(partitions)
        answers = self._client.list_offsets({TopicPartition(*each): spec for each in asked})
        found: dict[Partition, int] = {}
        try:
            for each, answer in answers.items():
                found[Partition(each.topic, each.partition)] = answer.result(self._within_s).offset
        except KafkaException as raised:
            raise BrokerError(f"asking for offsets: {told(error_of(raised))}") from raised
        none = [each for each, offset in found.items() if offset < 0]
        return found | self.offsets(none, "latest") if none else found

    def stable_ends(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """Give the last stable offset and the end of each partition: between them lie records of open transactions.

        Raises:
            BrokerError: no answer.
        """
        asked = {TopicPartition(*each): OffsetSpec.latest() for each in partitions}  # type: ignore[no-untyped-call]
        if not asked:
            return {}
        found = []
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
            answers = self._client.list_offsets(asked, isolation_level=level)
            found.append(
                {each: self._asked(partial(answers.get, each), f"asking for the end of {each.topic}") for each in asked}
            )
        stable, ends = found
        return {Partition(p.topic, p.partition): (stable[p].offset, ends[p].offset) for p in asked}

    def group(self, name: str) -> Group:
        """Give who is in a group.

        Raises:
            BrokerError: no answer.
        """
        try:
            about = self._asked(lambda: self._client.describe_consumer_groups([name])[name], f"asking for group {name}")
        except ClientLost as raised:
            cause = raised.__cause__
            if isinstance(cause, KafkaException) and error_of(cause).code() == KafkaError.GROUP_ID_NOT_FOUND:
                return Group("dead", "", {})
            raise
        return Group(
            about.state.name.lower(),
            about.partition_assignor,
            {
                f"{member.group_instance_id or member.client_id} at {member.host}": frozenset(
                    Partition(p.topic, p.partition) for p in member.assignment.topic_partitions
                )
                for member in about.members
            },
        )

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, str | None] | None]:
        """Give a group's committed offsets with their metadata, without waiting for open transactions.

        Raises:
            BrokerError: no answer.
        """
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(*each) for each in partitions])
        answer = self._asked(
            lambda: self._client.list_consumer_group_offsets([wanted])[group], "asking for committed offsets"
        )
        return {
            Partition(each.topic, each.partition): (each.offset, each.metadata) if each.offset >= 0 else None
            for each in answer.topic_partitions
        }

    def topic_settings(self, topic: str) -> dict[str, str]:
        """Give the settings of a topic, its own and those it inherits.

        Raises:
            BrokerError: no answer, or not allowed to ask.
        """
        return self._settings(ConfigResource(ConfigResource.Type.TOPIC, topic))

    def broker_settings(self) -> dict[str, str]:
        """Give the settings of one of the brokers; empty where none answers.

        Raises:
            BrokerError: no answer, or not allowed to ask.
        """
        try:
            brokers = self._client.list_topics(timeout=self._within_s).brokers
        except KafkaException as raised:
            raise BrokerError(f"asking for brokers: {told(error_of(raised))}") from raised
        return self._settings(ConfigResource(ConfigResource.Type.BROKER, str(min(brokers)))) if brokers else {}

    def replicas(self, topic: str) -> int:
        """Give how many replicas a topic has, the least of its partitions.

        Raises:
            BrokerError: no answer.
        """
        return min((len(each.replicas) for each in self._about(topic).partitions.values()), default=0)

    def _settings(self, resource: Any) -> dict[str, str]:
        answer = self._asked(
            lambda: self._client.describe_configs([resource])[resource], f"asking for settings of {resource.name}"
        )
        return {name: entry.value for name, entry in answer.items() if entry.value is not None}

    def _asked(self, ask: Callable[[], Any], what: str) -> Any:
        """Ask, and once more while a coordinator is only coming up."""

        def attempt(left: float) -> Any:
            return ask().result(left)

        try:
            return repeated(attempt, what, self._within_s, may_pass=lambda error: error.code() in PASSING)
        except TimeoutError as raised:
            raise BrokerError(f"{what}: no answer within {self._within_s:g} s") from raised

    def reset(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Commit offsets, without any state, for a group that nobody is a member of now.

        Raises:
            BrokerError: the group has members, or no answer.
        """
        wanted = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
        asked = self._client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])
        try:
            answer = asked[group].result(self._within_s)
        except KafkaException as raised:
            raise BrokerError(f"setting the offsets of group {group}: {told(error_of(raised))}") from raised
        for each in answer.topic_partitions:
            if each.error is not None:
                raise BrokerError(f"setting the offset of {each.topic}/{each.partition}: {told(each.error)}")
