"""Ten million rows in the memory of a few batches."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fyke.generate import generate

N_ROWS = 10_000_000
COPIES = 10

# In a process of its own, so that its peak is its own; what was resident before the replay is the floor.
REPLAY = """
import resource, sys, fyke
from fyke import col
spree = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")
run = fyke.replay(sys.argv[1], spree, time="ts", out_of_order="30s")
n_matches = sum(1 for _ in run)
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(run.progress.rows, n_matches, run.progress.late, round(peak_mb))
"""


@pytest.mark.slow
def test_ten_million_rows_of_parquet_stay_under_600_mb(tmp_path):
    log = tmp_path / "log.parquet"
    part = pa.concat_tables(generate("payments", N_ROWS // COPIES, disorder_ms=30_000))
    span = pc.subtract(pc.max(part["ts"]), pc.min(part["ts"])).as_py() * 1.01
    with pq.ParquetWriter(log, part.schema) as writer:
        for copy in range(COPIES):
            times = pc.add(part["ts"], pa.scalar(span * copy, pa.duration("ms")))
            writer.write_table(part.set_column(0, "ts", times))
    done = subprocess.run([sys.executable, "-c", REPLAY, log], capture_output=True, text=True, timeout=250, check=True)
    n_rows, n_matches, n_late, peak_mb = map(int, done.stdout.split())
    print(f"{n_rows:,} rows, {n_matches:,} matches, peak resident size {peak_mb} MB")
    assert (n_rows, n_late) == (N_ROWS, 0)
    assert n_matches > 1_000
    assert peak_mb < 600
