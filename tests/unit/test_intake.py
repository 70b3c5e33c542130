"""What a source does with times: the watermarks that rows bring, row by row."""

import numpy as np
import pyarrow as pa

import fyke
from fyke.intake import Intake
from fyke.operator import START


def marks(times, out_of_order, cut):
    """(origin, watermark) of rows that come in batches of `cut`, and what the source knows then."""
    intake = Intake(fyke.stream("s", time="t", unit="ns", out_of_order=f"{out_of_order}ns").node)
    found = []
    for at in range(0, len(times), cut):
        part = np.array(times[at : at + cut], np.int64)
        rows = pa.record_batch({"t": part})
        taken = intake.take(rows, part, np.arange(at, at + len(part), dtype=np.uint64) * 3).marks
        found += zip(taken.origins.tolist(), taken.times.tolist(), strict=True)
    return found, (intake.position, intake.highest, intake.watermark)


def test_a_watermark_stands_where_the_highest_time_rises_and_is_the_bound_below_it():
    assert marks([5, 3, 5, 9, 8, 10], 2, 6) == ([(0, 2), (9, 6), (15, 7)], (6, 10, 7))


def test_watermarks_are_the_same_whatever_the_batches():
    times = np.random.default_rng(3).integers(-50, 50, 300) + np.arange(300) // 4
    highest, watermark, expected = START, START, []
    for row, time in enumerate(times.tolist()):
        highest = max(highest, time)
        if highest - 8 > watermark:
            watermark = highest - 8
            expected.append((row * 3, watermark))
    for cut in (1, 7, 300):
        assert marks(times, 7, cut) == (expected, (300, highest, watermark))


def test_no_watermark_stands_below_the_range_of_times():
    least = START + 1
    assert marks([least, least + 6, least + 7, least + 8], 6, 4) == (
        [(6, START + 1), (9, START + 2)],
        (4, START + 9, START + 2),
    )
