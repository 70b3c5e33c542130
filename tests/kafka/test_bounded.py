"""A client that does not come back from a call with a time limit is left alone, and another one takes over."""

import threading

import pytest
from confluent_kafka import TopicPartition

from fyke.kafka import failures, transaction
from fyke.kafka.failures import ClientLost, Stuck, bounded
from fyke.kafka.transaction import TransactionalProducer
from tests.kafka.fakes import FakeClock, Scripted


def test_a_call_that_comes_back_gives_what_it_gives():
    assert bounded(lambda left: left * 2, "doubling")(1.5) == 3.0


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        bounded(lambda left: 1 // 0, "dividing")(1.0)


def test_a_call_that_does_not_come_back_makes_the_client_lost():
    for_ever = threading.Event()
    with pytest.raises(ClientLost, match=r"waiting: the client did not come back 0.05 s after its time of 0.01 s"):
        bounded(lambda left: for_ever.wait(), "waiting", 0.05)(0.01)
    for_ever.set()


def test_a_stuck_producer_is_not_touched_again(monkeypatch):
    """Purging or flushing it would wait for ever, too."""
    for_ever = threading.Event()
    client = Scripted(send_offsets_to_transaction=[lambda *_: for_ever.wait()])
    monkeypatch.setattr(transaction, "bounded", lambda call, what: failures.bounded(call, what, 0.05))
    producer = TransactionalProducer({}, client.made, FakeClock())
    producer.open(1)
    producer.begin()
    with pytest.raises(Stuck):
        producer.commit([TopicPartition("in", 0, 5)], b"metadata", 0.01)
    before = list(client.calls)
    producer.close()
    assert client.calls == before
    for_ever.set()
