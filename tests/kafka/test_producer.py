"""Writing, at least once and in transactions: what each kind of error leads to."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from fyke.errors import DefinitionError
from fyke.kafka.failures import AbortNeeded, BrokerError, ClientLost
from fyke.kafka.producer import Producer
from fyke.kafka.settings import producer_settings
from fyke.kafka.transaction import TransactionalProducer
from tests.kafka import clients
from tests.kafka.fakes import ABORT, FENCED, TIMED_OUT, FakeClock, Scripted

OFFSETS = [TopicPartition("in", 0, 5, "metadata")]


def plain(**script):
    client = Scripted(flush=[0] * 9, **script) if "flush" not in script else Scripted(**script)
    return Producer({}, client.made, FakeClock()), client


def begun(**script):
    client = Scripted(**script)
    producer = TransactionalProducer({}, client.made, FakeClock())
    producer.open(10)
    producer.begin()
    client.calls.clear()
    return producer, client


# -- at least once


def test_a_full_queue_is_waited_for():
    producer, client = plain(produce=[BufferError("full"), BufferError("full"), None])
    producer.send("out", b"v")
    assert client.names() == ["produce", "poll", "produce", "poll", "produce"]
    assert (producer.statistics().records, producer.statistics().waits) == (1, 2)


def test_a_queue_that_stays_full_ends_the_wait():
    client = Scripted()
    clock = FakeClock()
    client.script["produce"] = [BufferError("full")] * 1000
    client.script["poll"] = [clock.sleep] * 1000
    producer = Producer({}, client.made, clock)
    with pytest.raises(ClientLost, match="writing to out: the queue was full for 2 s"):
        producer.send("out", b"v", within_s=2)


def test_a_record_that_is_too_large_is_an_error_of_its_own():
    """Neither an abort nor another producer would help."""
    producer, _ = plain(produce=[KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "Message size too large")])
    with pytest.raises(BrokerError, match="writing 3 bytes to out: MSG_SIZE_TOO_LARGE") as caught:
        producer.send("out", b"abc")
    assert not isinstance(caught.value, AbortNeeded | ClientLost)


def test_failed_deliveries_are_counted_and_make_the_next_flush_fail_once():
    producer, client = plain()
    failed = client.settings["on_delivery"]
    for _ in range(3):
        producer.send("out", b"v")
    failed(KafkaError(KafkaError._MSG_TIMED_OUT), None)
    failed(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), None)
    with pytest.raises(AbortNeeded, match="2 records were not delivered; the first because of _MSG_TIMED_OUT"):
        producer.flush(1)
    assert producer.statistics().failed == 2
    producer.flush(1)


def test_purged_records_are_counted_and_no_failure():
    producer, client = plain()
    for code in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
        client.settings["on_delivery"](KafkaError(code), None)
    producer.flush(1)
    assert (producer.statistics().purged, producer.statistics().failed) == (2, 0)


def test_records_still_under_way_when_the_time_is_over_are_an_error():
    producer, _ = plain(flush=[7])
    with pytest.raises(AbortNeeded, match="7 records were not delivered within 3 s"):
        producer.flush(3)


def test_settings_that_librdkafka_does_not_know_are_named():
    with pytest.raises(DefinitionError, match='No such configuration property: "lingering"'):
        Producer(producer_settings("127.0.0.1:1", "app", user={"lingering": 5}))


# -- transactions


def test_a_commit_sends_the_offsets_and_then_commits():
    producer, client = begun()
    producer.commit(OFFSETS, b"membership", 10)
    assert client.names() == ["send_offsets_to_transaction", "commit_transaction"]
    assert client.calls[0][1:3] == (OFFSETS, b"membership")
    assert not producer.is_open


def test_a_commit_without_offsets_sends_none():
    producer, client = begun()
    producer.commit([], b"membership", 10)
    assert client.names() == ["commit_transaction"]


@pytest.mark.parametrize("step", ["send_offsets_to_transaction", "commit_transaction"])
def test_a_call_that_timed_out_is_repeated_and_no_other_made(step):
    producer, client = begun(**{step: [TIMED_OUT, TIMED_OUT, None]})
    producer.commit(OFFSETS, b"membership", 10)
    assert client.names().count(step) == 3
    assert [name for name, *_ in client.calls if name != step] == [
        name for name in ("send_offsets_to_transaction", "commit_transaction") if name != step
    ]


def test_the_time_for_a_repeated_call_is_what_is_left():
    clock = FakeClock()

    def slow(left):
        clock.now += 0.7 * left
        raise KafkaException(TIMED_OUT)

    client = Scripted(init_transactions=[slow] * 50)
    with pytest.raises(ClientLost, match="init_transactions: no answer within 10 s, so the outcome is unknown"):
        TransactionalProducer({}, client.made, clock).open(10)
    given = [call[1] for call in client.calls]
    assert given == sorted(given, reverse=True)
    assert clock.now < 11


@pytest.mark.parametrize("step", ["send_offsets_to_transaction", "commit_transaction"])
def test_an_error_that_asks_for_an_abort_leaves_the_transaction_to_be_aborted(step):
    producer, client = begun(**{step: [ABORT]})
    with pytest.raises(AbortNeeded, match=f"{step}: ILLEGAL_GENERATION: the group has gone on"):
        producer.commit(OFFSETS, b"membership", 10)
    assert producer.is_open
    producer.abort(5)
    assert client.names()[-2:] == ["flush", "abort_transaction"]
    assert not producer.is_open


@pytest.mark.parametrize("error", [FENCED, KafkaError(KafkaError._CONFLICT, "another call is under way")])
@pytest.mark.parametrize("step", ["send_offsets_to_transaction", "commit_transaction"])
def test_any_other_error_loses_the_producer(step, error):
    producer, _ = begun(**{step: [error]})
    with pytest.raises(ClientLost, match=step):
        producer.commit(OFFSETS, b"membership", 10)


@pytest.mark.parametrize("error", [FENCED, ABORT])
def test_an_abort_that_fails_loses_the_producer(error):
    producer, _ = begun(abort_transaction=[TIMED_OUT, error])
    with pytest.raises(ClientLost, match="abort_transaction"):
        producer.abort(5)
    assert not producer.is_open


def test_an_abort_without_a_transaction_does_nothing():
    producer, client = begun()
    producer.commit([], b"", 1)
    client.calls.clear()
    producer.abort(5)
    assert client.calls == []


def test_writing_after_the_transaction_failed_asks_for_an_abort():
    """librdkafka says then that it is in the wrong state."""
    producer, _ = begun(produce=[KafkaError(KafkaError._STATE, "Erroneous state"), FENCED])
    with pytest.raises(AbortNeeded):
        producer.send("out", b"v")
    with pytest.raises(ClientLost):
        producer.send("out", b"v")


# -- on the broker


@pytest.fixture
def open_producer(brokers):
    """A function that opens a producer of an id."""

    def make(name):
        settings = producer_settings(brokers, "app", transactional_id=name, transaction_timeout_ms=10_000)
        producer = TransactionalProducer({**settings, "log_level": 0})
        producer.open(20)
        return producer

    return make


def test_committed_records_arrive_and_aborted_ones_do_not(brokers, make_topic, open_producer):
    out, producer = make_topic(), open_producer(clients.new_name("id"))
    for number in range(3):
        producer.begin()
        for i in range(1000):
            producer.send(out, b"%d-%d" % (number, i), key=b"k", headers=[("h", b"1")], timestamp_ms=5)
        if number == 1:
            producer.abort(10)
        else:
            producer.commit([], b"", 10)
    assert clients.read_all(brokers, out) == [b"%d-%d" % (n, i) for n in (0, 2) for i in range(1000)]
    sent = producer.statistics()
    assert (sent.records, sent.failed) == (3000, 0)
    producer.close()


def test_an_abort_may_follow_on_the_heels_of_a_commit_and_a_record(brokers, make_topic, open_producer):
    """The broker may still be writing the end of one transaction when the next one is aborted."""
    out, producer = make_topic(), open_producer(clients.new_name("id"))
    for number in range(10):
        producer.begin()
        producer.send(out, b"%d" % number)
        producer.commit([], b"", 10)
        producer.begin()
        producer.send(out, b"never")
        producer.abort(10)
    assert clients.read_all(brokers, out) == [b"%d" % number for number in range(10)]


def test_a_fenced_producer_is_lost_and_its_heir_works(brokers, make_topic, open_producer):
    out, name = make_topic(), clients.new_name("id")
    first = open_producer(name)
    first.begin()
    first.send(out, b"of the first")
    heir = open_producer(name)
    with pytest.raises(ClientLost):
        first.commit([], b"", 10)
    heir.begin()
    heir.send(out, b"of the heir")
    heir.commit([], b"", 10)
    assert clients.read_all(brokers, out) == [b"of the heir"]


def test_a_commit_with_no_time_left_is_repeated_until_the_outcome_is_known(brokers, make_topic, open_producer):
    out, producer = make_topic(), open_producer(clients.new_name("id"))
    real = producer._client.commit_transaction
    waits = iter([0.0001, 0.0001, 10])
    producer._client = Through(producer._client, commit_transaction=lambda left: real(next(waits)))
    producer.begin()
    producer.send(out, b"v")
    producer.commit([], b"", 10)
    assert list(waits) == []
    assert clients.read_all(brokers, out) == [b"v"]


class Through:
    """A client with some methods replaced."""

    def __init__(self, client, **replaced):
        self._client = client
        self.__dict__.update(replaced)

    def __getattr__(self, name):
        return getattr(self._client, name)


def test_a_plain_producer_that_cannot_deliver_says_so(brokers):
    """A topic that is not there: the records fail one by one, later, and flush tells."""
    producer = Producer({**producer_settings(brokers, "app", user={"message.timeout.ms": 1500}), "log_level": 0})
    producer.send(clients.new_name("missing"), b"v")
    with pytest.raises(AbortNeeded, match="1 records were not delivered; the first because of"):
        producer.flush(20)
    producer.close()
