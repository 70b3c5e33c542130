"""A real Apache Kafka on this machine: one process (KRaft), loopback only, ports that are free, a heap of 512 MB.

    python -m tests.kafka.broker up [MINUTES]     start it, or find the one that runs, and print its address
    python -m tests.kafka.broker down             stop it and remove its data

`make kafka-up` and `make kafka-down` say the same. It ends by itself after its time, and so does one that a test
started when the test run dies (see supervisor.py).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.kafka import jars, supervisor
from tests.kafka.jars import BrokerError

UP = Path(__file__).parents[2] / "build" / "kafka" / "up"
READY_S = 60.0
# The smaller compiler is enough for minutes of tests and starts in half the time.
JVM = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

# One replica of everything; short timeouts, so that tests of crashed members and producers need not wait long.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=300
group.consumer.session.timeout.ms=6000
group.consumer.heartbeat.interval.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


class Broker:
    """A broker whose data lie in a folder. Started again there, it has its address and its data again.

    Args:
        folder: for data, settings and logs; made if need be.
        seconds: it ends by itself after these.
        tied: it ends with this process as well.
    """

    def __init__(self, folder: Path, *, seconds: float, tied: bool = True) -> None:
        self.folder = folder
        self.seconds = seconds
        self.tied = tied
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port, for bootstrap.servers."""
        return f"127.0.0.1:{json.loads((self.folder / 'ports.json').read_text())['port']}"

    def start(self) -> str:
        """Start it and wait until it answers; return the address.

        Raises:
            BrokerError: there is no Java or Maven, or the broker ended or did not answer; the text has its last words.
        """
        java, class_path = jars.find_java(), jars.fetch()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "ports.json").exists():
            self._format([java, *JVM, "-cp", class_path])
        command = [java, *JVM, "-cp", class_path, "kafka.Kafka", str(self.folder / "server.properties")]
        self._supervisor = supervisor.start(self.folder, self.seconds, self.tied, command)
        deadline = time.monotonic() + READY_S
        while not answers(self.address):
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                self.stop()
                output = self.folder / "output"
                said = output.read_text()[-3000:] if output.exists() else ""
                raise BrokerError(f"the broker did not start:\n{said}")
        return self.address

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _format(self, java: list[str]) -> None:
        port, controller = free_ports(2)
        settings = self.folder / "server.properties"
        settings.write_text(PROPERTIES.format(port=port, controller=controller, data=self.folder / "data"))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
        done = subprocess.run(tool, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise BrokerError(f"the broker's folder could not be made:\n{done.stdout[-3000:]}")
        (self.folder / "ports.json").write_text(json.dumps({"port": port, "controller": controller}))

    def kill(self) -> None:
        """End it as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((self.folder / "command.pid").read_text()), signal.SIGKILL)
        if self._supervisor is not None:
            self._supervisor.wait()

    def stop(self) -> None:
        """End it in order; its data stay."""
        supervisor.stop(self.folder)
        if self._supervisor is not None:
            self._supervisor.wait()
            if self._supervisor.stdin is not None:
                self._supervisor.stdin.close()


def free_ports(n: int) -> list[int]:
    """Return n ports of the loopback that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def answers(address: str, within_s: float = 1.0) -> bool:
    """Tell whether a broker answers at an address; takes at most about within_s if not."""
    host, _, port = address.partition(":")
    deadline = time.monotonic() + within_s
    while True:  # a client takes its time to find out that nobody listens, a socket does not
        try:
            socket.create_connection((host, int(port)), timeout=within_s).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    try:
        client = AdminClient({"bootstrap.servers": address, "log_level": 0})
        return bool(client.list_topics(timeout=within_s).brokers)
    except KafkaException:
        return False


def main(arguments: list[str]) -> int:
    """Run `up` or `down`; the exit status."""
    verb, *rest = arguments or [""]
    if verb == "up":
        minutes = float(rest[0]) if rest else 60
        broker = Broker(UP, seconds=60 * minutes, tied=False)
        is_new = supervisor.running(UP) is None
        try:
            if is_new:
                shutil.rmtree(UP, ignore_errors=True)  # of one that ended by itself
                broker.start()
        except BrokerError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"Kafka {'is up' if is_new else 'was up already'} at {broker.address}; stop it with: make kafka-down")
        print(f"export FYKE_TEST_BROKERS={broker.address}")
        return 0
    if verb == "down":
        was_up = supervisor.stop(UP)
        shutil.rmtree(UP, ignore_errors=True)
        print("Kafka is down" if was_up else "no Kafka was up")
        return 0
    print("usage: python -m tests.kafka.broker up [MINUTES] | down", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
