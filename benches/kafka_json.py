"""Decoding JSON messages: fyke's decoder beside what else makes columns, or at least objects, of them.

    python -m benches.kafka_json [--n 10000] [--rounds 15]

The messages are those of the fraud workload with a few more fields, 114 bytes each, as many as one poll of a consumer
gives. Every way gets a list of bytes and gives Arrow columns, all seven fields or the three that a pattern reads;
"objects only" stops before the columns. One thread, in turn, best of the rounds: nanoseconds a message, and how many
times fyke's.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.json as arrow_json

from benches.measure import use_one_core
from fyke.kafka.json_format import Json

ALL = pa.schema(
    [
        ("ts", pa.int64()),
        ("key", pa.int64()),
        ("type", pa.int64()),
        ("price", pa.float64()),
        ("country", pa.string()),
        ("id", pa.string()),
        ("note", pa.string()),
    ]
)
THREE = pa.schema([ALL.field(name) for name in ("ts", "key", "price")])
PYTHON = {pa.int64(): int, pa.float64(): float, pa.string(): str}

Way = Callable[[list[bytes]], Any]


def messages(n: int) -> list[bytes]:
    """Make n messages, always the same."""
    rng = random.Random(1)
    rows = (
        {
            "ts": 1_700_000_000_000 + i,
            "key": rng.randrange(10_000),
            "type": rng.randrange(1_000),
            "price": round(rng.random() * 1_000, 3),
            "country": rng.choice(["DE", "FR", "US"]),
            "id": f"{rng.getrandbits(64):016x}",
            "note": "payment",
        }
        for i in range(n)
    )
    return [json.dumps(row, separators=(",", ":")).encode() for row in rows]


def fyke_columns(schema: pa.Schema) -> Way:
    reader = Json(schema)
    return lambda values: reader.decode(values).rows


def arrow_columns(schema: pa.Schema) -> Way:
    reading = arrow_json.ReadOptions(use_threads=False, block_size=256 << 20)
    parsing = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    return lambda values: arrow_json.read_json(pa.py_buffer(b"\n".join(values)), reading, parsing)


def structs(schema: pa.Schema) -> Way:
    fields = [(name, PYTHON[kind] | None, None) for name, kind in zip(schema.names, schema.types, strict=True)]
    decode = msgspec.json.Decoder(msgspec.defstruct("Message", fields)).decode
    return lambda values: [decode(value) for value in values]


def struct_columns(schema: pa.Schema) -> Way:
    rows_of = structs(schema)

    def columns(values: list[bytes]) -> list[pa.Array]:
        rows = rows_of(values)
        return [
            pa.array([getattr(row, name) for row in rows], kind)
            for name, kind in zip(schema.names, schema.types, strict=True)
        ]

    return columns


def polars_columns(schema: pa.Schema) -> Way:
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when it is first imported
    pl: Any = importlib.import_module("polars")
    kinds = {pa.int64(): pl.Int64, pa.float64(): pl.Float64, pa.string(): pl.String}
    wanted = {name: kinds[kind] for name, kind in zip(schema.names, schema.types, strict=True)}
    return lambda values: pl.read_ndjson(io.BytesIO(b"\n".join(values)), schema=wanted)


def ways() -> dict[str, Way]:
    """What is compared, by name."""
    found = {}
    for fields, schema in (("7 fields", ALL), ("3 of 7", THREE)):
        found[f"fyke, {fields}"] = fyke_columns(schema)
        found[f"polars, {fields}"] = polars_columns(schema)
        found[f"pyarrow.json, {fields}"] = arrow_columns(schema)
        found[f"msgspec Structs to columns, {fields}"] = struct_columns(schema)
        found[f"msgspec Structs, {fields}, objects only"] = structs(schema)
    found["json.loads, objects only"] = lambda values: [json.loads(value) for value in values]
    try:
        orjson = importlib.import_module("orjson")
    except ImportError:
        return found
    found["orjson, objects only"] = lambda values: [orjson.loads(value) for value in values]
    found["orjson to columns, 7 fields"] = lambda values: pa.Table.from_pylist(
        [orjson.loads(value) for value in values], schema=ALL
    )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benches.kafka_json", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="messages a call (10,000)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, after one to warm up (15)")
    chosen = parser.parse_args(arguments)
    use_one_core()
    values, contenders = messages(chosen.n), ways()
    best = dict.fromkeys(contenders, float("inf"))
    for number in range(chosen.rounds + 1):
        for name, way in contenders.items():
            begin = time.process_time()
            way(values)
            if number:
                best[name] = min(best[name], time.process_time() - begin)
    own = {fields: best[f"fyke, {fields}"] for fields in ("7 fields", "3 of 7")}
    print(f"{chosen.n:,} messages of {len(values[0])} bytes, best of {chosen.rounds} rounds")
    print(f"{'':44s} {'ns/message':>10s} {'x fyke':>7s}")
    for name, seconds in sorted(best.items(), key=lambda pair: pair[1]):
        beside = own["3 of 7" if "3 of 7" in name else "7 fields"]
        print(f"{name:44s} {seconds / chosen.n * 1e9:10,.0f} {seconds / beside:7.1f}")


if __name__ == "__main__":
    main()
