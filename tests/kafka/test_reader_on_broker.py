"""Reading from a real broker: handed-over partitions, gaps, seeking, and no waiting for what is not there."""

import time

import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from fyke.errors import DataError
from fyke.kafka.consumer import Partition, Reader
from fyke.kafka.failures import BrokerError, NotAMember
from fyke.kafka.settings import consumer_settings
from tests.kafka import clients

pytestmark = pytest.mark.kafka


def open_reader(brokers, group=None, protocol="classic", user=None, **options):
    if protocol == "classic":
        user = {"session.timeout.ms": clients.SESSION_MS, "heartbeat.interval.ms": 300, **(user or {})}
    settings = consumer_settings(
        brokers, group or clients.new_name("group"), protocol=protocol, user={**user, "log_level": 0} if user else None
    )
    return Reader(settings, **options)


def gather(reader, n, within_s=15.0):
    """Poll until there are n records; (partition number, value) pairs."""
    found, deadline = [], time.monotonic() + within_s
    while len(found) < n:
        assert time.monotonic() < deadline, found
        for chunk in reader.poll(0.1):
            found += [(chunk.partition.number, message.value()) for message in chunk.messages]
    return found


class Worker:
    """A member that commits, at least once, what it has read: when partitions are revoked, and when told."""

    def __init__(self, brokers, group, topic, protocol):
        self.reader = open_reader(brokers, group, protocol)
        self.read, self.heard = [], []
        self.reader.subscribe([topic], self)

    def assigned(self, partitions):
        self.heard.append("assigned")
        known = self.reader.committed(partitions, 10)
        return {p: known[p][0] if known[p] else self.reader.beginning(p) for p in partitions}

    def revoked(self, partitions):
        self.heard.append("revoked")
        self.commit()

    def lost(self, partitions):
        self.heard.append("lost")

    def commit(self):
        if self.reader.positions:
            self.reader.commit([TopicPartition(*p, offset) for p, offset in self.reader.positions.items()])

    def poll(self):
        for chunk in self.reader.poll(0.05):
            self.read += [message.value() for message in chunk.messages]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_partitions_handed_over_in_order_are_read_by_one_after_the_other(brokers, make_topic, protocol):
    """Members join and leave while records keep coming: every record is read once."""
    topic, group = make_topic(4), clients.new_name("group")
    written = []

    def write(n):
        for p in range(4):
            values = [b"%d:%d" % (p, len(written) + i) for i in range(n)]
            clients.produce(brokers, topic, values, p)
            written.extend(values)

    write(5)
    workers = [Worker(brokers, group, topic, protocol)]
    deadline = time.monotonic() + 60

    def run_until(done):
        while not done():
            assert time.monotonic() < deadline, [(w.heard, sorted(w.reader.positions)) for w in workers]
            for worker in workers:
                worker.poll()

    gone = []
    run_until(lambda: len(workers[0].read) == 20)
    workers.append(Worker(brokers, group, topic, protocol))
    run_until(lambda: workers[1].reader.positions)
    write(5)
    run_until(lambda: sum(len(w.read) for w in workers) >= 40)
    assert all(worker.read for worker in workers)
    leaver = workers.pop(0)
    leaver.reader.close()
    gone += leaver.read
    write(5)
    run_until(lambda: len(gone) + len(workers[0].read) >= 60)
    workers[0].reader.close()
    assert sorted(gone + workers[0].read) == sorted(written)
    assert "lost" not in leaver.heard + workers[0].heard


def test_a_record_is_handed_out_as_soon_as_it_is_there(brokers, make_topic):
    topic = make_topic()
    reader = open_reader(brokers)
    reader.assign({Partition(topic, 0): 0})
    clients.produce(brokers, topic, [b"first"])
    gather(reader, 1)
    clients.produce(brokers, topic, [b"a", b"b"])
    began, found = time.monotonic(), []
    while len(found) < 2:
        found += [message.value() for chunk in reader.poll(10) for message in chunk.messages]
    assert found == [b"a", b"b"]
    assert time.monotonic() - began < 5
    reader.close()


def test_a_seek_reads_again_from_there(brokers, make_topic):
    topic = make_topic()
    place = Partition(topic, 0)
    clients.produce(brokers, topic, [b"%d" % i for i in range(10)])
    reader = open_reader(brokers)
    reader.assign({place: 0})
    reader.seek(place, 7)  # at once: before the client is ready for it
    assert [value for _, value in gather(reader, 3)] == [b"7", b"8", b"9"]
    reader.seek(place, 2)
    assert [value for _, value in gather(reader, 8)] == [b"%d" % i for i in range(2, 10)]
    assert reader.positions == {place: 10}
    reader.close()


def test_a_paused_partition_is_silent_until_it_is_resumed(brokers, make_topic):
    topic = make_topic(2)
    for p in range(2):
        clients.produce(brokers, topic, [b"%d" % p] * 3, p)
    reader = open_reader(brokers)
    reader.assign({Partition(topic, 0): 0, Partition(topic, 1): 0})
    reader.pause([Partition(topic, 0)])
    assert gather(reader, 3) == [(1, b"1")] * 3
    assert reader.poll(0.3) == []
    reader.resume([Partition(topic, 0)])
    assert gather(reader, 3) == [(0, b"0")] * 3
    reader.close()


@pytest.mark.parametrize("policy", ["fail", "earliest", "latest"])
def test_records_that_were_deleted_unread_are_a_gap(brokers, admin, make_topic, policy):
    topic = make_topic()
    place = Partition(topic, 0)
    clients.produce(brokers, topic, [b"%d" % i for i in range(10)])
    admin.delete_records([TopicPartition(topic, 0, 6)])[TopicPartition(topic, 0)].result(10)
    reader = open_reader(brokers, on_gap=policy)
    reader.assign({place: 2})
    if policy == "fail":
        with pytest.raises(DataError, match=f"{topic}/0: offset 2 is due, but the log holds 6 to 9: 4 records"):
            gather(reader, 1)
    elif policy == "earliest":
        assert [value for _, value in gather(reader, 4)] == [b"6", b"7", b"8", b"9"]
        assert reader.gaps == {place: 1}
    else:
        assert reader.poll(1) == []
        assert reader.positions == {place: 10}
        clients.produce(brokers, topic, [b"new"])
        assert gather(reader, 1) == [(0, b"new")]
    reader.close()


def test_offsets_of_aborted_transactions_are_no_gap(brokers, make_topic):
    """Control records and aborted ones take offsets that nobody sees."""
    topic = make_topic()
    producer = clients.transactional(brokers)
    for value, end in ((b"a", "commit"), (b"b", "abort"), (b"c", "commit")):
        producer.begin_transaction()
        producer.produce(topic, value)
        assert producer.flush(10) == 0
        getattr(producer, f"{end}_transaction")(10)
    reader = open_reader(brokers)
    reader.assign({Partition(topic, 0): 0})
    assert [value for _, value in gather(reader, 2)] == [b"a", b"c"]
    assert reader.positions == {Partition(topic, 0): 5}
    reader.close()


def test_a_topic_that_is_not_there_is_an_error(brokers):
    reader = open_reader(brokers)
    reader.subscribe([clients.new_name("missing")], None)
    with pytest.raises(BrokerError, match="UNKNOWN_TOPIC_OR_PART"):
        gather(reader, 1)
    reader.close()


def test_membership_is_that_of_a_member_only(brokers, make_topic):
    topic, group = make_topic(), clients.new_name("group")
    worker = Worker(brokers, group, topic, "classic")
    with pytest.raises(NotAMember):
        worker.reader.membership()
    while not worker.reader.positions:
        worker.poll()
    assert group.encode() in worker.reader.membership()
    worker.reader.close()


def test_a_member_that_polls_too_late_hears_that_its_partitions_are_lost(brokers, make_topic):
    topic, group = make_topic(), clients.new_name("group")
    least = max(
        1500, clients.broker_setting(AdminClient({"bootstrap.servers": brokers}), "group.min.session.timeout.ms")
    )
    user = {"session.timeout.ms": least, "max.poll.interval.ms": least, "heartbeat.interval.ms": 300}
    worker = Worker.__new__(Worker)
    worker.read, worker.heard = [], []
    worker.reader = open_reader(brokers, group, user={f"consumer.{name}": value for name, value in user.items()})
    worker.reader.subscribe([topic], worker)
    deadline = time.monotonic() + 15
    while not worker.reader.positions:
        worker.poll()
    time.sleep(least / 1000 + 0.7)
    while "lost" not in worker.heard:
        assert time.monotonic() < deadline
        worker.poll()
    assert worker.reader.errors[KafkaError(KafkaError._MAX_POLL_EXCEEDED).name()] == 1
    while worker.heard[-1] != "assigned":
        assert time.monotonic() < deadline
        worker.poll()
    worker.reader.close()
