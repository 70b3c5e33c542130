"""The example of docs/examples: a web service with an app inside, on a real broker."""

import importlib.util
import json
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from tests.kafka import clients

pytestmark = pytest.mark.kafka

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "alerts_service.py"


@pytest.fixture
def service(brokers, make_topic, tmp_path, monkeypatch):
    payments, alerts = make_topic(2), make_topic(1)
    for name, value in (("BROKERS", brokers), ("TOPIC", payments), ("ALERTS", alerts), ("STATE", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("APP", clients.new_name("app"))
    spec = importlib.util.spec_from_file_location("alerts_service", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.service, payments, alerts


def test_the_service_answers_with_alerts_that_are_committed_and_ends_in_order(brokers, service):
    made, payments, topic = service
    producer = Producer(clients.quiet(brokers))
    rows = [(10, "a", 0.5), (20, "a", 700.0), (25, "b", 0.5), (100, "a", 1.0), (700, "b", 900.0), (2000, "a", 5.0)]
    for ts, card, amount in rows:
        producer.produce(payments, json.dumps({"ts": ts, "card": card, "amount": amount}), card, partition=0)
    producer.flush(10)
    with TestClient(made) as client:
        assert client.get("/health").status_code in (200, 503)
        deadline = time.monotonic() + 30
        while not (found := client.get("/alerts").json()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [(a["card"], a["amount"]) for a in found] == [("a", 700.0)]  # b's second payment comes too late
        assert client.get("/health").json() == {"lag": 0, "partitions": 2}
        assert len(clients.read_all(brokers, topic, 1)) == 1
    assert made.state.listening.cancelled()
    assert made.state.app.status() is None
