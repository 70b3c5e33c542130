"""Events of an auction site, as the Nexmark benchmark has them: persons, auctions and bids, 1 : 3 : 46.

Of every 50 events the first is a person, the next three are auctions, the rest bids. Bids go to recent auctions by
recent persons, half of them to a hot one. One event a millisecond; arrival is disordered by less than DISORDER_MS.
Everything follows from the event's number by splitmix64, so the data is the same everywhere.

Source: Tucker et al., NEXMark, 2002; the query set as Apache Beam and Flink run it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

DISORDER_MS = 500
IN_FLIGHT = 100  # auctions that still take bids, persons that are still active
CATEGORIES = 5
AUCTION_MS = 4_000  # how long an auction is open, at most


@dataclass(frozen=True)
class Streams:
    """Three tables in the order of their arrival; date_time and expires are timestamps in ms."""

    persons: pa.Table
    auctions: pa.Table
    bids: pa.Table


def streams(n: int) -> Streams:
    """Generate n events."""
    number = np.arange(n, dtype=np.uint64)
    epoch, place = np.divmod(number, np.uint64(50))
    epoch, place = epoch.astype(np.int64), place.astype(np.int64)
    time = number.astype(np.int64)
    is_person, is_auction, is_bid = place == 0, (place > 0) & (place < 4), place > 3
    # How many persons and auctions there are when an event happens; it can refer to those.
    persons = np.where(is_person, epoch, epoch + 1)
    auctions = epoch * 3 + np.clip(place - 1, 0, 3)
    return Streams(
        _arriving(_persons(number[is_person], epoch[is_person], time[is_person]), number[is_person]),
        _arriving(_auctions(number[is_auction], auctions[is_auction], persons[is_auction], time[is_auction]),
                  number[is_auction]),
        _arriving(_bids(number[is_bid], auctions[is_bid], persons[is_bid], time[is_bid]), number[is_bid]),
    )  # fmt: skip


def random(number: np.ndarray, salt: int) -> np.ndarray:
    """Give 63 random bits for each event and purpose."""
    with np.errstate(over="ignore"):
        z = (number * np.uint64(8) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(1)).astype(np.int64)


def _arriving(table: pa.Table, number: np.ndarray) -> pa.Table:
    arrival = number.astype(np.int64) + random(number, 7) % DISORDER_MS
    return table.take(pa.array(np.argsort(arrival, kind="stable")))


def _timestamps(ms: np.ndarray) -> pa.Array:
    return pa.array(ms).cast(pa.timestamp("ms"))


def _persons(number: np.ndarray, ids: np.ndarray, time: np.ndarray) -> pa.Table:
    names = np.array(["Ada", "Blaise", "Chloé", "Dijkstra", "Émilie", "Fermat"])
    states = np.array(["AZ", "CA", "ID", "OR", "WA", "WY"])
    return pa.table(
        {
            "id": ids,
            "name": pa.array(names[random(number, 1) % 6]),
            "state": pa.array(states[random(number, 2) % 6]),
            "date_time": _timestamps(time),
        }
    )


def _auctions(number: np.ndarray, ids: np.ndarray, persons: np.ndarray, time: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "id": ids,
            "seller": _recent(random(number, 1), persons),
            "category": 10 + random(number, 2) % CATEGORIES,
            "initial_bid": 1 + random(number, 3) % 1_000,
            "date_time": _timestamps(time),
            "expires": _timestamps(time + 500 + random(number, 4) % (AUCTION_MS - 500)),
        }
    )


def _bids(number: np.ndarray, auctions: np.ndarray, persons: np.ndarray, time: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "auction": _recent(random(number, 1), auctions),
            "bidder": _recent(random(number, 2), persons),
            "price": 100 + random(number, 3) % 1_000_000,
            "date_time": _timestamps(time),
        }
    )


def _recent(bits: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Choose one of the latest IN_FLIGHT of those known: half of the time the hot one."""
    hot = (known - 1) // IN_FLIGHT * IN_FLIGHT
    return np.where(bits & 1, hot, np.maximum(0, known - 1 - (bits >> 1) % IN_FLIGHT))
