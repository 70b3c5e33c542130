"""Crashes, lost answers, zombies and rebalances at every step of the protocol: the results stay exact.

`make schedules` runs 10,000; here are the first ones.
"""

import logging

import numpy as np
import pytest

from fyke.app.merge import Merge
from fyke.app.rekey import PLACE
from fyke.app.runtime import Runtime
from fyke.app.task import Task
from fyke.kafka.consumer import Reader
from tests.kafka import schedules


@pytest.fixture(autouse=True)
def quiet():
    """What is brought about here is meant."""
    logging.getLogger("fyke.app").setLevel(logging.ERROR)
    yield
    logging.getLogger("fyke.app").setLevel(logging.NOTSET)


def test_committed_results_are_exact_whatever_happens():
    faults = schedules.run(30)
    for what in ("produce", "save", "send_offsets", "commit_transaction", "committed", "init_transactions"):
        assert any(what in kind for kind in faults), what
    assert faults["asleep in the middle"]
    assert sum(faults.values()) > 200


def test_at_least_once_loses_nothing_and_may_double():
    doubled = 0
    for seed in (1, 2, 3, 5, 6, 7, 8, 10):  # those without a topic between: what is doubled there is counted twice
        schedule = schedules.Schedule(seed, "at_least_once")
        seen, wanted = schedule.run()
        for output, by in wanted.items():
            for card, rows in by.items():
                there = seen[output][card]
                assert all(row in there for row in rows), seed
                doubled += len(there) - len(rows)
    assert doubled


def broken(monkeypatch, owner, name, replacement):
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(AssertionError, match="schedule"):
        schedules.run(60)


def test_state_that_is_not_taken_back_after_an_abort_would_be_noticed(monkeypatch):
    def go_back(self):
        self._is_stale = False

    broken(monkeypatch, Runtime, "_go_back", go_back)


def test_reading_on_without_seeking_back_would_be_noticed(monkeypatch):
    broken(monkeypatch, Reader, "seek", lambda self, partition, offset: None)


def test_offsets_that_run_ahead_of_the_state_would_be_noticed(monkeypatch):
    offsets = Task.offsets

    def ahead(self, point):
        for each in (made := offsets(self, point)):
            each.metadata = each.metadata.replace(f":{each.offset}:", f":{each.offset + 1}:")
            each.offset += 1
        return made

    broken(monkeypatch, Task, "offsets", ahead)


def test_rows_in_the_order_in_which_their_records_stand_would_be_noticed(monkeypatch):
    """Writers interleave as it happens; the merge must not."""

    def release(self):
        if not self._waiting:
            return None
        (_, rows), *self._waiting = self._waiting
        return rows.drop_columns([PLACE]), np.maximum.accumulate(rows.column(PLACE).to_numpy()) - 1

    broken(monkeypatch, Merge, "release", release)


def test_fencing_by_the_group_alone_would_be_noticed(monkeypatch):
    """A member that lost its partitions and did not hear of it yet must not commit."""

    def membership(self):
        group = self._client.group
        member = next(iter(group.members), "none")
        head = b"CGMDv2:" + group.generation.to_bytes(4, "little") + self._client.group_name.encode()
        return head + bytes(1) + member.encode() + bytes(2)

    broken(monkeypatch, Reader, "membership", membership)
