"""Reading: what poll gives, what a change of the group does to it, and what errors lead to. With scripted clients."""

import logging

import pytest
from confluent_kafka import KafkaError, TopicPartition

from fyke.errors import DataError, DefinitionError
from fyke.kafka.consumer import Partition, Reader, generation_of
from fyke.kafka.failures import AbortNeeded, BrokerError, ClientLost, NotAMember
from fyke.kafka.settings import consumer_settings
from tests.kafka.fakes import TIMED_OUT, FakeClock, Record, Scripted

COOPERATIVE = {"partition.assignment.strategy": "cooperative-sticky"}
EAGER = {"partition.assignment.strategy": "range"}
T0, T1, U0 = Partition("t", 0), Partition("t", 1), Partition("u", 0)
STATE = KafkaError(KafkaError._STATE, "Erroneous state")


def reader(settings=COOPERATIVE, positions=None, clock=None, script=None, **options):
    """A reader that has these partitions, and its scripted client."""
    client = Scripted(**(script or {}))
    made = Reader(settings, make=client.made, clock=clock or FakeClock(), **options)
    made.assign({T0: 0, T1: 0} if positions is None else positions)
    client.calls.clear()
    return made, client


def records(partition, *offsets):
    return [Record(*partition, offset, b"%d" % offset) for offset in offsets]


def failing(code, partition=(None, -1), fatal=False):
    return Record(*partition, -1, error=KafkaError(code, "as the broker says", fatal=fatal))


class Told:
    """A listener that remembers, and answers with what it was made with."""

    def __init__(self, positions=(), act=None):
        self.positions, self.act, self.heard = dict(positions), act, []

    def assigned(self, partitions):
        self.heard.append(("assigned", list(partitions)))
        return {each: self.positions.get(each, 0) for each in partitions}

    def revoked(self, partitions):
        self.heard.append(("revoked", list(partitions)))
        if self.act is not None:
            self.act()

    def lost(self, partitions):
        self.heard.append(("lost", list(partitions)))


def subscribed(listener, settings=COOPERATIVE, script=None, **options):
    """A reader in a group, its client, and the client's callbacks: on_assign(client, partitions) and so on."""
    client = Scripted(**(script or {}))
    made = Reader(settings, make=client.made, clock=FakeClock(), **options)
    made.subscribe(["t"], listener)
    callbacks = client.calls[0][-1]
    client.calls.clear()
    return made, client, callbacks


def placed(*partitions):
    return [TopicPartition(*each) for each in partitions]


# -- records


def test_poll_waits_for_one_record_and_drains_the_rest_without_waiting():
    made, client = reader(batch=100, script={"poll": records(T0, 0), "consume": [records(T0, 1, 2)]})
    (chunk,) = made.poll(0.5)
    assert client.calls == [("poll", 0.5), ("consume", 99, 0)]
    assert [message.value() for message in chunk.messages] == [b"0", b"1", b"2"]
    assert (chunk.partition, chunk.next, len(chunk)) == (T0, 3, 3)


def test_nothing_there_is_an_empty_list():
    made, client = reader()
    assert made.poll(0.5) == []
    assert client.names() == ["poll"]


def test_a_batch_of_one_drains_nothing():
    made, client = reader(batch=1, script={"poll": records(T0, 0)})
    assert len(made.poll(1)) == 1
    assert client.names() == ["poll"]


def test_records_come_by_partition_in_the_order_of_their_offsets():
    mixed = [*records(T1, 7), *records(T0, 4, 5), *records(T1, 9)]
    made, _ = reader(positions={T0: 4, T1: 0}, script={"poll": [mixed[0]], "consume": [mixed[1:]]})
    chunks = made.poll(1)
    assert [(chunk.partition, [m.offset() for m in chunk.messages]) for chunk in chunks] == [(T1, [7, 9]), (T0, [4, 5])]
    assert made.positions == {T0: 6, T1: 10}


def test_a_log_that_goes_back_is_an_error():
    """It was cut off after an unclean election: what follows is not what was read before."""
    made, _ = reader(positions={T0: 10}, script={"poll": records(T0, 9), "consume": [[]]})
    with pytest.raises(DataError, match="t/0: 10 is due, but 9 came"):
        made.poll(1)


# -- the group


@pytest.mark.parametrize(("settings", "verb"), [(COOPERATIVE, "incremental_assign"), (EAGER, "assign")])
def test_a_new_partition_is_read_from_where_the_listener_says(settings, verb):
    listener = Told({T0: 5})
    made, client, group = subscribed(listener, settings)
    group["on_assign"](client, placed(T0, T1))
    assert listener.heard == [("assigned", [T0, T1])]
    (call,) = client.calls
    assert (call[0], [(tp.partition, tp.offset) for tp in call[1]]) == (verb, [(0, 5), (1, 0)])
    assert made.positions == {T0: 5, T1: 0}


def test_incremental_changes_leave_the_other_partitions_alone():
    made, client, group = subscribed(Told({T0: 5, T1: 6, U0: 7}))
    group["on_assign"](client, placed(T0, T1))
    group["on_assign"](client, placed(U0))
    group["on_revoke"](client, placed(T0))
    assert made.positions == {T1: 6, U0: 7}
    assert client.names() == ["incremental_assign", "incremental_assign", "incremental_unassign"]


def test_an_eager_group_starts_anew_at_each_change():
    made, client, group = subscribed(Told({T0: 5, T1: 6}), EAGER)
    group["on_assign"](client, placed(T0))
    group["on_revoke"](client, placed(T0))
    assert made.positions == {}
    group["on_assign"](client, placed(T1))
    assert made.positions == {T1: 6}
    assert client.names() == ["assign", "unassign", "assign"]


def test_lost_partitions_are_told_apart_from_revoked_ones():
    listener = Told()
    made, client, group = subscribed(listener)
    group["on_assign"](client, placed(T0, T1))
    group["on_revoke"](client, placed(T0))
    group["on_lost"](client, placed(T1))
    assert listener.heard[1:] == [("revoked", [T0]), ("lost", [T1])]
    assert made.positions == {}


def test_what_a_listener_raises_comes_out_of_poll_after_the_change_is_done():
    def fail():
        raise RuntimeError("could not commit")

    made, client, group = subscribed(
        Told(act=fail), script={"poll": [lambda _: group["on_revoke"](client, placed(T0))]}
    )
    group["on_assign"](client, placed(T0, T1))
    with pytest.raises(RuntimeError, match="could not commit"):
        made.poll(1)
    assert client.names()[-1] == "incremental_unassign"
    assert made.positions == {T1: 0}
    assert made.poll(1) == []


def test_records_of_a_partition_that_goes_while_they_are_drained_are_dropped():
    def revoke(*_):
        group["on_revoke"](client, placed(T0))
        return records(T1, 0)

    made, client, group = subscribed(Told(), script={"poll": records(T0, 0), "consume": [revoke]})
    group["on_assign"](client, placed(T0, T1))
    assert [chunk.partition for chunk in made.poll(1)] == [T1]


def test_a_partition_that_is_given_back_while_it_is_drained_is_read_from_its_new_position():
    """What was drained before is from the old position; kept, it would leave a gap or come twice."""

    def rebalance(*_):
        group["on_revoke"](client, placed(T0))
        group["on_assign"](client, placed(T0))
        return []

    made, client, group = subscribed(Told({T0: 5}), EAGER, script={"poll": records(T0, 9), "consume": [rebalance]})
    group["on_assign"](client, placed(T0))
    made._next[T0] = 9
    assert made.poll(1) == []
    assert (client.calls[-1][0], client.calls[-1][1].offset) == ("seek", 5)
    assert made.positions == {T0: 5}


def test_membership_without_a_generation_is_refused():
    """The broker would take it, and fence nobody."""
    outside = b"CGMDv2:" + b"\xff" * 4 + b"group\0\0\1"
    member = b"CGMDv2:" + b"\x03\0\0\0" + b"group\0id\0\1"
    made, _ = reader(script={"consumer_group_metadata": [outside, member]})
    with pytest.raises(NotAMember, match="no member of its group now"):
        made.membership()
    assert made.membership() == member


@pytest.mark.parametrize("metadata", [b"CGMDv3:\0\0\0\0g\0\0\1", b"", b"CGMDv2:", None])
def test_group_metadata_of_an_unknown_form_is_an_error(metadata):
    with pytest.raises(BrokerError, match="does not know"):
        generation_of(metadata)


# -- errors


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_what_does_not_mend_itself_is_raised(code):
    made, _ = reader(script={"poll": [failing(code, T0)], "consume": [[]]})
    with pytest.raises(BrokerError, match="reading t/0: .*as the broker says"):
        made.poll(1)


def test_a_fatal_error_loses_the_client():
    made, _ = reader(script={"poll": [failing(KafkaError.FENCED_INSTANCE_ID, fatal=True)], "consume": [[]]})
    with pytest.raises(ClientLost, match="reading: FENCED_INSTANCE_ID"):
        made.poll(1)


def test_what_mends_itself_is_counted_and_logged_and_the_records_beside_it_are_given(caplog):
    made, _ = reader(script={"poll": [failing(KafkaError._TRANSPORT)], "consume": [records(T0, 0)]})
    with caplog.at_level(logging.WARNING, "fyke.kafka"):
        assert [chunk.next for chunk in made.poll(1)] == [1]
    assert made.errors == {"_TRANSPORT": 1}
    assert "reading: _TRANSPORT: as the broker says" in caplog.text


def gap(wanted, ends, policy):
    script = {
        "poll": [failing(KafkaError._AUTO_OFFSET_RESET, T0)],
        "consume": [records(T1, 0)],
        "get_watermark_offsets": [ends],
    }
    return reader(positions={T0: wanted, T1: 0}, script=script, on_gap=policy)


@pytest.mark.parametrize(
    ("wanted", "ends", "said"),
    [
        (5, (30, 40), r"t/0: offset 5 is due, but the log holds 30 to 39: 25 records from there on are gone"),
        (50, (30, 40), r"t/0: offset 50 is due, but the log holds 30 to 39: the log ends before it"),
    ],
)
def test_a_gap_is_an_error_by_default(wanted, ends, said):
    made, _ = gap(wanted, ends, "fail")
    with pytest.raises(DataError, match=said + r'.*say on_offset_gap="earliest" or "latest"'):
        made.poll(1)


@pytest.mark.parametrize(("policy", "position"), [("earliest", 30), ("latest", 40)])
def test_a_gap_is_bridged_aloud_where_that_is_wanted(policy, position, caplog):
    made, client = gap(5, (30, 40), policy)
    with caplog.at_level(logging.ERROR, "fyke.kafka"):
        assert [chunk.partition for chunk in made.poll(1)] == [T1]
    assert (client.calls[-1][0], client.calls[-1][1].offset) == ("seek", position)
    assert made.positions[T0] == position
    assert made.gaps == {T0: 1}
    assert f"going on at the {policy}" in caplog.text


def test_a_gap_of_a_partition_that_has_gone_is_nobodys():
    made, client = reader(
        positions={T1: 0},
        script={"poll": [failing(KafkaError._AUTO_OFFSET_RESET, T0)], "consume": [[]]},
    )
    assert made.poll(1) == []
    assert client.names() == ["poll", "consume"]


# -- positions


def test_committed_offsets_come_with_their_metadata():
    answer = [TopicPartition("t", 0, 5, "v1:x"), TopicPartition("t", 1, -1001)]
    made, _ = reader(script={"committed": [answer]})
    assert made.committed([T0, T1], 10) == {T0: (5, "v1:x"), T1: None}
    assert made.committed([], 10) == {}


def test_asking_is_repeated_while_the_broker_is_away():
    away = KafkaError(KafkaError._TRANSPORT)
    made, client = reader(script={"committed": [TIMED_OUT, away, [TopicPartition("t", 0, 5, "")]]})
    assert made.committed([T0], 10) == {T0: (5, "")}
    assert client.names() == ["committed"] * 3
    made, _ = reader(script={"committed": [away] * 1000})
    with pytest.raises(ClientLost, match="committed offsets: no answer within 3 s"):
        made.committed([T0], 3)
    made, _ = reader(script={"committed": [KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)]})
    with pytest.raises(ClientLost, match="GROUP_AUTHORIZATION_FAILED"):
        made.committed([T0], 3)


@pytest.mark.parametrize(("start", "offset"), [("earliest", 30), ("latest", 40)])
def test_a_partition_without_a_committed_offset_begins_where_the_user_says(start, offset):
    made, _ = reader(script={"get_watermark_offsets": [(30, 40)]}, start=start)
    assert made.beginning(T0) == offset


@pytest.mark.parametrize(
    ("settings", "calls"),
    [(COOPERATIVE, ["seek", "incremental_unassign", "incremental_assign"]), (EAGER, ["seek", "assign"])],
)
def test_a_partition_that_is_not_being_fetched_is_assigned_anew_to_be_sought(settings, calls):
    made, client = reader(settings, script={"seek": [STATE]})
    made.seek(T0, 3)
    assert client.names() == calls
    assert [tp.offset for tp in client.calls[-1][1] if tp.partition == 0] == [3]
    assert made.positions == {T0: 3, T1: 0}


def test_a_seek_that_is_refused_loses_the_client():
    made, _ = reader(script={"seek": [KafkaError(KafkaError._UNKNOWN_PARTITION)]})
    with pytest.raises(ClientLost, match="seeking to 3 in t/0: _UNKNOWN_PARTITION"):
        made.seek(T0, 3)


def test_a_commit_that_is_refused_asks_for_a_rewind():
    refused = TopicPartition("t", 0, 5)
    made, _ = reader(script={"commit": [KafkaError(KafkaError.ILLEGAL_GENERATION), [refused]]})
    with pytest.raises(AbortNeeded, match="committing offsets: ILLEGAL_GENERATION"):
        made.commit([refused])
    made.commit([refused])


def test_settings_that_librdkafka_does_not_know_are_named():
    with pytest.raises(DefinitionError, match='No such configuration property: "fetching"'):
        Reader(consumer_settings("127.0.0.1:1", "app", user={"consumer.fetching": 5}))
