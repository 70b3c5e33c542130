"""Where a task's inputs land: which ways put partition p of two topics on one member, as a task with two inputs needs.

Proven here, and built on: `range`, in a classic group or as the broker's assignor of a KIP-848 group, gives every
member the same partition numbers of all topics with equal partition counts. Another way, with any assignor: a group
that subscribes to one topic commits offsets of others that its members read by assignment alone, which
test_transactions.py shows. Not a way: cooperative-sticky and `uniform` scatter them.
"""

from contextlib import ExitStack

import pytest

from tests.kafka import clients

pytestmark = pytest.mark.kafka
PARTITIONS = 4


def numbers_by_topic(member):
    """{topic: partition numbers} of a member."""
    found = {}
    for each in member.assignment():
        found.setdefault(each.topic, set()).add(each.partition)
    return found


def all_have(members, topics):
    """Whether every partition of every topic is with exactly one of the members, and none of them is idle."""
    given = [(each.topic, each.partition) for member in members for each in member.assignment()]
    everything = {(topic, p) for topic in topics for p in range(PARTITIONS)}
    return len(given) == len(everything) and set(given) == everything and all(m.assignment() for m in members)


def are_together(members, topics):
    """Whether each member has the same partition numbers of each topic."""
    return all(len({frozenset(numbers_by_topic(m).get(topic, ())) for topic in topics}) == 1 for m in members)


@pytest.mark.parametrize(
    ("protocol", "assignor"), [("classic", "range"), ("consumer", "range")], ids=["classic", "kip-848"]
)
def test_range_puts_equal_partitions_of_two_topics_on_one_member(brokers, make_topic, protocol, assignor):
    """With one, two and three members, and with two again after one has left."""
    topics, group = [make_topic(PARTITIONS), make_topic(PARTITIONS)], clients.new_name("group")
    settings = clients.join_settings(brokers, group, protocol, assignor)
    members = []
    with ExitStack() as stack:
        for _ in range(3):
            members.append(stack.enter_context(clients.group_member(brokers, group, *topics, **settings)))
            clients.assigned_within(30, *members, done=lambda: all_have(members, topics))
            assert are_together(members, topics), [numbers_by_topic(member) for member in members]
        members.pop(0).close()
        clients.assigned_within(30, *members, done=lambda: all_have(members, topics))
        assert are_together(members, topics), [numbers_by_topic(member) for member in members]


@pytest.mark.parametrize(
    ("protocol", "assignor"), [("classic", "cooperative-sticky"), ("consumer", "uniform")], ids=["classic", "kip-848"]
)
def test_assignors_that_balance_by_number_scatter_them(brokers, make_topic, protocol, assignor):
    """Three members, two topics of four partitions: one of them has a partition without its twin."""
    topics, group = [make_topic(PARTITIONS), make_topic(PARTITIONS)], clients.new_name("group")
    settings = clients.join_settings(brokers, group, protocol, assignor)
    with ExitStack() as stack:
        members = [
            stack.enter_context(clients.group_member(brokers, group, *topics, **settings)) for _ in range(3)
        ]  # fmt: skip
        clients.assigned_within(30, *members, done=lambda: all_have(members, topics))
        assert not are_together(members, topics)
