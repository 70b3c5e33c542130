"""An app to deploy: it finds cards that are tried with a small payment and then used for a large one.

BROKERS=localhost:9092 STATE=/var/lib/alerts/state python alerts.py
BROKERS=localhost:9092 fyke doctor alerts:app
"""

import logging
import os

import pyarrow as pa

import fyke
from fyke import col

app = fyke.App(
    "alerts",
    brokers=os.environ.get("BROKERS", "localhost:9092"),
    guarantee="exactly_once",
    state=os.environ.get("STATE", "local"),
    folder=os.environ.get("FOLDER"),
    instance=os.environ.get("INSTANCE"),
    member=os.environ.get("INSTANCE"),
    commit_every="1s",
    http=os.environ.get("HTTP", "127.0.0.1:8080"),
    watchdog="5m",
)
payments = app.topic(
    "payments",
    schema={"ts": pa.int64(), "card": pa.string(), "amount": pa.float64()},
    time="ts",
    unit="ms",
    out_of_order="30s",
    idle="1m",
    on_error="dead_letter",
    dead_letters="payments-unreadable",
)
card_testing = (
    fyke.begin("probe", col.amount < 1)
    .followed_by("spree", col.amount > 500)
    .within("10m")
    .by("card")
    .named("card_testing")
)
alerts = payments.match(card_testing)
alerts.to("alerts", key="card")
alerts.late.to("payments-late", key="card")

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app.run()
