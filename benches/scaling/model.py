"""Discrete events of an app of many instances: failures, their detection, tasks that move, state that is restored.

What is simulated is what the runtime does. A task (a partition) belongs to one instance. An instance commits all its
tasks every `commit_s`; one that dies loses what it did since, and that is done again. The group notices a death after
`session_s`, hands the tasks to those with fewest, `rebalance_s` later; a new owner fetches the state of its tasks one
after the other at `restore_mb_s`, unless it keeps a standby copy; other tasks go on meanwhile. An instance that comes
back takes its share of tasks again: these are committed before they move, so nothing is done twice. Rows come evenly;
what waits is worked off with what an instance has left beside its rows, all of its tasks together.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy


@dataclass(frozen=True, slots=True)
class Setup:
    """A deployment. Times in seconds, state in MB (10^6 bytes), rates a second.

    Args:
        partitions, instances: of the one driving topic; tasks are partitions.
        rows_per_partition: rows a second that come into each partition.
        rows_per_instance: rows a second that an instance can do.
        commit_s: commit interval.
        state_mb: state of a task.
        restore_mb_s: at which an instance fetches and loads state.
        session_s: after which the group gives up a silent member; a clean stop says goodbye.
        rebalance_s: from the group's decision to the owner's start.
        restart_s: after which a dead instance is there again.
        between_failures_s: mean time between the failures of one instance, exponentially distributed.
        standby: new owners hold a copy that takes so many seconds to bring up to date; None: they hold none.
    """

    partitions: int = 1_000
    instances: int = 100
    rows_per_partition: float = 1_000.0
    rows_per_instance: float = 20_000.0
    commit_s: float = 1.0
    state_mb: float = 100.0
    restore_mb_s: float = 200.0
    session_s: float = 10.0
    rebalance_s: float = 3.0
    restart_s: float = 60.0
    between_failures_s: float = 6 * 3600.0
    standby: float | None = None


@dataclass(slots=True)
class Outcome:
    """What a run cost.

    Attributes:
        hours: simulated.
        failures: of instances.
        pauses: seconds without progress of a partition whose instance died.
        moves: seconds without progress of a partition that was moved to an instance that came back.
        catch_ups: seconds from a failure until its last partition had no backlog any more.
        repeated: rows done twice.
        rows: rows that came.
        stopped: partition seconds without progress.
    """

    hours: float = 0.0
    failures: int = 0
    pauses: list[float] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    catch_ups: list[float] = field(default_factory=list)
    repeated: float = 0.0
    rows: float = 0.0
    stopped: float = 0.0


class Instance:
    """A process: its tasks, the backlog of all of them, and the queue of states to fetch."""

    def __init__(self, env: simpy.Environment, setup: Setup, number: int, phase: float) -> None:
        self.number = number
        self.is_up = True
        self.tasks: set[int] = set()  # its own, also those whose state is still under way
        self.running: set[int] = set()
        self.fetching = simpy.Resource(env)
        self.generation = 0  # what was begun before a failure is void after it
        self._env, self._setup, self._phase = env, setup, phase
        self._backlog, self._at = 0.0, env.now

    def spare(self) -> float:
        """Rows a second beside those that come in; below 0: it falls behind."""
        return self._setup.rows_per_instance - len(self.running) * self._setup.rows_per_partition

    def backlog(self) -> float:
        """Bring the backlog up to now and return it, rows."""
        elapsed = self._env.now - self._at
        self._backlog, self._at = max(0.0, self._backlog - elapsed * self.spare()), self._env.now
        return self._backlog

    def start(self, task: int, rows: float) -> None:
        """Begin to work on a task with so many rows waiting."""
        self.backlog()
        self.running.add(task)
        self._backlog += rows

    def stop(self, task: int) -> float:
        """Let go of a task; returns the rows that wait in it: an even share of the instance's."""
        share = self.backlog() / max(1, len(self.running)) if task in self.running else 0.0
        self._backlog -= share
        self.tasks.discard(task)
        self.running.discard(task)
        return share

    def uncommitted_s(self) -> float:
        """Seconds since the last commit."""
        return (self._env.now - self._phase) % self._setup.commit_s


class App:
    """The group and its instances."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.env = simpy.Environment()
        self.setup = setup
        self.outcome = Outcome()
        self._random = np.random.default_rng(seed)
        phases = self._random.uniform(0, setup.commit_s, setup.instances)
        self.instances = [Instance(self.env, setup, i, phases[i]) for i in range(setup.instances)]
        self.stopped_at: dict[int, float] = {}  # tasks that make no progress, since when
        self._waiting: dict[int, float] = {}  # rows that wait in them from before
        self._moving: set[int] = set()  # of these, the ones that no failure stopped
        for task in range(setup.partitions):
            owner = self.instances[task % setup.instances]
            owner.tasks.add(task)
            owner.running.add(task)
        for instance in self.instances:
            self.env.process(self._life(instance))

    def run(self, hours: float) -> Outcome:
        """Run for so long and return what it cost."""
        self.env.run(until=hours * 3600)
        self.outcome.hours = hours
        self.outcome.rows = hours * 3600 * self.setup.partitions * self.setup.rows_per_partition
        self.outcome.stopped += sum(self.env.now - since for since in self.stopped_at.values())
        return self.outcome

    # -- failures

    def _life(self, instance: Instance) -> Generator[Any, Any, None]:
        while True:
            yield self.env.timeout(self._random.exponential(self.setup.between_failures_s))
            self.env.process(self.fail(instance))
            yield self.env.timeout(self.setup.restart_s)

    def fail(self, instance: Instance) -> Generator[Any, Any, None]:
        """Kill an instance now, have the group notice, and bring it back."""
        setup, began = self.setup, self.env.now
        self.outcome.failures += 1
        lost = instance.uncommitted_s() * setup.rows_per_partition
        self.outcome.repeated += lost * len(instance.running)
        orphans = sorted(instance.tasks)
        for task in orphans:
            if task in instance.running:
                self._halt(task, instance.stop(task) + lost)
            instance.tasks.discard(task)
            self._moving.discard(task)
        instance.is_up = False
        instance.generation += 1
        yield self.env.timeout(min(setup.session_s, setup.restart_s))
        moves = [self._place(task) for task in orphans]
        yield self.env.timeout(setup.rebalance_s)
        fetches = [self.env.process(self._take_over(task, owner)) for task, owner in moves]
        self.env.process(self._come_back(instance, began))
        yield self.env.all_of(fetches)
        owners = {owner for _, owner in moves if owner.is_up}
        wait = max((each.backlog() / each.spare() for each in owners if each.spare() > 0), default=0.0)
        self.outcome.catch_ups.append(self.env.now - began + wait)

    def _come_back(self, instance: Instance, failed_at: float) -> Generator[Any, Any, None]:
        """Take a fair share again: tasks that are committed, moved, and restored here."""
        setup = self.setup
        yield self.env.timeout(max(0.0, failed_at + setup.restart_s - self.env.now))
        instance.is_up = True
        fair = setup.partitions // sum(each.is_up for each in self.instances)
        moves = []
        while len(instance.tasks) < fair:
            fullest = max(self.instances, key=lambda each: (len(each.running), -each.number))
            if len(fullest.running) <= fair:
                break
            task = min(fullest.running)
            self._halt(task, fullest.stop(task))
            instance.tasks.add(task)
            self._moving.add(task)
            moves.append(task)
        yield self.env.timeout(setup.rebalance_s)
        for task in moves:
            self.env.process(self._take_over(task, instance))

    # -- tasks

    def _halt(self, task: int, rows: float) -> None:
        self.stopped_at[task] = self.env.now
        self._waiting[task] = rows

    def _place(self, task: int) -> tuple[int, Instance]:
        """Give a task to the instance that has the fewest."""
        owner = min((each for each in self.instances if each.is_up), key=lambda each: (len(each.tasks), each.number))
        owner.tasks.add(task)
        return task, owner

    def _take_over(self, task: int, owner: Instance) -> Generator[Any, Any, None]:
        """Fetch the state and begin, unless the owner dies meanwhile: whoever then gets the task begins anew."""
        setup, generation = self.setup, owner.generation
        with owner.fetching.request() as turn:
            yield turn
            if owner.generation == generation:
                yield self.env.timeout(setup.state_mb / setup.restore_mb_s if setup.standby is None else setup.standby)
        if owner.generation != generation or task not in owner.tasks:
            return
        pause = self.env.now - self.stopped_at.pop(task)
        (self.outcome.moves if task in self._moving else self.outcome.pauses).append(pause)
        self._moving.discard(task)
        self.outcome.stopped += pause
        owner.start(task, self._waiting.pop(task) + pause * setup.rows_per_partition)
