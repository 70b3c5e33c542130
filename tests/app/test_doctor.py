"""What the doctor says of what brokers say. Without a broker; tests/kafka/test_doctor_on_broker.py asks a real one."""

from dataclasses import replace

import pytest

from fyke.app.doctor import Facts, judge
from fyke.kafka.admin import Group
from fyke.kafka.consumer import Partition
from fyke.kafka.offsets import Committed, new_cid

LEAST_2 = {"min.insync.replicas": "2", "retention.ms": str(7 * 86_400_000)}
SHORT = {**LEAST_2, "retention.ms": "3600000"}
NOW = 1_700_000_000 * 10**9
PAYMENTS = [Partition("payments", n) for n in range(2)]
ALERTS = [Partition("alerts", 0)]


def committed(next, behind_s, offset=None):
    """What was committed: offset and metadata."""
    text = Committed(new_cid(3), next, NOW - int(behind_s * 1e9), 7).text()
    return next if offset is None else offset, text


WELL = Facts(
    inputs={"payments": 2},
    outputs={"alerts": 1},
    group=Group(
        "stable", "cooperative-sticky", {"a at h1": frozenset(PAYMENTS[:1]), "b at h2": frozenset(PAYMENTS[1:])}
    ),
    committed={PAYMENTS[0]: committed(90, 5), PAYMENTS[1]: committed(100, 2)},
    beginnings=dict.fromkeys(PAYMENTS, 0),
    ends=dict.fromkeys([*PAYMENTS, *ALERTS], (100, 100)),
    stuck=frozenset(),
    watched_s=20.0,
    replicas={"payments": 3, "alerts": 3},
    settings=dict.fromkeys(("payments", "alerts"), LEAST_2),
    broker={"transaction.max.timeout.ms": "900000", "offsets.retention.minutes": "10080"},
    transaction_timeout_ms=15_000,
    now_ns=NOW,
)
ONE_OF_TWO = Group("stable", "", {"a": frozenset(PAYMENTS[:1])})
ALL_OPEN = dict.fromkeys([*PAYMENTS, *ALERTS], (90, 100))


def said(**changes):
    """(level, about, text) of all that is not well."""
    return [(f.level, f.about, f.text) for f in judge(replace(WELL, **changes)) if f.level != "ok"]


def test_an_app_that_is_well_has_no_complaint_and_says_what_was_looked_at():
    assert said() == []
    texts = {f.about: f.text for f in judge(WELL)}
    assert texts["group"] == "2 instances"
    assert texts["lag"] == "10 records wait in all, most in payments/0: 10"
    assert texts["event time"] == "payments/0 is the furthest behind the clock: 5 s, as committed"
    assert texts["transactions"] == "none is open"


@pytest.mark.parametrize(
    ("changes", "level", "about", "text"),
    [
        ({"inputs": {"payments": None}}, "problem", "topic payments", "no such topic"),
        ({"outputs": {"alerts": None}}, "problem", "topic alerts", "no such topic"),
        ({"inputs": {"payments": 2, "limits": 3}}, "problem", "inputs", "payments 2, limits 3"),
        ({"group": Group("empty", "", {})}, "warning", "group", "no instance is running"),
        ({"group": Group("preparing_rebalancing", "", {"a": frozenset()})}, "warning", "group", "handed out"),
        ({"group": ONE_OF_TWO}, "problem", "group", "1 partitions are nobody's: payments/1"),
        ({"beginnings": dict.fromkeys(PAYMENTS, 95)}, "problem", "payments/0", "5 records are gone unread"),
        ({"committed": {PAYMENTS[0]: (4, "v9:x")}}, "problem", "payments/0", "a later version of fyke"),
        ({"stuck": frozenset(ALERTS), "ends": ALL_OPEN}, "problem", "alerts/0", "has been 90 for 20 s"),
        ({"broker": {"transaction.max.timeout.ms": "9"}}, "problem", "transaction.max.timeout.ms", "brokers allow 9"),
        ({"broker": {"offsets.retention.minutes": "60"}}, "warning", "offsets.retention.minutes", "after 60 minutes"),
        ({"replicas": {"payments": 1}}, "warning", "topic payments", "one replica"),
        ({"replicas": {"payments": 2}}, "warning", "topic payments", "min.insync.replicas=2 of 2 replicas"),
        ({"settings": {"payments": LEAST_2}}, "warning", "topic alerts", "min.insync.replicas=1"),
        ({"settings": {"payments": SHORT, "alerts": SHORT}}, "warning", "topic payments", "kept for 1h"),
    ],
)  # fmt: skip
def test_each_thing_that_can_be_wrong_is_said_once_with_where_and_what(changes, level, about, text):
    found = [each for each in said(**changes) if text in each[2]]
    assert [(each[0], each[1]) for each in found] == [(level, about)]


def test_problems_come_before_warnings_before_what_is_well():
    levels = [f.level for f in judge(replace(WELL, replicas={"payments": 1}, outputs={"alerts": None}))]
    assert levels == sorted(levels, key=["problem", "warning", "ok"].index)


def two_inputs(left, right):
    partitions = {Partition("left", 0): left, Partition("right", 0): right}
    return said(
        inputs={"left": 1, "right": 1},
        group=Group("stable", "range", {"a": frozenset(partitions)}),
        committed=partitions,
        beginnings=dict.fromkeys(partitions, 0),
        ends=dict.fromkeys([*partitions, *ALERTS], (100, 100)),
    )


def test_the_input_that_holds_a_task_back_is_named():
    assert two_inputs(committed(100, 5), committed(100, 3605)) == [
        ("warning", "right/0", "it holds task 0 back: 1h behind left/0")
    ]
    assert two_inputs(committed(100, 5), committed(100, 6)) == []


def test_an_input_without_a_record_yet_is_named_with_what_to_do():
    never = (0, Committed(new_cid(3), 0, -(2**63), 7).text())
    ((level, about, text),) = two_inputs(committed(100, 5), never)
    assert (level, about) == ("warning", "right/0")
    assert "idle=" in text


def test_open_transactions_that_end_in_time_are_no_problem():
    findings = judge(replace(WELL, ends={**WELL.ends, ALERTS[0]: (90, 100)}))
    assert [f.text for f in findings if f.about == "transactions"] == ["open in 1 partitions"]
