"""What the broker and the client promise about transactions: the facts that exactly-once delivery is built on.

No code of ours runs here. Where a test fails on another version of Kafka, the design is in question, not the code.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.kafka import clients

pytestmark = pytest.mark.kafka


@pytest.fixture
def member(brokers, make_topic):
    """A group's only member, which has partition 0 of a topic with three records; and an output topic."""
    source, group = make_topic(), clients.new_name("group")
    clients.produce(brokers, source, [b"a", b"b", b"c"])
    with clients.group_member(brokers, group, source) as consumer:
        clients.assigned_within(15, consumer, done=lambda: consumer.assignment())
        yield consumer, group, source, make_topic()


def offset_of(source, offset, metadata="", partition=0):
    return [TopicPartition(source, partition, offset, metadata)]


def error_of(call, *arguments):
    with pytest.raises(KafkaException) as caught:
        call(*arguments)
    return caught.value.args[0]


def test_results_and_offsets_with_their_metadata_appear_together(brokers, member):
    consumer, group, source, out = member
    producer = clients.transactional(brokers)
    producer.begin_transaction()
    producer.produce(out, b"result")
    producer.send_offsets_to_transaction(offset_of(source, 2, "v1:abc"), consumer.consumer_group_metadata(), 10)
    assert clients.read_all(brokers, out, isolation="read_uncommitted") == [b"result"]
    producer.commit_transaction(10)
    assert clients.committed(brokers, group, source, 0) == [(2, "v1:abc")]
    assert clients.read_all(brokers, out) == [b"result"]


def test_an_aborted_transaction_leaves_neither_results_nor_offsets(brokers, member):
    consumer, group, source, out = member
    producer = clients.transactional(brokers)
    for value, offset, end in ((b"kept", 1, "commit"), (b"dropped", 3, "abort")):
        producer.begin_transaction()
        producer.produce(out, value)
        assert producer.flush(10) == 0
        producer.send_offsets_to_transaction(offset_of(source, offset, value.decode()),
                                             consumer.consumer_group_metadata(), 10)  # fmt: skip
        (producer.commit_transaction if end == "commit" else producer.abort_transaction)(10)
    assert clients.read_all(brokers, out) == [b"kept"]
    assert clients.read_all(brokers, out, isolation="read_uncommitted") == [b"kept", b"dropped"]
    assert clients.committed(brokers, group, source, 0) == [(1, "kept")]


def test_metadata_of_4095_bytes_is_kept_and_one_byte_more_refused(brokers, member):
    """The limit as the client counts, which sends the string with its terminating zero."""
    consumer, group, source, _ = member
    producer = clients.transactional(brokers)
    producer.begin_transaction()
    producer.send_offsets_to_transaction(offset_of(source, 1, "x" * 4095), consumer.consumer_group_metadata(), 10)
    producer.commit_transaction(10)
    assert clients.committed(brokers, group, source, 0) == [(1, "x" * 4095)]
    producer.begin_transaction()
    error = error_of(
        producer.send_offsets_to_transaction, offset_of(source, 2, "x" * 4096), consumer.consumer_group_metadata(), 10
    )
    assert error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE


def test_metadata_of_an_earlier_generation_is_refused(brokers, member):
    """The group has gone on since: the transaction must be aborted, and what the group committed stays."""
    consumer, group, source, out = member
    before = consumer.consumer_group_metadata()
    with clients.group_member(brokers, group, source) as other:
        clients.assigned_within(
            20, consumer, other, done=lambda: consumer.consumer_group_metadata() != before and other.memberid()
        )
        producer = clients.transactional(brokers)
        producer.begin_transaction()
        producer.produce(out, b"late")
        error = error_of(producer.send_offsets_to_transaction, offset_of(source, 3), before, 10)
        assert error.code() == KafkaError.ILLEGAL_GENERATION
        assert error.txn_requires_abort()
        assert not error.fatal()
        producer.abort_transaction(10)
    assert clients.read_all(brokers, out) == []
    assert clients.committed(brokers, group, source, 0)[0][0] < 0


def test_metadata_of_a_client_that_never_joined_is_taken(brokers, member):
    """The trap: without a member id and a generation nothing is fenced, so whoever sends them must be a member."""
    _, group, source, _ = member
    with clients.group_member(brokers, group) as outsider:
        producer = clients.transactional(brokers)
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(source, 3), outsider.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
    assert clients.committed(brokers, group, source, 0)[0][0] == 3


ZOMBIE = """
import sys
from confluent_kafka import KafkaException, TopicPartition
from tests.kafka import clients
brokers, group, source, out, settings = sys.argv[1:]
with clients.group_member(brokers, group, source, **eval(settings)) as consumer:
    clients.assigned_within(20, consumer, done=lambda: consumer.assignment())
    producer = clients.transactional(brokers, timeout_ms=60_000)
    producer.begin_transaction()
    producer.produce(out, b"of the zombie")
    assert producer.flush(10) == 0
    print("in the middle", flush=True)
    sys.stdin.readline()
    try:
        producer.send_offsets_to_transaction([TopicPartition(source, 0, 3)], consumer.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
        print("committed")
    except KafkaException as error:
        print(error.args[0].name(), error.args[0].txn_requires_abort(), error.args[0].fatal())
        producer.abort_transaction(10)
"""


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_that_slept_through_its_session_cannot_commit(brokers, make_topic, protocol):
    """Stopped with SIGSTOP in the middle of a transaction; another member takes over and commits; then it goes on."""
    source, out, group = make_topic(), make_topic(), clients.new_name("group")
    clients.produce(brokers, source, [b"a", b"b", b"c"])
    settings = clients.join_settings(brokers, group, protocol, session_ms=2500)
    zombie = subprocess.Popen(
        [sys.executable, "-c", ZOMBIE, brokers, group, source, out, repr(settings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=os.getcwd(),
    )  # fmt: skip
    try:
        assert zombie.stdout.readline() == "in the middle\n"
        zombie.send_signal(signal.SIGSTOP)
        with clients.group_member(brokers, group, source, **settings) as heir:
            clients.assigned_within(30, heir, done=lambda: heir.assignment())
            producer = clients.transactional(brokers)
            producer.begin_transaction()
            producer.produce(out, b"of the heir")
            producer.send_offsets_to_transaction(offset_of(source, 2), heir.consumer_group_metadata(), 10)
            producer.commit_transaction(10)
            zombie.send_signal(signal.SIGCONT)
            said, _ = zombie.communicate("go on\n", timeout=30)
            assert said == "UNKNOWN_MEMBER_ID True False\n"
            assert clients.committed(brokers, group, source, 0)[0][0] == 2
        assert clients.read_all(brokers, out) == [b"of the heir"]
    finally:
        zombie.send_signal(signal.SIGCONT)
        zombie.kill()
        zombie.wait()


def test_a_second_producer_of_an_id_fences_the_first_and_ends_its_transaction(brokers, make_topic):
    out, name = make_topic(), clients.new_name("id")
    first = clients.transactional(brokers, name)
    first.begin_transaction()
    first.produce(out, b"of the first")
    assert first.flush(10) == 0
    second = clients.transactional(brokers, name)
    second.begin_transaction()
    second.produce(out, b"of the second")
    second.commit_transaction(10)
    error = error_of(first.commit_transaction, 10)
    assert error.fatal()
    assert clients.read_all(brokers, out) == [b"of the second"]


def test_offsets_of_an_open_transaction_hold_a_new_owner_back_until_it_times_out(brokers, member):
    """Why a transactional id is stable, and its timeout short: nobody else can end what a dead producer left open."""
    consumer, group, source, out = member
    dead = clients.transactional(brokers, timeout_ms=3_000)
    dead.begin_transaction()
    dead.produce(out, b"never committed")
    dead.send_offsets_to_transaction(offset_of(source, 3), consumer.consumer_group_metadata(), 10)
    assert dead.flush(10) == 0
    began = time.monotonic()
    error = error_of(lambda: clients.committed(brokers, group, source, 0, timeout=1))
    assert error.code() == KafkaError._TIMED_OUT
    assert clients.committed(brokers, group, source, 0, timeout=20)[0][0] < 0
    assert time.monotonic() - began < 12


def test_the_same_id_again_ends_what_its_dead_owner_left_open_at_once(brokers, member):
    consumer, group, source, out = member
    name = clients.new_name("id")
    dead = clients.transactional(brokers, name, timeout_ms=60_000)
    dead.begin_transaction()
    dead.produce(out, b"never committed")
    dead.send_offsets_to_transaction(offset_of(source, 3), consumer.consumer_group_metadata(), 10)
    assert dead.flush(10) == 0
    clients.transactional(brokers, name)
    assert clients.committed(brokers, group, source, 0, timeout=10)[0][0] < 0
    assert clients.read_all(brokers, out) == []


def test_a_commit_that_timed_out_is_repeated_and_nothing_else(brokers, member, make_topic):
    """A timeout says nothing about the outcome; only the same call again does."""
    consumer, group, source, out = member
    producer = clients.transactional(brokers)
    producer.begin_transaction()
    producer.produce(out, b"result")
    producer.send_offsets_to_transaction(offset_of(source, 3), consumer.consumer_group_metadata(), 10)
    error = error_of(producer.commit_transaction, 0.0001)
    assert error.code() == KafkaError._TIMED_OUT
    assert error.retriable()
    assert error_of(producer.begin_transaction).code() in (KafkaError._CONFLICT, KafkaError._STATE)
    producer.commit_transaction(10)
    assert clients.committed(brokers, group, source, 0)[0][0] == 3
    assert clients.read_all(brokers, out) == [b"result"]


def test_a_transaction_may_hold_offsets_of_topics_that_the_group_does_not_subscribe_to(brokers, member, make_topic):
    """An input that is read by assignment alone is committed, and fenced, with the group of the one that is not."""
    consumer, group, source, _ = member
    beside = make_topic()
    producer = clients.transactional(brokers)
    producer.begin_transaction()
    both = offset_of(source, 1, "of the input") + offset_of(beside, 7, "of the one beside")
    producer.send_offsets_to_transaction(both, consumer.consumer_group_metadata(), 10)
    producer.commit_transaction(10)
    assert clients.committed(brokers, group, source, 0) == [(1, "of the input")]
    assert clients.committed(brokers, group, beside, 0) == [(7, "of the one beside")]


def test_the_end_of_a_log_is_above_what_a_reader_of_committed_records_is_told(brokers, make_topic):
    """A restore that took the last stable offset for the end could miss a transaction that is just being ended."""
    out = make_topic()
    producer = clients.transactional(brokers)
    producer.begin_transaction()
    producer.produce(out, b"open")
    assert producer.flush(10) == 0
    assert clients.high_water(brokers, out) == (0, 1)
    assert clients.last_stable(brokers, out) == 0
    producer.abort_transaction(10)
