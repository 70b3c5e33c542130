"""How long partitions stand still when instances come and go: 100 partitions, 1 -> 4 -> 2 instances.

    python -m tests.kafka.rebalance [PARTITIONS]

A filter that copies records runs exactly once, with a commit every 200 ms, while every partition gets a record every
250 ms. The committed results carry the broker's times of writing; the longest gap between two of a partition, less the
usual one, is its time without progress. That no two instances process a partition at once shows in the results: each
record once, in order.
"""

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import fyke
from tests.kafka import clients
from tests.kafka.broker import Broker
from tests.kafka.chaos import records

ROOT = Path(__file__).parents[2]
SOURCE, OUT, APP = "in", "out", "rebalance"
EVERY_S = 0.25
PHASES = ((1, 8.0), (4, 15.0), (2, 15.0))


def worker(brokers, folder):
    """An instance: rows as they come, with where they come from."""
    app = fyke.App(
        APP, brokers=brokers, folder=folder, state=str(Path(folder).parent / "shared"), commit_every="200ms",
        settings={"log_level": 0, "consumer.session.timeout.ms": 6000, "consumer.heartbeat.interval.ms": 500},
    )  # fmt: skip
    rows = app.topic(SOURCE, schema={"n": pa.int64()}, columns={"p": "partition"})
    rows.select("p", "n").to(OUT)
    app.run()


class Load:
    """A record for every partition, every 250 ms, until stopped."""

    def __init__(self, brokers, partitions):
        self._producer = Producer(clients.quiet(brokers, enable_idempotence=True, linger_ms=1))
        self._partitions, self._over, self.n = partitions, threading.Event(), 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._over.wait(EVERY_S):
            for p in range(self._partitions):
                self._producer.produce(SOURCE, b'{"n":%d}' % self.n, partition=p)
            self.n += 1
            self._producer.poll(0)

    def stop(self):
        self._over.set()
        self._thread.join()
        assert self._producer.flush(60) == 0


def start(brokers, folder, number):
    with open(folder / f"worker-{number}.log", "ab") as log:
        arguments = [sys.executable, "-m", "tests.kafka.rebalance", "worker", brokers, str(folder / f"{number}")]
        return subprocess.Popen(arguments, cwd=ROOT, stdout=log, stderr=log)


def show(brokers, folder, partitions):
    """Run the phases; print what each change of instances costs."""
    admin = AdminClient(clients.quiet(brokers))
    for done in admin.create_topics([NewTopic(SOURCE, partitions, 1), NewTopic(OUT, 1, 1)]).values():
        done.result(30)
    workers, changes = [], []
    load = Load(brokers, partitions)
    try:
        for count, seconds in PHASES:
            changes.append((count, time.time() * 1000))
            while len(workers) < count:
                workers.append(start(brokers, folder, len(workers)))
            while len(workers) > count:
                workers.pop().send_signal(signal.SIGTERM)
            time.sleep(seconds)
        load.stop()
        deadline = time.monotonic() + 60
        while any(at < load.n for at, _ in clients.committed(brokers, APP, SOURCE, *range(partitions))):
            assert time.monotonic() < deadline, "not all is read after a minute"
            time.sleep(0.5)
    finally:
        load._over.set()
        for each in workers:
            each.terminate()
            each.wait(30)
    found = {}
    for message in records(brokers, OUT, 1):
        row = json.loads(message.value())
        found.setdefault(row["p"], []).append((message.timestamp()[1], row["n"]))
    exact = sum([n for _, n in found.get(p, ())] == list(range(load.n)) for p in range(partitions))
    for (before, _), (count, at) in itertools.pairwise(changes):
        end = next((t for _, t in changes if t > at), float("inf"))
        gaps = []
        for rows in found.values():
            times = [t for t, _ in rows if at - 1000 <= t < end]
            gaps.append(max((b - a for a, b in itertools.pairwise(times)), default=0) / 1000)
        print(
            f"{before} -> {count} instances: longest time without progress of a partition: "
            f"median {statistics.median(gaps):.2f} s, worst {max(gaps):.2f} s"
        )
    seen = sum(map(len, found.values()))
    distinct = sum(len({n for _, n in rows}) for rows in found.values())
    print(
        f"rebalance: {partitions} partitions, {load.n:,} records each: {partitions * load.n - distinct} lost, "
        f"{seen - distinct} doubled, {exact} partitions exact and in order"
    )
    return 0 if exact == partitions else 1


def main():
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
        return 0
    partitions = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    with tempfile.TemporaryDirectory(prefix="fyke-rebalance-") as path:
        folder = Path(path)
        with Broker(folder / "broker", seconds=600) as broker:
            return show(broker.address, folder, partitions)


if __name__ == "__main__":
    sys.exit(main())
