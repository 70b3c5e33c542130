"""Health, readiness, metrics and status over HTTP, for what supervises an instance.

    GET /health     200 while the loop turns, 503 once it has stood still for too long
    GET /ready      200 while the group has answered and the loop turns; an instance without partitions is ready, too
    GET /metrics    what prometheus_client writes; 501 where it is not installed
    GET /status     all of it as JSON, for people

On threads of its own, and it reads only what the loop has left for it. It has no authentication: bind it to where only
those can reach it who may see the names of topics.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from fyke.app.metrics import collector
from fyke.app.monitor import Monitor, Status
from fyke.errors import DefinitionError

__all__ = ["Endpoints", "address_of"]

Answer: TypeAlias = "tuple[int, str, bytes]"
TEXT = "text/plain; charset=utf-8"


def address_of(text: str) -> tuple[str, int]:
    """Read "host:port", or ":port" for all interfaces.

    Raises:
        DefinitionError: it is neither.

    >>> address_of("127.0.0.1:8080"), address_of(":0")
    (('127.0.0.1', 8080), ('', 0))
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise DefinitionError(f'http={text!r}: expected "host:port" or ":port"')
    return host.strip("[]"), int(port)


class Endpoints:
    """Serves while it is open.

    Args:
        address: host and port; port 0 takes a free one, see `port`.
        monitor: of the app.
        stalled_s: how long the loop may stand still.
    """

    def __init__(self, address: tuple[str, int], monitor: Monitor, stalled_s: float = 60.0) -> None:
        self._monitor, self._stalled_s = monitor, stalled_s
        routes: dict[str, Callable[[], Answer]] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
            "/status": self._status,
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                route = routes.get(self.path.partition("?")[0])
                code, kind, body = route() if route else (404, TEXT, f"there are {', '.join(routes)}\n".encode())
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """A probe every second is no news."""

        self._server = ThreadingHTTPServer(address, Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="fyke-http", daemon=True)

    def __enter__(self) -> Endpoints:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _turns(self) -> str | None:
        age = self._monitor.age_s
        return f"the loop has stood still for {age:.0f} s\n" if age > self._stalled_s else None

    def _health(self) -> Answer:
        wrong = self._turns()
        return (503, TEXT, wrong.encode()) if wrong else (200, TEXT, b"ok\n")

    def _ready(self) -> Answer:
        status = self._monitor.status
        wrong = self._turns()
        if wrong is None and (status is None or not status.is_member):
            wrong = "the group has not answered yet\n"
        return (503, TEXT, wrong.encode()) if wrong else (200, TEXT, b"ok\n")

    def _metrics(self) -> Answer:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
        except ImportError:
            return 501, TEXT, b"prometheus_client is not installed: pip install 'fyke[prometheus]'\n"
        registry = CollectorRegistry()
        registry.register(collector(lambda: self._monitor.status))
        return 200, CONTENT_TYPE_LATEST, generate_latest(registry)

    def _status(self) -> Answer:
        status = self._monitor.status
        if status is None:
            return 503, TEXT, b"nothing to say yet\n"
        return 200, "application/json", json.dumps(as_json(status), indent=1).encode() + b"\n"


def as_json(status: Status) -> dict[str, Any]:
    """Give a status as JSON values; partitions are keyed "topic/number"."""
    counts = asdict(status.statistics)
    del counts["partitions"]
    partitions = {
        str(p): {**asdict(each), "lag": status.lag[p], "watermark_lag_s": status.watermark_lag_s[p]}
        for p, each in status.statistics.partitions.items()
    }
    return {
        "app": status.app,
        "at": status.at,
        **counts,
        "late": status.late,
        "null_keys": status.null_keys,
        "engine_bytes": status.engine_bytes,
        "partitions": partitions,
        "holding": {str(task): str(partition) for task, partition in status.holding.items()},
        "boxes": {box: dict(counts) for box, counts in status.boxes.items()},
    }
