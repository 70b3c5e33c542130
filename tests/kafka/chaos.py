"""Exactly once, on a real broker, with everything going wrong: workers killed, stopped, added, removed; the broker too.

    python -m tests.kafka.chaos [SECONDS [SEED]]        make chaos DURATION=60

Events, some late and some that cannot be read, are written all the time to a topic of four partitions; two or three
processes run the app of apps.py over it. At random a worker is killed (kill -9), stopped for longer than its session
lasts and woken up (a zombie), told to abort a transaction, ended in order or joined by another one; now and then the
broker is restarted. In the end a reader of committed records must see, for each key in order, what an engine for each
partition gives of the log as it is; late rows and dead letters among them.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka import apps, clients
from tests.kafka.broker import Broker

PARTITIONS = 4
SESSION_MS = 2500
PER_S = 300
ROOT = Path(__file__).parents[2]


class Chaos:
    """One run.

    Args:
        folder: for the broker's data, states and logs.
        seconds: how long things go wrong.
        seed: of what and when.
    """

    def __init__(self, folder, seconds, seed):
        self.folder, self.seconds, self.rng = folder, seconds, random.Random(seed)
        self.broker = Broker(folder / "broker", seconds=seconds * 3 + 600)
        self.faults = Counter()
        self.workers = {}  # number -> process
        self.asleep = {}  # number -> when to wake it
        self.source, self.out, self.app = "payments", "out", "chaos"
        self.written = 0

    def run(self):
        """Do it all; give whether all is exact."""
        self.broker.start()
        admin = AdminClient(clients.quiet(self.broker.address))
        names = [f"{self.out}-{output}" for output in ("hits", "sums", "late", "dead")]
        topics = [NewTopic(self.source, PARTITIONS, 1), *(NewTopic(name, 1, 1) for name in names)]
        for done in admin.create_topics(topics).values():
            done.result(10)
        producer = Producer(clients.quiet(self.broker.address, enable_idempotence=True, linger_ms=5))
        try:
            self.start(0)
            self.start(1)
            self.disturb(producer)
            self.settle(producer)
            return self.compare()
        finally:
            for worker in self.workers.values():
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
            self.broker.stop()

    # -- workers

    def start(self, number):
        arguments = [
            self.app, self.broker.address, self.source, self.out, str(self.folder / f"worker-{number}"),
            str(self.folder / "shared"), "classic", str(SESSION_MS),
        ]  # fmt: skip
        with open(self.folder / f"worker-{number}.log", "ab") as log:
            self.workers[number] = subprocess.Popen(
                [sys.executable, "-m", "tests.kafka.worker", *arguments], cwd=ROOT, stdout=log, stderr=log
            )

    def end(self, number, how):
        worker = self.workers.pop(number)
        worker.send_signal(how)
        try:
            worker.wait(40)
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGUSR2)
            time.sleep(1)
            worker.kill()
            worker.wait()
            raise AssertionError(f"worker {number} did not end; its log says where it was: {self.folder}") from None

    def disturb(self, producer):
        """Write events, and let something go wrong every few seconds."""
        began = time.monotonic()
        due = began + 4
        restarts = [began + self.seconds * part for part in ((0.5,) if self.seconds < 120 else (0.2, 0.4, 0.6, 0.8))]
        while (now := time.monotonic()) < began + self.seconds:
            self.write(producer, int((now - began) * PER_S) - self.written)
            for number, at in list(self.asleep.items()):
                if now >= at:
                    del self.asleep[number]
                    self.workers[number].send_signal(signal.SIGCONT)
            for number, worker in list(self.workers.items()):
                if worker.poll() is not None:
                    self.faults["worker gave up"] += 1
                    last = (self.folder / f"worker-{number}.log").read_text().splitlines()[-1:]
                    print(f"  worker {number} gave up: {''.join(last):.300}", flush=True)
                    self.start(number)
            if restarts and now >= restarts[0]:
                restarts.pop(0)
                self.restart_broker()
            elif now >= due:
                due = now + self.rng.uniform(0.5, 3)
                self.fault()
            time.sleep(0.02)

    def fault(self):
        awake = [number for number in self.workers if number not in self.asleep]
        kinds = ["kill", "abort", "stop for longer than the session", "add or remove"]
        kind = self.rng.choices(kinds, [3, 3, 2, 2])[0]
        if not awake:
            return
        number = self.rng.choice(awake)
        if kind == "kill":
            self.end(number, signal.SIGKILL)
            self.start(number)
        elif kind == "abort":
            self.workers[number].send_signal(signal.SIGUSR1)
        elif kind == "add or remove":
            free = [n for n in range(3) if n not in self.workers]
            if free:
                kind = "add"
                self.start(free[0])
            elif len(awake) > 1:
                kind = "remove"
                self.end(number, signal.SIGTERM)
            else:
                return
        elif len(awake) > 1:
            self.workers[number].send_signal(signal.SIGSTOP)
            self.asleep[number] = time.monotonic() + SESSION_MS / 1000 + self.rng.uniform(1, 3)
        else:
            return
        self.faults[kind] += 1

    def restart_broker(self):
        self.faults["broker restart"] += 1
        self.broker.stop()
        self.broker.start()

    def write(self, producer, n):
        if n <= 0:
            return
        for partition, value, key in apps.events(n, PARTITIONS, seed=self.written, start=self.written, cards=40):
            if self.rng.random() < 0.01:
                value = value[:-3]  # cut off: it cannot be read
            producer.produce(self.source, value, key, partition=partition)
        producer.poll(0)
        self.written += n

    # -- the end

    def settle(self, producer):
        """Let all workers come to the end of the log, and end them."""
        for number in self.asleep:
            self.workers[number].send_signal(signal.SIGCONT)
        assert producer.flush(60) == 0
        ends = [clients.high_water(self.broker.address, self.source, p)[1] for p in range(PARTITIONS)]
        deadline = time.monotonic() + 120
        while True:
            for number, worker in list(self.workers.items()):
                if worker.poll() is not None:
                    self.start(number)
            try:
                at = [each[0] for each in clients.committed(
                    self.broker.address, self.app, self.source, *range(PARTITIONS), timeout=5
                )]  # fmt: skip
            except Exception:  # transactions of the dead are open still
                at = []
            if at == ends:
                break
            assert time.monotonic() < deadline, f"committed {at} of {ends}"
            time.sleep(0.5)
        for number in list(self.workers):
            self.end(number, signal.SIGTERM)

    def compare(self):
        """Say what is lost and what is doubled."""
        made, poison = [], []
        for partition, offset, value in self.log():
            try:
                json.loads(value)
                made.append((partition, value, None))
            except ValueError:
                poison.append((partition, offset, value.decode()))
        wanted = apps.expected(made, self.source)
        seen = apps.written(self.broker.address, self.out)
        dead = self.dead_letters()
        expected, found = flat(wanted) + Counter(poison), flat(seen) + Counter(dead)
        lost, doubled = expected - found, found - expected
        in_order = seen == wanted and dead_in_order(dead) == dead_in_order(poison)
        for name, times in sorted(self.faults.items()):
            print(f"  {times:4} {name}")
        by = ", ".join(f"{len(rows) and sum(map(len, rows.values()))} {name}" for name, rows in sorted(wanted.items()))
        print(f"  {self.written:,} events; expected {by}, {len(poison)} dead letters; in order: {in_order}")
        print(
            f"chaos: {sum(self.faults.values())} faults, {sum(expected.values())} matches expected, "
            f"{sum(found.values())} seen, {sum(lost.values())} lost, {sum(doubled.values())} doubled"
        )
        return in_order and not lost and not doubled

    def log(self):
        """The input as it is."""
        return [(m.partition(), m.offset(), m.value()) for m in records(self.broker.address, self.source, PARTITIONS)]

    def dead_letters(self):
        found = []
        for message in records(self.broker.address, f"{self.out}-dead", 1):
            headers = dict(message.headers())
            assert headers["fyke.error"]
            place = int(headers["fyke.partition"]), int(headers["fyke.offset"])
            found.append((*place, message.value().decode()))
        return found


def records(brokers, topic, partitions):
    """All committed records, partition by partition."""
    settings = clients.quiet(brokers, group_id=clients.new_name("reader"), enable_partition_eof=True)
    reader = Consumer(settings | {"isolation.level": "read_committed", "enable.auto.commit": False})
    found = []
    try:
        for p in range(partitions):
            reader.assign([TopicPartition(topic, p, 0)])
            while True:
                message = reader.poll(10)
                assert message is not None, f"{topic}/{p} does not end"
                if message.error() is not None:
                    break
                found.append(message)
    finally:
        reader.close()
    return found


def flat(by_output):
    found = Counter()
    for output, by in by_output.items():
        found.update((output, json.dumps(row, sort_keys=True)) for rows in by.values() for row in rows)
    return found


def dead_in_order(letters):
    """By partition, in the order in which they stand."""
    found = {}
    for partition, offset, value in letters:
        found.setdefault(partition, []).append((offset, value))
    return found


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    folder = Path(tempfile.mkdtemp(prefix="fyke-chaos-"))
    print(f"chaos: {seconds:g} s, seed {seed}")
    is_exact = Chaos(folder, seconds, seed).run()
    if is_exact:
        shutil.rmtree(folder)
    else:
        print(f"logs: {folder}")
    return 0 if is_exact else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    sys.exit(main())
