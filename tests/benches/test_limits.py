"""oracle_*: the hand-written limits against the plainest Python that says what each pattern means.

The reference enumerates candidates in small random streams and checks the definition on each; it keeps no state from
event to event, as the limits do.
"""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import numpy as np
import pytest

from benches import data, limits
from benches.peers import python_loop

Rows = list[tuple[int, int, int, float]]  # ts, key, type, price

SEEDS = range(60)


def random_rows(seed: int, n: int, keys: int, types: int, prices: list[float]) -> Rows:
    """Make a stream with many equal prices and gaps in time, so that every boundary is met."""
    rng = random.Random(seed)
    ts, rows = 0, []
    for _ in range(n):
        ts += rng.choice([1, 1, 2, 5])
        rows.append((ts, rng.randrange(keys), rng.randrange(types), rng.choice(prices)))
    return rows


def arrays(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    ts, key, type_, price = zip(*rows, strict=True)
    return np.array(ts), np.array(key), np.array(type_), np.array(price, dtype=np.float64)


def by_key(rows: Rows) -> list[Rows]:
    return [[row for row in rows if row[1] == key] for key in sorted({row[1] for row in rows})]


def reference_fraud(rows: Rows, within: int, low: float = 10.0, high: float = 990.0) -> int:
    """Count the starts whose next big price of the same key comes inside the window."""
    matches = 0
    for lane in by_key(rows):
        for i, (ts, _, _, price) in enumerate(lane):
            if price < low:
                after = [later for later in lane[i + 1 :] if later[3] > high]
                matches += bool(after) and after[0][0] - ts < within
    return matches


def reference_vshape(rows: Rows) -> int:
    """Count the windows of six neighbours that fall thrice and rise twice, each beginning after the last one's end."""
    matches = 0
    for lane in by_key(rows):
        free = 0
        for i in range(len(lane) - 5):
            changes = [after[3] - before[3] for before, after in pairwise(lane[i : i + 6])]
            if i >= free and all(c < 0 for c in changes[:3]) and all(c > 0 for c in changes[3:]):
                matches, free = matches + 1, i + 6
    return matches


FRAUD_PRICES = [5.0, 9.999, 10.0, 500.0, 990.0, 990.001, 999.0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("within", [1, 7, 40, 10_000])
def test_oracle_fraud(seed: int, within: int) -> None:
    """A start is matched by its key's next big price only, and not at the window's end itself."""
    rows = random_rows(seed, 120, 3, 2, FRAUD_PRICES)
    ts, key, _, price = arrays(rows)
    assert limits.fraud(ts, key, price, 3, within) == reference_fraud(rows, within)
    assert python_loop.fraud([(t, k, p) for t, k, _, p in rows], within) == reference_fraud(rows, within)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("keys", [1, 3])
def test_oracle_vshape(seed: int, keys: int) -> None:
    """Equal prices break a V; a match begins after the end of the last."""
    rows = random_rows(seed, 400, keys, 2, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    _, key, _, price = arrays(rows)
    assert limits.vshape(key, price, keys) == reference_vshape(rows)
    assert python_loop.vshape([(k, p) for _, k, _, p in rows]) == reference_vshape(rows)


def test_vshape_forbids_the_shared_peak() -> None:
    """The last event of a match does not begin the next one."""
    price = np.array([9.0, 8, 7, 6, 7, 8, 7, 6, 5, 6, 7, 6])
    key = np.zeros(len(price), dtype=np.int64)
    assert limits.vshape(key, price, 1) == 1
    # One event more between the two leaves room for both.
    assert limits.vshape(np.zeros(12, dtype=np.int64), np.array([9.0, 8, 7, 6, 7, 8, 9, 8, 7, 6, 7, 8]), 1) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_disorder(seed: int) -> None:
    """Arrival order within the bound changes nothing."""
    rng = random.Random(seed)
    rows = random_rows(seed, 150, 3, 2, FRAUD_PRICES)
    bound = 20
    arrived = sorted(rows, key=lambda row: row[0] + rng.random() * bound)
    ts, key, _, price = arrays(arrived)
    assert limits.disorder(ts, key, price, 3, 60, bound) == reference_fraud(rows, 60)


def test_disorder_refuses_a_late_row() -> None:
    """A limit that dropped rows in silence would count for nothing."""
    ts, key, price = np.array([100, 1]), np.zeros(2, dtype=np.int64), np.ones(2)
    with pytest.raises(ValueError, match="late"):
        limits.disorder(ts, key, price, 1, 10, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_many(seed: int) -> None:
    """The nested conditions count what the patterns count one by one."""
    j = np.arange(8)
    low, high = 10.0 + 30.0 * j, 990.0 - 30.0 * j
    rows = random_rows(seed, 150, 2, 2, [5.0, 10.0, 60.0, 100.0, 205.0, 500.0, 795.0, 850.0, 930.0, 990.0, 999.0])
    ts, key, _, price = arrays(rows)
    expected = sum(reference_fraud(rows, 50, a, b) for a, b in zip(low, high, strict=True))
    assert limits.many(ts, key, price, 2, 50, low, high) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_any3(seed: int) -> None:
    """Every triple in order and inside the window, row by row; counted alike without enumerating."""
    rows = random_rows(seed, 60, 1, 4, [1.0])
    ts, _, type_, _ = arrays(rows)
    within = 25
    expected = {
        (i, j, k)
        for i in range(60)
        for j in range(i + 1, 60)
        for k in range(j + 1, 60)
        if type_[i] == 0 and type_[j] == 1 and type_[k] == 2 and ts[k] - ts[i] < within
    }
    out = tuple(np.zeros(40_000, dtype=np.int64) for _ in range(3))
    count = limits.any3(ts, type_, within, out)  # type: ignore[arg-type]
    assert count == len(expected)
    assert set(zip(*(column[:count].tolist() for column in out), strict=True)) == expected
    assert limits.any3_count(ts, type_, within) == len(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_kleene(seed: int) -> None:
    """Every choice of one or more 1s between a 0 and a 2 inside the window."""
    rows = random_rows(seed, 60, 1, 4, [1.0])
    ts, _, type_, _ = arrays(rows)
    within = 25
    expected = sum(
        sum(1 for n in range(1, 60) for _ in combinations([j for j in range(i, k) if type_[j] == 1], n))
        for i in range(60)
        for k in range(i + 1, 60)
        if type_[i] == 0 and type_[k] == 2 and ts[k] - ts[i] < within
    )
    assert limits.kleene(ts, type_, within) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_equal_join(seed: int) -> None:
    """Every pair of one type, inside the window, row by row."""
    rows = random_rows(seed, 120, 1, 3, [10.0, 49.9, 50.0, 500.0, 950.0, 951.0])
    ts, _, type_, price = arrays(rows)
    within = 40
    expected = {
        (i, j)
        for i in range(120)
        for j in range(i + 1, 120)
        if price[i] < 50 and price[j] > 950 and type_[i] == type_[j] and ts[j] - ts[i] < within
    }
    out = tuple(np.zeros(20_000, dtype=np.int64) for _ in range(2))
    count = limits.equal_join(ts, type_, price, 3, within, out)  # type: ignore[arg-type]
    assert count == len(expected)
    assert set(zip(*(column[:count].tolist() for column in out), strict=True)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_oracle_tumbling(seed: int) -> None:
    """Count, sum and max of each window that holds an event."""
    rows = random_rows(seed, 200, 3, 1, [1.0, 2.5, 4.0])
    ts, key, _, price = arrays(rows)
    size = 30
    expected: dict[tuple[int, int], list[float]] = {}
    for t, k, _, p in rows:
        expected.setdefault((t - t % size, k), []).append(p)
    integers = tuple(np.zeros(200, dtype=np.int64) for _ in range(3))
    floats = tuple(np.zeros(200, dtype=np.float64) for _ in range(2))
    count = limits.tumbling(ts, key, price, 3, size, (*integers, *floats))
    got = {
        (start, k): (number, total, top)
        for start, k, number, total, top in zip(*(c[:count].tolist() for c in (*integers, *floats)), strict=True)
    }
    assert got == {window: (len(p), sum(p), max(p)) for window, p in expected.items()}


def window_columns(rows: int, integers: int) -> tuple[np.ndarray, ...]:
    return (*(np.zeros(rows, np.int64) for _ in range(integers)), *(np.zeros(rows, np.float64) for _ in range(2)))


def arrived(rows: Rows, bound: int, rng: random.Random) -> Rows:
    """Shuffle rows so that each is at most `bound` behind the highest time before it."""
    return sorted(rows, key=lambda row: row[0] + rng.random() * bound)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("size", "every", "bound"), [(30, 10, 0), (30, 30, 0), (30, 10, 7), (20, 5, 40), (30, 30, 11)])
def test_oracle_hopping(seed: int, size: int, every: int, bound: int) -> None:
    """Count, sum and max of each window that holds an event, also before time 0; rows in disorder."""
    rows = random_rows(seed, 200, 3, 1, [1.0, 2.5, 4.0])
    ts, key, _, price = arrays(arrived(rows, bound, random.Random(seed)))
    expected: dict[tuple[int, int], list[float]] = {}
    for t, k, _, p in rows:
        for start in range(t - t % every, t - size, -every):
            expected.setdefault((start, k), []).append(p)
    out = window_columns(200 * size // every, 3)
    count = limits.hopping(ts, key, price, 3, size, every, bound, out)
    got = {
        (start, k): (number, total, top)
        for start, k, number, total, top in zip(*(c[:count].tolist() for c in out), strict=True)
    }
    assert len(got) == count
    assert got == {window: (len(p), sum(p), max(p)) for window, p in expected.items()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bound", [0, 9])
def test_oracle_session(seed: int, bound: int) -> None:
    """Count, sum and max of each run of a key's events with no silence over the gap."""
    rows = random_rows(seed, 200, 3, 1, [1.0, 2.5, 4.0])
    gap = 6
    ts, key, _, price = arrays(arrived(rows, bound, random.Random(seed)))
    expected = {}
    for k, lane in enumerate(by_key(rows)):
        runs = [[lane[0]]]
        for before, after in pairwise(lane):
            if after[0] - before[0] > gap:
                runs.append([])
            runs[-1].append(after)
        for run in runs:
            prices = [row[3] for row in run]
            expected[run[0][0], run[-1][0] + gap, k] = (len(run), sum(prices), max(prices))
    out = window_columns(200, 4)
    count = limits.session(ts, key, price, 3, gap, bound, out)
    got = {
        (start, end, k): (number, total, top)
        for start, end, k, number, total, top in zip(*(c[:count].tolist() for c in out), strict=True)
    }
    assert len(got) == count
    assert got == expected


def test_limits_of_windows_refuse_a_late_row() -> None:
    """A limit that dropped rows in silence would count for nothing."""
    ts, key, price = np.array([100, 1]), np.zeros(2, dtype=np.int64), np.ones(2)
    with pytest.raises(ValueError, match="late"):
        limits.hopping(ts, key, price, 1, 10, 10, 5, window_columns(9, 3))
    with pytest.raises(ValueError, match="late"):
        limits.session(ts, key, price, 1, 10, 5, window_columns(9, 4))


def test_the_stream_is_the_stream() -> None:
    """The vectorised stream equals its definition in integers, wherever it is begun."""

    def mix(z: int) -> int:
        z ^= z >> 30
        z = z * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        z ^= z >> 27
        z = z * 0x94D049BB133111EB & (1 << 64) - 1
        return z ^ z >> 31

    expected = []
    for i in range(1, 301):
        r = mix(i * 0x9E3779B97F4A7C15 & (1 << 64) - 1)
        expected.append((i, (r >> 1) % 100, (r >> 20) % 6, ((r >> 33) & 0xFFFF) / 65.536))
    assert list(zip(*(c.tolist() for c in data.columns(300, 100, 6).values()), strict=True)) == expected
    assert list(zip(*(c.tolist() for c in data.columns(50, 100, 6, first=251).values()), strict=True)) == expected[250:]
    arrival = sorted(range(300), key=lambda i: i + 1 + mix(i + 8) % 1000)
    assert data.arrival_order(300).tolist() == arrival


def test_the_published_counts() -> None:
    """The counts that every system must reach on S(1,000,000, 10,000)."""
    c = data.columns(1_000_000)
    assert limits.fraud(c["ts"], c["key"], c["price"], data.N_KEYS, 1_000_000) == 3_600
    assert limits.vshape(c["key"], c["price"], data.N_KEYS) == 12_666
