"""The stream S(n, K, T) that every workload and every peer reads, bit for bit the same in every language.

For i = 1..n: r = mix(i * 0x9e3779b97f4a7c15 mod 2^64) with splitmix64's finaliser as mix, and from r
    ts = i (ms)    key = (r >> 1) % K    type = (r >> 20) % T    price = ((r >> 33) & 0xffff) / 65.536
There is no seed and no state: row i depends on i only, so any part of the stream can be made by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

N_KEYS = 10_000
N_TYPES = 6
BATCH_ROWS = 65_536
DISORDER_MS = 1_000

# Rows made at a time: the temporaries of a chunk stay in cache, and a long stream needs little beside its columns.
_CHUNK_ROWS = 1 << 18

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

U64 = npt.NDArray[np.uint64]


def mix(z: U64) -> U64:
    """Apply splitmix64's finaliser to each element.

    >>> [hex(x) for x in mix(np.array([1, 2], dtype=np.uint64))]
    ['0x5692161d100b05e5', '0xdbd238973a2b148a']
    """
    z = z ^ (z >> np.uint64(30))
    z = z * _MIX_1
    z = z ^ (z >> np.uint64(27))
    z = z * _MIX_2
    return z ^ (z >> np.uint64(31))


def columns(n: int, keys: int = N_KEYS, types: int = N_TYPES, first: int = 1) -> dict[str, npt.NDArray[Any]]:
    """Make the rows first..first+n-1 of S as contiguous arrays.

    Args:
        n: number of rows.
        keys: K, the number of distinct keys.
        types: T, the number of distinct types.
        first: number of the first row; 1 for the stream from its start.

    >>> {name: column[:2].tolist() for name, column in columns(2, 10, 6).items() if name != "price"}
    {'ts': [1, 2], 'key': [7, 0], 'type': [1, 3]}
    """
    ts = np.arange(first, first + n, dtype=np.int64)
    key = np.empty(n, dtype=np.int64)
    type_ = np.empty(n, dtype=np.int64)
    price = np.empty(n, dtype=np.float64)
    for low in range(0, n, _CHUNK_ROWS):
        part = slice(low, min(n, low + _CHUNK_ROWS))
        r = mix(ts[part].astype(np.uint64) * _GOLDEN)
        key[part] = (r >> np.uint64(1)) % np.uint64(keys)
        type_[part] = (r >> np.uint64(20)) % np.uint64(types)
        price[part] = ((r >> np.uint64(33)) & np.uint64(0xFFFF)).astype(np.float64) / 65.536
    return {"ts": ts, "key": key, "type": type_, "price": price}


def stream(n: int, keys: int = N_KEYS, types: int = N_TYPES, first: int = 1) -> pa.Table:
    """Make the rows first..first+n-1 of S as an Arrow table: ts, key, type int64 and price float64, one chunk each.

    >>> stream(3).num_rows
    3
    """
    return pa.table(columns(n, keys, types, first))


def arrival_order(n: int) -> npt.NDArray[np.int64]:
    """Return the row indexes (from 0) of S in the disordered order of arrival.

    Event i arrives at position i + (mix(i + 7) mod 1000), equal positions in the order of i: no event arrives more than
    `DISORDER_MS` - 1 behind the highest time before it, so none is late at out_of_order = `DISORDER_MS` ms.

    >>> sorted(arrival_order(5).tolist())
    [0, 1, 2, 3, 4]
    """
    i = np.arange(1, n + 1, dtype=np.uint64)
    position = i + mix(i + np.uint64(7)) % np.uint64(DISORDER_MS)
    return np.argsort(position, kind="stable")


def disordered(n: int, keys: int = N_KEYS, types: int = N_TYPES) -> pa.Table:
    """Make S with its rows in the disordered order of arrival.

    >>> sorted(disordered(3)["ts"].to_pylist())
    [1, 2, 3]
    """
    order = arrival_order(n)
    return pa.table({name: column[order] for name, column in columns(n, keys, types).items()})


def batches(table: pa.Table, rows: int = BATCH_ROWS) -> list[pa.RecordBatch]:
    """Cut a table into record batches of at most `rows` rows, without copying.

    >>> [batch.num_rows for batch in batches(stream(5), rows=2)]
    [2, 2, 1]
    """
    return table.to_batches(max_chunksize=rows)


def stream_parts(n: int, part_rows: int, keys: int = N_KEYS, types: int = N_TYPES) -> Iterator[pa.Table]:
    """Make S part by part, for streams that shall not be in memory at once.

    >>> [part.num_rows for part in stream_parts(5, 2)]
    [2, 2, 1]
    """
    for low in range(0, n, part_rows):
        yield stream(min(part_rows, n - low), keys, types, first=low + 1)
