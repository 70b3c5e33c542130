"""An application for tests: payments with a pattern and windows, its records, and what it must write.

The truth is an engine for each partition, pushed all records of the partition at once.
"""

import json
import random

import pyarrow as pa

import fyke
from fyke import agg, col, tumbling
from tests.kafka import clients

SCHEMA = {"ts": pa.int64(), "card": pa.string(), "amount": pa.float64(), "n": pa.int64()}

PROBE = (
    fyke.begin("probe", col.amount < 1)
    .followed_by("spree", col.amount > 500)
    .within("30s")
    .by("card")
    .named("card_testing")
)


def found(row):
    """A match in few words."""
    return {"card": row["card"], "probe": row["probe"]["n"], "spree": row["spree"]["n"]}


def outputs(payments):
    """The streams of the app by the name of their output; of an app's topic, or of a plain stream of the same name."""
    hits = payments.match(PROBE)
    sums = payments.key_by("card").window(tumbling("20s")).aggregate(n=agg.count(), total=agg.sum("amount"))
    return {"hits": hits.map(found), "sums": sums, "late": sums.late.select("card", "n")}


def sums_only(payments):
    """Half of it, which is made and restored several times as fast."""
    return {"sums": payments.key_by("card").window(tumbling("20s")).aggregate(n=agg.count(), total=agg.sum("amount"))}


def by_amount(payments):
    """By another key than the topic's, so through a topic of the app's own."""
    again = payments.rekey("amount")
    return {"sums": again.key_by("amount").window(tumbling("3s")).aggregate(n=agg.count(), total=agg.sum("n"))}


def expected_by_amount(made):
    """What must be written: rows of all partitions in the order of (place in time, partition, offset).

    A row behind the watermark of its partition has the first place behind that; what lies above the least of the
    partitions' watermarks does not come out.
    """
    second, bound = 1_000_000_000, 5
    highest, rows = {}, []
    for i, (partition, value, _) in enumerate(made):
        row = json.loads(value)
        watermark = highest.get(partition, -(2**40)) * second - bound * second - 1
        rows.append((max(row["ts"] * second, watermark + 1), partition, i, row))
        highest[partition] = max(highest.get(partition, -(2**40)), row["ts"])
    if len(highest) < 3:
        return {}
    least = min(highest.values()) * second - bound * second - 1
    payments = fyke.stream(time="ts", unit="s", schema=pa.schema(list(SCHEMA.items())))
    engine = fyke.Engine(payments.key_by("amount").window(tumbling("3s")).aggregate(n=agg.count(), total=agg.sum("n")))
    found = []
    for place, _, _, row in sorted(rows, key=lambda each: each[:3]):
        if place <= least:
            found += [*engine.advance(place - 1), *engine.push(row)]
    found += engine.advance(least)
    sums = {}
    for row in found:
        sums.setdefault(row["amount"], []).append(plain(row))
    return {"sums": sums} if sums else {}


def make_app(name, brokers, source, out, streams=outputs, **options):
    """The app; what it writes goes to one topic per output, named OUT-hits and so on."""
    input_options = {"on_error": "fail"}
    for key in ("on_error", "dead_letters", "errors_in_a_row"):
        if key in options:
            input_options[key] = options.pop(key)
    user = {"log_level": 0, "session.timeout.ms": clients.SESSION_MS, "heartbeat.interval.ms": 300}
    if options.get("group_protocol") == "consumer":
        user = {"log_level": 0}
    user = {f"consumer.{key}" if key != "log_level" else key: value for key, value in user.items()}
    app = fyke.App(name, brokers=brokers, settings=user | options.pop("settings", {}), **options)
    payments = app.topic(source, schema=SCHEMA, time="ts", unit="s", out_of_order="5s", **input_options)
    for output, stream in streams(payments).items():
        stream.to(f"{out}-{output}", key="amount" if streams is by_amount else "card")
    return app


def events(n, partitions=4, seed=0, cards=12, start=0):
    """n records as (partition, value, key): of each card in one partition, some out of order, some late."""
    rng = random.Random(seed)
    made = []
    for i in range(start, start + n):
        card = rng.randrange(cards)
        back = rng.choice([0, 0, 0, 1, 2, 4, 40])
        row = {"ts": i // 4 - back, "card": f"c{card}", "amount": rng.choice([0.5, 20.0, 900.0, 33.25]), "n": i}
        made.append((card % partitions, json.dumps(row).encode(), row["card"].encode()))
    return made


def expected(made, source, streams=outputs):
    """What must be written, by output: the records' values of each card in their order."""
    found = {}
    for partition in sorted({p for p, _, _ in made}):
        payments = fyke.stream(source, time="ts", unit="s", out_of_order="5s", schema=pa.schema(list(SCHEMA.items())))
        engine = fyke.Engine(streams(payments))
        results = engine.push([json.loads(value) for p, value, _ in made if p == partition])
        for output, records in results.outputs.items():
            for row in records:
                found.setdefault(output, {}).setdefault(row["card"], []).append(row)
    return {output: {card: list(map(plain, rows)) for card, rows in by.items()} for output, by in found.items()}


def plain(row):
    """A row with times as text, to the second, whatever form they came in."""
    return {k: str(v)[:19].replace("T", " ") if k.startswith("window") else v for k, v in row.items()}


def written(brokers, out, names=("hits", "sums", "late"), partitions=1):
    """What readers of committed records see, as `expected` gives it."""
    seen = {}
    for output in names:
        for value in clients.read_all(brokers, f"{out}-{output}", partitions, within_s=40):
            row = json.loads(value)
            seen.setdefault(output, {}).setdefault(row["card"], []).append(plain(row))
    return seen
