"""The flights again, through Kafka: two instances, exactly once, and one of them is killed on the way.

All departures of flights.py are written to a topic with four partitions, the aircraft's number as key. Two processes
share them out and write what they find to another topic. One is killed with SIGKILL while it works, and started again.
In the end the topic holds the matches of a replay of the log, each once. Run it with `make demo-kafka`; it starts a
broker of its own (Java 17 and, once, Maven), or takes the one that FYKE_TEST_BROKERS names.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console

import fyke

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # the demo beside this one, and the broker of the tests

import flights  # noqa: E402

from tests.kafka.broker import Broker  # noqa: E402

PARTITIONS = 4
FLIGHTS, FOUND = "flights", "spread"
SCHEMA = {"departed": pa.int64(), "dep_delay": pa.int64(), "flight": pa.int64(), "tailnum": pa.string()}


def pair(match: dict) -> dict:
    """What is written of a match."""
    late, knock_on = match["late"], match["knock_on"]
    return {"tailnum": late["tailnum"], "late": late["departed"], "knock_on": knock_on["departed"],
            "flights": [late["flight"], knock_on["flight"]]}  # fmt: skip


def instance(brokers: str, folder: Path, name: str, disorder: str) -> None:
    """Be one instance of the application, up to the end of what is there."""
    app = fyke.App(
        "flights-demo", brokers=brokers, state=str(folder / "shared"), folder=folder / name, commit_every="200ms",
        settings={"consumer.session.timeout.ms": 3000, "consumer.heartbeat.interval.ms": 300, "log_level": 0},
    )  # fmt: skip
    departures = app.topic(FLIGHTS, schema=SCHEMA, time="departed", unit="ms", out_of_order=disorder)
    departures.match(flights.spread).map(pair).to(FOUND, key="tailnum")
    app.run(until="end", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--instance", nargs=4, help=argparse.SUPPRESS)
    given = options.parse_args().instance
    if given:
        instance(given[0], Path(given[1]), given[2], given[3])
        return
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="fyke-demo-") as path:
        folder = Path(path)
        brokers = os.environ.get("FYKE_TEST_BROKERS")
        if brokers:
            sys.exit(show(console, brokers, folder))
        with Broker(folder / "broker", seconds=600) as broker:
            status = show(console, broker.address, folder)
    sys.exit(status)


def show(console: Console, brokers: str, folder: Path) -> int:
    """Do what the text above says; give 0 if it is true."""
    admin = AdminClient({"bootstrap.servers": brokers})
    for done in admin.create_topics([NewTopic(FLIGHTS, PARTITIONS, 1), NewTopic(FOUND, 1, 1)]).values():
        done.result(15)
    events = flights.departures()
    disorder = f"{flights.disorder_ns(events)}ns"
    began = time.perf_counter()
    write(brokers, events)
    console.print(f"{events.num_rows:,} departures written to a topic of {PARTITIONS} partitions "
                  f"in {time.perf_counter() - began:.1f} s")  # fmt: skip

    began = time.perf_counter()
    one, other = (start(brokers, folder, name, disorder) for name in ("one", "other"))
    wait_for_results(brokers)
    other.send_signal(signal.SIGKILL)
    other.wait()
    console.print(f"two instances at work; {len(committed(brokers)):,} matches committed when one of them was killed")
    again = start(brokers, folder, "other", disorder)
    for process in (one, again):
        if process.wait(180):
            return 1
    found = committed(brokers)
    console.print(f"done after {time.perf_counter() - began:.1f} s: {len(found):,} matches committed")

    replay = fyke.replay(events, flights.spread, time="departed", out_of_order=disorder)
    wanted = Counter(json.dumps(pair({n: in_ms(match[n]) for n in ("late", "knock_on")})) for match in replay)
    lost, doubled = wanted - Counter(found), Counter(found) - wanted
    console.print(
        f"[bold]the replay finds {sum(wanted.values()):,}: "
        f"{sum(lost.values())} lost, {sum(doubled.values())} doubled[/bold]"
    )
    return 1 if lost or doubled else 0


def start(brokers: str, folder: Path, name: str, disorder: str) -> subprocess.Popen:
    arguments = [sys.executable, __file__, "--instance", brokers, str(folder), name, disorder]
    return subprocess.Popen(arguments, stderr=open(folder / f"{name}.log", "ab"))


def write(brokers: str, events: pa.Table) -> None:
    """Write all departures, each aircraft's to one partition."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "compression.type": "lz4",
                         "queue.buffering.max.messages": 1_000_000, "partitioner": "murmur2_random"})  # fmt: skip
    in_units = events.set_column(0, "departed", pc.cast(events["departed"], pa.int64()))
    for row in in_units.select(list(SCHEMA)).to_pylist():
        row["departed"] //= 1_000_000
        producer.produce(FLIGHTS, json.dumps(row).encode(), (row["tailnum"] or "").encode())
    producer.flush()


def wait_for_results(brokers: str) -> None:
    """Wait until something is written, committed or not."""
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "flights-demo-wait"})
    while not reader.get_watermark_offsets(TopicPartition(FOUND, 0), timeout=10)[1]:
        time.sleep(0.01)
    reader.close()


def in_ms(event: fyke.Event) -> dict:
    return {**event, "departed": event.time // 1_000_000}


def committed(brokers: str) -> list[str]:
    """What a reader of committed records sees, in one form."""
    settings = {"bootstrap.servers": brokers, "group.id": "flights-demo-look", "isolation.level": "read_committed",
                "enable.partition.eof": True, "enable.auto.commit": False}  # fmt: skip
    reader = Consumer(settings)
    reader.assign([TopicPartition(FOUND, 0, 0)])
    found = []
    try:
        while (message := reader.poll(10)) is not None and message.error() is None:
            found.append(json.dumps(json.loads(message.value())))
    finally:
        reader.close()
    return found


if __name__ == "__main__":
    main()
