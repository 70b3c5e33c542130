"""A web service with an app inside: it matches payments from Kafka and answers with the last alerts.

    pip install fyke fastapi uvicorn
    BROKERS=localhost:9092 uvicorn alerts_service:service

One process, one event loop: the app runs on a thread of its own beside it, and both end together.
"""

import asyncio
import contextlib
import os
from collections import deque

import pyarrow as pa
from fastapi import FastAPI, HTTPException

import fyke
from fyke import col

SPREE = (
    fyke.begin("probe", col.amount < 1)
    .followed_by("spree", col.amount > 500)
    .within("10m")
    .by("card")
    .named("card_testing")
)


def make_app():
    """The app and its alerts, which go to a topic, too."""
    app = fyke.App(
        os.environ.get("APP", "alerts-service"),
        brokers=os.environ.get("BROKERS", "localhost:9092"),
        folder=os.environ.get("STATE"),
    )
    payments = app.topic(
        os.environ.get("TOPIC", "payments"),
        schema={"ts": pa.int64(), "card": pa.string(), "amount": pa.float64()},
        time="ts",
        unit="s",
        out_of_order="30s",
    )
    alerts = payments.match(SPREE)
    alerts.to(os.environ.get("ALERTS", "alerts"), key="card")
    return app, alerts


@contextlib.asynccontextmanager
async def beside(service):
    """Run the app while the service runs."""
    service.state.app, alerts = make_app()
    service.state.last = deque(maxlen=100)

    async def listen():
        async for alert in service.state.app.matches(alerts):
            service.state.last.append({"card": alert["card"], "at": alert["time"], "amount": alert["spree"]["amount"]})

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        service.state.listening = listening


service = FastAPI(lifespan=beside)


@service.get("/alerts")
async def alerts():
    """The last alerts, newest first; each has been committed."""
    return list(reversed(service.state.last))


@service.get("/health")
async def health():
    """Whether the app has its place in the group, and how much waits."""
    status = service.state.app.status()
    if status is None or not status.is_member:
        raise HTTPException(503, "not in the group yet")
    return {"lag": sum(lag or 0 for lag in status.lag.values()), "partitions": len(status.statistics.partitions)}
