"""Synthetic event logs with something to find in them: payments, sensors, clicks.

Made in chunks of a fixed size, each from its own seed, so that a log is the same for the same seed whatever reads it,
any length takes the memory of one chunk, and a longer log begins with the shorter one. Disorder: events arrive in the
order of the log; an event's time lies up to `disorder` before its arrival, so a bound of `disorder` makes none late.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fyke.errors import DefinitionError

CHUNK_ROWS = 65_536
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
COUNTRIES = np.array(["DE", "FR", "GB", "US", "BR", "IN", "JP", "NG"])
MERCHANTS = np.array(["books", "fuel", "games", "groceries", "shoes", "travel"])
PAGES = np.array(["home", "search", "product", "add_to_cart", "checkout", "login_failed", "login"])

Numbers = npt.NDArray[Any]


def _names(prefix: str, n: int) -> Numbers:
    """Return n names of equal length, made once: formatting them row by row would take most of the time."""
    return np.array([f"{prefix}-{number:0{len(str(n - 1))}d}" for number in range(n)])


CARDS, DEVICES, USERS = _names("card", 20_000), _names("dev", 200), _names("user", 5_000)


def _payments(rng: np.random.Generator, n: int) -> dict[str, Numbers]:
    """Card payments; one in a thousand is a probe of cents followed, seconds later, by a large one from abroad."""
    card = rng.integers(0, len(CARDS), n)
    amount = np.round(rng.lognormal(3.2, 1.0, n), 2)
    country = card % 5  # a card has a home
    probe = np.flatnonzero(rng.random(n) < 0.001)
    spree = np.minimum(probe + rng.integers(50, 500, len(probe)), n - 1)
    amount[probe] = 0.01 + np.round(rng.random(len(probe)) * 0.9, 2)
    card[spree], amount[spree] = card[probe], np.round(600 + rng.random(len(probe)) * 1400, 2)
    country[spree] = 5 + card[spree] % 3
    return {
        "card": CARDS[card],
        "amount": amount,
        "country": COUNTRIES[country],
        "merchant": MERCHANTS[rng.integers(0, len(MERCHANTS), n)],
    }


def _sensors(rng: np.random.Generator, n: int) -> dict[str, Numbers]:
    """Temperatures of 200 devices in turn; now and then one climbs for ten readings, or falls silent."""
    device = np.arange(n) % 200
    turn = np.arange(n) // 200
    value = 20 + 5 * np.sin(turn / 30 + device) + rng.normal(0, 0.3, n)
    keep = np.ones(n, bool)
    for first in np.flatnonzero(rng.random(n) < 0.0005):
        ten = first + 200 * np.arange(10)
        ten = ten[ten < n]
        value[ten] += np.arange(1, len(ten) + 1) * 8
    for first in np.flatnonzero(rng.random(n) < 0.0002):
        keep[first : first + 200 * 15 : 200] = False
    # A silent device's rows become its neighbour's: the log keeps its length.
    device = np.where(keep, device, (device + 1) % 200)
    return {
        "device": DEVICES[device],
        "temperature": np.round(value, 2),
        "humidity": np.round(40 + rng.normal(0, 4, n), 1),
    }


def _clicks(rng: np.random.Generator, n: int) -> dict[str, Numbers]:
    """Clicks of 5,000 users: carts that are checked out or left, and failed logins, here and there many in a row."""
    user = rng.integers(0, len(USERS), n)
    page = rng.choice(len(PAGES), n, p=[0.3, 0.25, 0.25, 0.08, 0.04, 0.03, 0.05])
    for first in np.flatnonzero(rng.random(n) < 0.0003):
        last = min(int(first) + 8, n) - 1
        user[first : last + 1], page[first:last] = user[first], 5
        page[last] = 6
    return {
        "user": USERS[user],
        "page": PAGES[page],
        "ms_on_page": rng.integers(100, 60_000, n),
    }


# Per kind: what makes the columns, and the mean gap between two arrivals in ms.
KINDS: dict[str, tuple[Callable[[np.random.Generator, int], dict[str, Numbers]], int]] = {
    "payments": (_payments, 20),
    "sensors": (_sensors, 50),
    "clicks": (_clicks, 10),
}


def generate(kind: str, n_rows: int, *, seed: int = 0, disorder_ms: int = 0) -> Iterator[pa.Table]:
    """Yield a synthetic log as tables in arrival order; the column `ts` is the event time, in ms and UTC.

    Args:
        kind: "payments", "sensors" or "clicks".
        n_rows: length of the log.
        seed: the same seed gives the same log.
        disorder_ms: how far an event may lie before one that arrived earlier, in ms.

    Raises:
        DefinitionError: an unknown kind or a negative number.

    >>> [table] = generate("payments", 3, seed=1)
    >>> table.column_names
    ['ts', 'card', 'amount', 'country', 'merchant']
    """
    if kind not in KINDS:
        raise DefinitionError(f"unknown kind of log {kind!r}: known are {', '.join(KINDS)}")
    if n_rows < 0 or disorder_ms < 0 or seed < 0:
        raise DefinitionError("rows, seed and disorder must not be negative")
    make, mean_gap_ms = KINDS[kind]
    arrival_ms = START_MS
    for chunk in range(-(-n_rows // CHUNK_ROWS)):
        rng = np.random.default_rng([seed, chunk])
        # Always a whole chunk, then cut: rows must not depend on how many are asked for.
        columns = make(rng, CHUNK_ROWS)
        arrivals = arrival_ms + np.cumsum(rng.integers(0, 2 * mean_gap_ms + 1, CHUNK_ROWS))
        arrival_ms = int(arrivals[-1])
        times = arrivals - (rng.random(CHUNK_ROWS) * disorder_ms).astype(np.int64)
        arrays = {"ts": pa.array(times, pa.timestamp("ms", tz="UTC"))}
        arrays |= {name: pa.array(values) for name, values in columns.items()}
        yield pa.table(arrays).slice(0, n_rows - chunk * CHUNK_ROWS)
