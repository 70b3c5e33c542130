"""Schedules: a few instances on the broker in memory, and a crash, a lost answer, a zombie or a rebalance at any step.

    python -m tests.kafka.schedules [SCHEDULES [FIRST]]

A schedule is a number, the seed of all that happens in it. At its end every instance is let go on undisturbed until all
is read; then the committed results must be those of an engine for each partition: nothing lost, nothing doubled, in
order for each key.
"""

import logging
import random
import sys
import time
from collections import Counter

from fyke.kafka.failures import BrokerError
from tests.kafka import apps, memory, memory_app

SOURCE, OUT, GROUP = "payments", "out", "app"
PARTITIONS = 3
STEPS = 60
RARELY = 0.024  # how often something goes wrong in a call of a client: half of these are crashes


class Schedule:
    """One run of all that a seed says."""

    def __init__(self, seed, guarantee="exactly_once"):
        self.rng = random.Random(seed)
        self.guarantee = guarantee
        topics = dict.fromkeys((SOURCE, "changelog-0", "changelog-1"), PARTITIONS)
        self.cluster = memory.Cluster(topics | dict.fromkeys((f"{OUT}-{each}" for each in ("hits", "sums", "late")), 1))
        self.changelog = None if seed % 3 else "changelog"  # else a store that all share
        self.blobs, self.faults = {}, Counter()
        self.is_calm = False
        self.cluster.at = self.at
        # Every tenth with patterns and all outputs, which costs several times as much.
        self.streams = apps.by_amount if seed % 5 == 4 else apps.sums_only if seed % 10 else apps.outputs
        app = apps.make_app(GROUP, "localhost:9092", SOURCE, OUT, self.streams)
        self.plans = memory_app.parts_of(app, self.cluster)
        self.made = apps.events(self.rng.randrange(20, 120), PARTITIONS, seed=seed, cards=6)
        self.unwritten = list(self.made)
        self.instances = {}  # name -> Runtime, or None: it is not running
        self.clients = {}
        self.acting = []  # who does something now; a second one while the first is asleep in the middle

    def at(self, client, what, when):
        """Where a fault may happen."""
        if self.is_calm or self.rng.random() >= RARELY:
            return
        kind = self.rng.random()
        if kind < 0.25 and len(self.acting) == 1:
            self.sleep_through_session()
        elif kind < 0.6:
            self.faults[f"crash {when} {what}"] += 1
            raise memory.Crash
        elif what in ("init_transactions", "send_offsets", "commit_transaction", "abort_transaction", "committed"):
            self.faults[f"lost answer {when} {what}"] += 1
            raise memory.raised(memory.TIMED_OUT)

    def start(self, name):
        runtimes = [
            memory_app.runtime_of(
                plan, self.cluster, self.blobs, name=f"{name}-{i}", guarantee=self.guarantee, at=self.at,
                most=lambda: self.rng.randrange(1, 30), batch=self.rng.choice([1, 7, 100]),
                changelog=self.changelog and f"{self.changelog}-{i}", part=f"{i}-",
            )
            for i, plan in enumerate(self.plans)
        ]  # fmt: skip
        self.clients[name] = [runtime._reader._client for runtime in runtimes]
        return memory_app.Parts(runtimes)

    def step(self):
        """One thing happens."""
        rng = self.rng
        self.cluster.clock.now += rng.choice([0.01, 0.1, 0.5])
        what = rng.random()
        if what < 0.3 and self.unwritten:
            for _ in range(rng.randrange(1, 12)):
                if self.unwritten:
                    partition, value, key = self.unwritten.pop(0)
                    self.cluster.write(SOURCE, partition, value, key)
        elif what < 0.34:
            self.expire_one()
        elif what < 0.37 and any(self.instances.values()):
            self.faults["stopped in order"] += 1
            running = [name for name, runtime in self.instances.items() if runtime]
            self.of(rng.choice(running), lambda runtime: runtime.stop(), ends=True)
        else:
            name = rng.choice("abc")
            if self.instances.get(name) is None:
                self.of(name, None)
            else:
                self.of(name, lambda runtime: runtime.step(0))

    def expire_one(self):
        """A session is over: of one that crashed, or of one that only sleeps, which is a zombie then."""
        plan = self.rng.choice(self.plans)
        members = sorted(self.cluster.groups[plan.group].members)
        if members:
            member = self.rng.choice(members)
            self.faults["zombie" if member in self.alive(plan) else "session over"] += 1
            self.cluster.expire(plan.group, member)

    def alive(self, plan):
        """The members of a part's group that run."""
        i = self.plans.index(plan)
        return {self.clients[name][i].name for name, runtime in self.instances.items() if runtime}

    def sleep_through_session(self):
        """Who is acting is stopped in the middle of it, loses its session, and the others go on; then it wakes up."""
        if self.acting[0] in self.clients:
            self.faults["asleep in the middle"] += 1
            for plan, client in zip(self.plans, self.clients[self.acting[0]], strict=True):
                self.cluster.expire(plan.group, client.name)
            for name in "abc" * 3:
                if name not in self.acting and self.instances.get(name):
                    self.of(name, lambda runtime: runtime.step(0))
                    self.cluster.clock.now += 0.2

    def of(self, name, act, ends=False):
        """Let an instance start or act; it may crash at it, or give up."""
        self.acting.append(name)
        try:
            if act is None:
                self.instances[name] = self.start(name)
            else:
                act(self.instances[name])
                if ends:
                    self.instances[name] = None
        except memory.Crash:
            self.instances[name] = None
        except BrokerError:
            self.faults["gave up"] += 1
            self.instances[name] = None
        finally:
            self.acting.pop()

    def run(self):
        """Do everything, and give what was seen and what was to be seen."""
        for _ in range(STEPS):
            self.step()
        self.is_calm = True
        for partition, value, key in self.unwritten:
            self.cluster.write(SOURCE, partition, value, key)
        for plan in self.plans:
            for member in sorted(self.cluster.groups[plan.group].members):
                if member not in self.alive(plan):
                    self.cluster.expire(plan.group, member)
        for turn in range(400):
            self.cluster.clock.now += 0.2
            for name in "abc":
                if self.instances.get(name) is None:
                    if turn == 0:
                        self.of(name, None)
                else:
                    self.of(name, lambda runtime: runtime.step(0))
            left = self.left()
            if not left:
                break
        else:
            raise AssertionError(f"it does not get to the end: {left}")
        if self.streams is apps.by_amount:
            return self.seen(), apps.expected_by_amount(self.made)
        return self.seen(), {name: by for name, by in apps.expected(self.made, SOURCE, self.streams).items() if by}

    def left(self):
        """Partitions of inputs that are not processed up to their last record: what is committed, and the end."""
        found = {}
        for plan in self.plans:
            for topic in plan.inputs:
                for p in range(PARTITIONS):
                    log = self.cluster.logs[topic, p]
                    end = max((i + 1 for i, entry in enumerate(log) if memory.is_visible(entry)), default=0)
                    at = self.cluster.groups[plan.group].offsets.get((topic, p), (0,))[0]
                    if at < end or log.stable < len(log):
                        found[topic, p] = (at, end)
        return found

    def seen(self):
        found = {}
        for output in ("hits", "sums", "late"):
            for row in memory_app.rows(self.cluster, f"{OUT}-{output}"):
                found.setdefault(output, {}).setdefault(row.get("card", row.get("amount")), []).append(apps.plain(row))
        return found


def run(schedules, first=0, guarantee="exactly_once"):
    """Run schedules; give the faults by kind. Raises AssertionError with the number of the one that went wrong."""
    faults = Counter()
    for seed in range(first, first + schedules):
        schedule = Schedule(seed, guarantee)
        try:
            seen, wanted = schedule.run()
        except Exception as error:
            raise AssertionError(f"schedule {seed}: {error!r}") from error
        assert seen == wanted, f"schedule {seed}: {seen} is not {wanted}"
        faults += schedule.faults
    return faults


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    n, start = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = time.monotonic()
    found = run(n, start)
    for what, times in sorted(found.items()):
        print(f"{times:8,} {what}")
    print(f"schedules: {n:,} ok, {sum(found.values()):,} faults, {time.monotonic() - began:.0f} s")
