"""Plain clients: with them tests show what the broker does, and look at what our own client code has done."""

import time
import uuid
from contextlib import contextmanager

from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

# What a run with a broker of one's own must survive too: the broker's smallest session timeout is usually 6 s.
SESSION_MS = 6000


def new_name(kind):
    return f"fyke-test-{kind}-{uuid.uuid4().hex[:12]}"


def quiet(brokers, **settings):
    """Settings of a client, dots for underscores. It logs nothing: the errors that tests bring about are meant."""
    return {"bootstrap.servers": brokers, "log_level": 0} | {k.replace("_", "."): v for k, v in settings.items()}


@contextmanager
def group_member(brokers, group, *topics, **settings):
    """A consumer that has subscribed; without topics it is none of the group's members, and only bears its name."""
    settings = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "fetch_wait_max_ms": 50} | settings
    consumer = Consumer(quiet(brokers, group_id=group, isolation_level="read_committed", **settings))
    if topics:
        consumer.subscribe(list(topics))
    try:
        yield consumer
    finally:
        consumer.close()


def classic(assignor, session_ms=SESSION_MS):
    """Settings of a member of a classic group."""
    return {
        "partition_assignment_strategy": assignor,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": min(300, session_ms // 3),
    }


def assigned_within(seconds, *consumers, done):
    """Poll all until done() holds of what they are assigned; nothing they would read is looked at."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, [consumer.assignment() for consumer in consumers]
        for consumer in consumers:
            consumer.poll(0.05)


def transactional(brokers, transactional_id=None, timeout_ms=10_000):
    """A producer after init_transactions."""
    producer = Producer(
        quiet(
            brokers,
            transactional_id=transactional_id or new_name("id"),
            transaction_timeout_ms=timeout_ms,
            linger_ms=0,
        )
    )
    producer.init_transactions(15)
    return producer


def produce(brokers, topic, values, partition=0):
    """Write values outside of any transaction."""
    producer = Producer(quiet(brokers, linger_ms=0))
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(10) == 0


def read_all(brokers, topic, partitions=1, isolation="read_committed", within_s=10.0):
    """All values that a reader from the start sees, in order per partition; waits for open transactions to end.

    The end is that of read_uncommitted, and reached when the position has passed it.
    """
    settings = quiet(brokers, group_id=new_name("reader"), enable_auto_commit=False, enable_partition_eof=True)
    ends = {}
    reader = Consumer(settings | {"isolation.level": isolation, "fetch.wait.max.ms": 20})
    try:
        for p in range(partitions):
            _, ends[p] = high_water(brokers, topic, p)
        reader.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        values, errors = {p: [] for p in range(partitions)}, set()
        deadline = time.monotonic() + within_s
        while any(reader.position([TopicPartition(topic, p)])[0].offset < end for p, end in ends.items() if end):
            if time.monotonic() > deadline:
                at = reader.position([TopicPartition(topic, p) for p in ends])
                stable = [last_stable(brokers, topic, p) for p in ends]
                raise AssertionError(f"{topic}: still at {at} of {ends}; stable are {stable}; errors {errors}")
            message = reader.poll(0.1)
            if message is not None and message.error() is not None:
                errors.add(str(message.error()))
            elif message is not None:
                values[message.partition()].append(message.value())
    finally:
        reader.close()
    return [value for p in range(partitions) for value in values[p]]


def high_water(brokers, topic, partition=0):
    """First offset and the one after the last, of what has been written, committed or not."""
    reader = Consumer(quiet(brokers, group_id=new_name("ends"), isolation_level="read_uncommitted"))
    try:
        return reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
    finally:
        reader.close()


def last_stable(brokers, topic, partition=0):
    """The offset that read_committed reads up to."""
    admin = AdminClient(quiet(brokers))
    asked = {TopicPartition(topic, partition): OffsetSpec.latest()}
    answer = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=10)
    return next(iter(answer.values())).result(10).offset


def join_settings(brokers, group, protocol, assignor=None, session_ms=SESSION_MS):
    """Settings of a member whose session ends after session_ms, or as soon as the broker lets it."""
    admin = AdminClient(quiet(brokers))
    if protocol == "classic":
        return classic(
            assignor or "cooperative-sticky", max(session_ms, broker_setting(admin, "group.min.session.timeout.ms"))
        )
    least = max(session_ms, broker_setting(admin, "group.consumer.min.session.timeout.ms"))
    entries = [
        ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in (("consumer.session.timeout.ms", least), ("consumer.heartbeat.interval.ms", least // 3))
    ]
    change = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
    for done in admin.incremental_alter_configs([change]).values():
        done.result(10)
    return {"group_protocol": "consumer"} | ({"group_remote_assignor": assignor} if assignor else {})


def broker_setting(admin, name):
    broker = ConfigResource(ResourceType.BROKER, str(next(iter(admin.list_topics(timeout=10).brokers))))
    return int(next(iter(admin.describe_configs([broker]).values())).result(10)[name].value)


def committed(brokers, group, topic, *partitions, timeout=10):
    """What the group has committed, as (offset, metadata) per partition; one that waits for stable offsets."""
    asker = Consumer(quiet(brokers, group_id=group, isolation_level="read_committed"))
    try:
        found = asker.committed([TopicPartition(topic, p) for p in partitions], timeout=timeout)
        return [(each.offset, each.metadata) for each in found]
    finally:
        asker.close()
