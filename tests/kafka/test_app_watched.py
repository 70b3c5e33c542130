"""An app on a real broker, seen from outside while it runs."""

import json
import threading
import time
import urllib.request

import pytest

from tests.kafka import apps, clients
from tests.kafka.test_app import topics, write  # noqa: F401

pytestmark = pytest.mark.kafka


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def test_endpoints_say_what_an_instance_has_done_and_what_waits(brokers, topics, tmp_path):  # noqa: F811
    source, out = topics
    made = apps.events(400)
    write(brokers, source, made)
    app = apps.make_app(
        clients.new_name("app"), brokers, source, out, folder=tmp_path, http="127.0.0.1:0", commit_every="100ms"
    )
    running = threading.Thread(target=app.run)
    running.start()
    try:
        deadline = time.monotonic() + 30
        status = None
        while time.monotonic() < deadline and (
            status is None
            or status.statistics.rows < 400
            or status.statistics.commit_s is None
            or any(status.lag.values())
        ):
            time.sleep(0.1)
            status = app.status()
        assert status is not None
        assert status.statistics.rows == 400
        assert app.http_port is not None
        assert get(app.http_port, "/ready") == "ok\n"
        said = json.loads(get(app.http_port, "/status"))
        assert {p: each["next"] for p, each in said["partitions"].items()} == {
            f"{source}/{n}": sum(p == n for p, _, _ in made) for n in range(4)
        }
        assert [each["lag"] for each in said["partitions"].values()] == [0, 0, 0, 0]
        assert said["commit_s"] > 0
        assert f'fyke_rows_total{{app="{app.name}"}} 400.0' in get(app.http_port, "/metrics")
    finally:
        app.stop()
        running.join(30)
    assert not running.is_alive()
    assert app.status() is None
