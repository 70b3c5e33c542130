"""An instance of an app on the broker in memory."""

import json

from fyke.app.backends import StoreBackend
from fyke.app.changelog import Changelog
from fyke.app.delivery import AtLeastOnce, ExactlyOnce
from fyke.app.parts import prepared
from fyke.app.runtime import Limits, Runtime
from fyke.errors import StateError
from fyke.kafka.consumer import Reader
from fyke.kafka.producer import Producer
from fyke.kafka.transaction import TransactionalProducer
from tests.kafka import memory


class MemoryStore:
    """A store that outlives its instances. `at` is told what is done, as Cluster.at is."""

    name = "memory"

    def __init__(self, blobs, at=lambda client, what, when: None):
        self._blobs, self._at = blobs, at

    def save(self, name, data):
        self._at(self, "save", "before")
        if name in self._blobs:
            raise StateError(f"{name} is there already")
        self._blobs[name] = bytes(data)
        self._at(self, "save", "after")

    def load(self, name):
        return self._blobs[name]

    def list(self):
        return sorted(self._blobs)

    def delete(self, name):
        self._at(self, "delete", "before")
        self._blobs.pop(name, None)

    def close(self):
        pass


def runtime_of(
    plan, cluster, blobs, *, name="one", guarantee="exactly_once", is_shared=True, part="", most=lambda: 50,
    batch=100, at=lambda client, what, when: None, changelog=None, **limits,
):  # fmt: skip
    """Start an instance; it is in its group from the first step on. changelog: the topic of its states."""
    settings = {"group.id": plan.group, "partition.assignment.strategy": "cooperative-sticky"}
    reader = Reader(settings, make=lambda s: memory.Consumer(cluster, s, most), clock=cluster.clock, batch=batch)
    if guarantee == "exactly_once":
        ours = {"transactional.id": name, "transaction.timeout.ms": 15_000}
        delivery = ExactlyOnce(
            lambda: TransactionalProducer(ours, lambda s: memory.Producer(cluster, s), cluster.clock), 5
        )
    else:
        delivery = AtLeastOnce(lambda: Producer({}, lambda s: memory.Producer(cluster, s), cluster.clock))
    limits = Limits(**{"commit_every_s": 0.3, "within_s": 2, "settled_s": 20} | limits)
    if changelog is None:
        backend = StoreBackend(MemoryStore(blobs, at), is_shared=is_shared, part=part)
    else:
        backend = Changelog(
            changelog, delivery,
            lambda: Reader({"group.id": "restore", "enable.partition.eof": True},
                           make=lambda s: memory.Consumer(cluster, s), clock=cluster.clock),
            lambda partition: len(cluster.logs[partition]), chunk=1000, clock=cluster.clock,
        )  # fmt: skip
    partitions = cluster.numbers[plan.inputs[0]]
    made = Runtime(plan, reader, delivery, backend, partitions=partitions, limits=limits, clock=cluster.clock)
    made.subscribe()
    return made


class MemoryAdmin:
    """As `prepared` asks it."""

    def __init__(self, cluster):
        self._cluster = cluster

    def partitions(self, topics):
        return {topic: self._cluster.numbers[topic] for topic in topics}

    def make(self, topic, partitions, settings):
        is_new = topic not in self._cluster.numbers
        if is_new:
            self._cluster.numbers[topic] = partitions
            self._cluster.logs |= {(topic, p): memory.Log() for p in range(partitions)}
        return is_new


def parts_of(app, cluster):
    """The plans of an app's parts, with their topics made."""
    return [part.plan for part in prepared(MemoryAdmin(cluster), app.plans(), False)]


class Parts:
    """The parts of an instance, one after the other."""

    def __init__(self, runtimes):
        self._runtimes = runtimes

    def step(self, timeout_s):
        for runtime in self._runtimes:
            runtime.step(timeout_s)

    def stop(self):
        for runtime in self._runtimes:
            runtime.stop()


def run_to_end(runtime, cluster, steps=20):
    """Let an instance read all there is, and stop in order."""
    for _ in range(steps):
        cluster.clock.now += 0.2
        runtime.step(0)
    runtime.stop()


def rows(cluster, topic):
    """The committed rows of a topic."""
    return [json.loads(value) for value in cluster.committed(topic)]
