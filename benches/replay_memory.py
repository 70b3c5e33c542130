"""`python -m benches.replay_memory --rows 10000000`: replay a long Parquet file and show that memory stays bounded.

The file (fraud's stream) is written part by part to a temporary folder and removed in the end. It is replayed in a
process of its own that holds no data beside, so the peak printed is fyke's, Arrow and Python included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PART_ROWS = 500_000


def generate(path: Path, rows: int) -> None:
    """Write the stream to a Parquet file, a row group a part."""
    import pyarrow.parquet as pq

    from benches import data

    parts = data.stream_parts(rows, PART_ROWS)
    first = next(parts)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def expected_matches(rows: int) -> int:
    """Count the matches with the hand-written loop."""
    from benches import data, limits
    from benches.workloads._fyke import WITHIN_MS

    columns = data.columns(rows)
    return limits.fraud(columns["ts"], columns["key"], columns["price"], data.N_KEYS, WITHIN_MS)


def replay(path: str) -> None:
    """Replay the file and print rows/s, matches and the peak of memory as JSON."""
    import fyke
    from benches.measure import rss_mb
    from benches.workloads._fyke import fraud_pattern

    begin = time.perf_counter()
    matches = sum(1 for _ in fyke.replay(path, fraud_pattern(), time="ts", unit="ms"))
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "matches": matches, "peak_rss_mb": rss_mb()}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, replay, compare; exit status 1 if a match is missing or memory is over the bound."""
    parser = argparse.ArgumentParser(prog="python -m benches.replay_memory", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--max-mb", type=float, default=600, help="bound of the peak resident size in MB (600)")
    parser.add_argument("--dir", type=Path, help="where the temporary folder goes, instead of the system's")
    parser.add_argument("--replay", metavar="FILE", help=argparse.SUPPRESS)  # the child's way in
    chosen = parser.parse_args(arguments)
    if chosen.replay:
        replay(chosen.replay)
        return 0
    with tempfile.TemporaryDirectory(prefix="fyke-replay-", dir=chosen.dir) as folder:
        path = Path(folder) / "fraud.parquet"
        generate(path, chosen.rows)
        size_mb = path.stat().st_size / 1e6
        command = [sys.executable, "-m", "benches.replay_memory", "--replay", str(path)]
        got = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    expected = expected_matches(chosen.rows)
    right, bounded = got["matches"] == expected, got["peak_rss_mb"] < chosen.max_mb
    print(
        f"rows {chosen.rows:,} ({size_mb:,.0f} MB of Parquet)  rows/s {chosen.rows / got['seconds']:,.0f}  "
        f"matches {got['matches']:,} ({'right' if right else f'WRONG, expected {expected:,}'})  "
        f"peak resident {got['peak_rss_mb']:,.0f} MB ({'under' if bounded else 'OVER'} {chosen.max_mb:,.0f} MB)"
    )
    return 0 if right and bounded else 1


if __name__ == "__main__":
    sys.exit(main())
