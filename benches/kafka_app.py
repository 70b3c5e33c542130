"""An app on a real broker beside a bare loop over the same topic.

    python -m benches.kafka_app [--n 600000] [--rounds 3] [--brokers host:port]

The fraud workload as JSON messages of about 115 bytes on four partitions. The bare loop consumes and decodes them with
msgspec into Structs, and does nothing else. The app reads four fields, runs the pattern, writes its matches and commits
every second: at least once, and exactly once with the state in a local folder. Each in a process of its own, in turn;
from the first record to the last, best of the rounds: thousands of messages a second by the clock, and per second of
CPU of the process, which is what holds on a machine that does other things besides. Without --brokers a broker is
started, which takes a core of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import fyke
import fyke.app  # before the clock starts
from benches.kafka_json import messages
from fyke import col

PARTITIONS = 4
SCHEMA = {"ts": pa.int64(), "key": pa.int64(), "type": pa.int64(), "price": pa.float64()}
WAYS = ("bare loop", "at_least_once", "exactly_once")


class Payment(msgspec.Struct):
    """What the bare loop decodes: the same four fields."""

    ts: int
    key: int
    type: int
    price: float


def bare(brokers: str, topic: str, n: int) -> None:
    """Consume and decode, ten thousand at a time."""
    decode = msgspec.json.Decoder(Payment).decode
    reader = Consumer({"bootstrap.servers": brokers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False,
                       "fetch.wait.max.ms": 50, "fetch.queue.backoff.ms": 20,
                       "queued.max.messages.kbytes": 64 << 10, "fetch.message.max.bytes": 4 << 20})  # fmt: skip
    reader.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    seen = 0
    while seen < n:
        for message in reader.consume(10_000, 0.1):
            decode(message.value())
            seen += 1
    reader.close()


def app(brokers: str, topic: str, guarantee: Any, folder: str) -> None:
    """Run the pattern over the topic, up to its end."""
    made = fyke.App(f"bench-{uuid.uuid4().hex}", brokers=brokers, guarantee=guarantee, folder=folder)
    payments = made.topic(topic, schema=SCHEMA, time="ts", unit="ms")
    small_then_large = (
        fyke.begin("small", col.price < 10).next("large", col.price > 900).within("10m").by("key").named("fraud")
    )
    payments.match(small_then_large, keep=[]).select("key", "start", "time").to(f"{topic}-out", key="key")
    made.run(until="end")


def one(way: str, brokers: str, topic: str, n: int) -> None:
    """Run one way in this process, and print its seconds by the clock and of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    if way == "bare loop":
        bare(brokers, topic, n)
    else:
        with tempfile.TemporaryDirectory() as folder:
            app(brokers, topic, way, folder)
    print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))


def measure(brokers: str, n: int, rounds: int) -> None:
    """Write the topic, run all ways in turn, and print the best of each."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": brokers})
    for done in admin.create_topics([NewTopic(topic, PARTITIONS, 1), NewTopic(f"{topic}-out", 1, 1)]).values():
        done.result(15)
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 50, "batch.size": 1_000_000,
                         "queue.buffering.max.messages": 2_000_000, "compression.type": "lz4"})  # fmt: skip
    for i, value in enumerate(messages(n)):
        producer.produce(topic, value, partition=i % PARTITIONS)
    producer.flush()
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, "-m", "benches.kafka_app", "--one", way, brokers, topic, str(n)],
                stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1],
            )  # fmt: skip
            wall, cpu = json.loads(done.stdout.splitlines()[-1])
            known = best.get(way, (wall, cpu))
            best[way] = (min(wall, known[0]), min(cpu, known[1]))
    print(f"{'':14} {'k messages/s':>14} {'k/CPU second':>14} {'of the bare loop':>18}")
    for way, (wall, cpu) in best.items():
        part = best["bare loop"][1] / cpu
        print(f"{way:14} {n / wall / 1e3:14.0f} {n / cpu / 1e3:14.0f} {part:18.2f}")
    admin.delete_topics([topic, f"{topic}-out"])


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--n", type=int, default=600_000, help="messages")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--brokers", help="host:port of a broker that is there")
    options.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        way, brokers, topic, n = given.one
        one(way, brokers, topic, int(n))
    elif given.brokers:
        measure(given.brokers, given.n, given.rounds)
    else:
        from tests.kafka.broker import Broker

        with tempfile.TemporaryDirectory() as folder, Broker(Path(folder), seconds=1200) as broker:
            measure(broker.address, given.n, given.rounds)


if __name__ == "__main__":
    main()
