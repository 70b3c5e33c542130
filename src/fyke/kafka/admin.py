"""What is asked of the cluster rather than of a partition: how topics are cut, new topics, a group's offsets anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from fyke.errors import DefinitionError
from fyke.kafka.consumer import Partition
from fyke.kafka.failures import BrokerError, error_of, told

__all__ = ["Admin", "When"]

When: TypeAlias = "str | int"
"""A place in a log: "earliest", "latest", or a time in ms since the epoch: the first record at or after it."""


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
        found: dict[str, int] = {}
        for topic in topics:
            try:
                about = self._client.list_topics(topic, timeout=self._within_s).topics[topic]
            except KafkaException as raised:
                raise BrokerError(f"asking for topic {topic}: {told(error_of(raised))}") from raised
            if about.error is not None or not about.partitions:
                raise DefinitionError(f'there is no topic "{topic}": {told(about.error) if about.error else "no"}')
            found[topic] = len(about.partitions)
        return found

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
