"""What an instance says of itself: metrics in both worlds, endpoints over HTTP, a watchdog. Without a broker."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import fyke
from fyke import agg, col, tumbling
from fyke.app import METRICS, collector, observe
from fyke.app.endpoints import Endpoints
from fyke.app.monitor import STALLED, Monitor
from fyke.app.runtime import AppStatistics, PartitionStatistics
from fyke.app.task import NOWHERE, Task
from fyke.errors import DefinitionError
from fyke.kafka.consumer import Partition

LEFT, RIGHT = Partition("left", 3), Partition("right", 3)


class FakeRuntime:
    """A runtime with one task of two inputs, whose left one is far ahead."""

    def __init__(self):
        left = fyke.stream("left", time="t", unit="s")
        right = fyke.stream("right", time="t", unit="s")
        both = left.union(right).key_by("k").window(tumbling("10s")).aggregate(n=agg.count())
        engine = fyke.Engine({"sums": both, "low": left.filter(col.t < 0)})
        engine.push([{"t": t, "k": 1} for t in (100, 500, 90)], to="left")
        engine.push([{"t": 50, "k": 1}, {"t": 60, "k": None}, {"t": 20, "k": 1}], to="right")
        self.tasks = {3: Task(3, engine, {LEFT: 13, RIGHT: 7}, NOWHERE, 0.0)}

    def known_end(self, partition):
        return {LEFT: 20}.get(partition)

    def statistics(self):
        inputs = self.tasks[3].engine.statistics().inputs
        partitions = {p: PartitionStatistics(n, inputs[p.topic].watermark) for p, n in self.tasks[3].next.items()}
        return AppStatistics(100, 95, 4, 1, 17, 8, 2, 3, 0.25, 1.5, 4096, partitions)


@pytest.fixture
def monitor():
    made = Monitor("alerts")
    made.turned(FakeRuntime())
    return made


def samples(status):
    """All figures as Prometheus would scrape them: {(name, labels): value}."""
    from prometheus_client.exposition import generate_latest

    registry = CollectorRegistry()
    registry.register(collector(lambda: status))
    text = generate_latest(registry).decode()
    return {
        (s.name, *sorted((k, v) for k, v in s.labels.items() if k != "app")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_a_status_says_lag_time_and_who_holds_it_back(monitor):
    status = monitor.status
    assert status.lag == {LEFT: 7, RIGHT: None}  # the client has not heard of the other's end
    assert status.watermark_lag_s[RIGHT] == pytest.approx(time.time() - 60, abs=5)
    assert status.holding == {3: RIGHT}
    assert (status.late, status.null_keys) == (1, 1)
    assert [counts["late"] for counts in status.boxes.values() if counts.get("late")] == [1]


def test_prometheus_has_every_figure_with_its_labels(monitor):
    found = samples(monitor.status)
    assert found["fyke_records_total",] == 100
    assert found["fyke_poison_total",] == 4
    assert found["fyke_commit_seconds",] == 0.25
    assert found["fyke_state_bytes",] == 4096
    assert found["fyke_lag_records", ("partition", "3"), ("topic", "left")] == 7
    assert ("fyke_lag_records", ("partition", "3"), ("topic", "right")) not in found  # not known is not nought
    assert found["fyke_next_offset", ("partition", "3"), ("topic", "right")] == 7
    assert found["fyke_watermark_seconds", ("partition", "3"), ("topic", "right")] == pytest.approx(60, abs=1e-3)
    names = {name for name, *_ in found}
    assert {f"fyke_{m.name}{'_total' if m.kind == 'counter' else ''}" for m in METRICS} <= names


def test_prometheus_has_nothing_to_say_before_the_first_status():
    assert samples(None) == {}


def test_open_telemetry_has_the_same_figures(monitor):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    observe(MeterProvider([reader]).get_meter("fyke"), lambda: monitor.status)
    (resource,) = reader.get_metrics_data().resource_metrics
    metrics = {m.name: m for scope in resource.scope_metrics for m in scope.metrics}
    assert metrics.keys() == {f"fyke.{m.name}" for m in METRICS}
    (records,) = metrics["fyke.records"].data.data_points
    assert (records.value, dict(records.attributes)) == (100, {"app": "alerts"})
    (lag,) = metrics["fyke.lag_records"].data.data_points
    assert (lag.value, dict(lag.attributes)) == (7, {"app": "alerts", "topic": "left", "partition": "3"})


def get(port, path):
    """(status code, body)."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_endpoints_answer_health_readiness_metrics_and_status(monitor):
    with Endpoints(("127.0.0.1", 0), monitor) as endpoints:
        assert get(endpoints.port, "/health") == (200, "ok\n")
        assert get(endpoints.port, "/ready") == (200, "ok\n")
        code, text = get(endpoints.port, "/metrics")
        assert code == 200
        assert 'fyke_records_total{app="alerts"} 100.0' in text
        code, text = get(endpoints.port, "/status?pretty")
        said = json.loads(text)
        assert code == 200
        assert said["partitions"]["left/3"]["lag"] == 7
        assert said["holding"] == {"3": "right/3"}
        assert get(endpoints.port, "/")[0] == 404


def test_an_instance_is_not_ready_before_the_group_has_answered():
    with Endpoints(("127.0.0.1", 0), Monitor("alerts")) as endpoints:
        assert get(endpoints.port, "/health")[0] == 200
        assert get(endpoints.port, "/ready") == (503, "the group has not answered yet\n")
        assert get(endpoints.port, "/status")[0] == 503


def test_an_instance_whose_loop_stands_still_is_neither_ready_nor_well(monitor):
    with Endpoints(("127.0.0.1", 0), monitor, stalled_s=-1) as endpoints:
        for path in ("/health", "/ready"):
            code, text = get(endpoints.port, path)
            assert code == 503
            assert "stood still" in text


STALL = """
import time
from fyke.app.monitor import Monitor, Watchdog
def stuck_here():
    time.sleep(60)
with Watchdog(Monitor("alerts"), 0.2):
    stuck_here()
"""


def test_a_watchdog_ends_a_process_whose_loop_stands_still_and_says_where():
    done = subprocess.run([sys.executable, "-c", STALL], capture_output=True, text=True, timeout=30)
    assert done.returncode == STALLED
    assert "stood still" in done.stderr
    assert "stuck_here" in done.stderr


def test_a_watchdog_leaves_a_loop_alone_that_turns():
    from fyke.app.monitor import Watchdog

    runtime, monitor = FakeRuntime(), Monitor("alerts")
    with Watchdog(monitor, 0.4):
        for _ in range(12):
            monitor.turned(runtime)
            time.sleep(0.05)
    assert monitor.status is not None


@pytest.mark.parametrize("wrong", ["8080", "host:", "host:many", "host:99999"])
def test_an_address_that_is_none_is_refused_when_the_app_is_made(wrong):
    with pytest.raises(DefinitionError, match="http="):
        fyke.App("alerts", brokers="localhost:1", http=wrong)


def test_an_app_that_does_not_run_has_no_status():
    app = fyke.App("alerts", brokers="localhost:1")
    assert app.status() is None
    assert app.statistics() is None
