"""Changelogs over what real windows give: however often they fire, held in the end is the last word of each window."""

import random
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest

from fyke import agg, col, trigger, window
from fyke.io.changelog import WindowChangelog
from fyke.operator import END
from fyke.operators.windowed import Windowed
from tests.io.test_changelog import apply, rows_in
from tests.unit.one_input import batch_of, rising

SCHEMA = pa.schema([("card", pa.string()), ("v", pa.int64())])
WINDOWS = {
    "tumbling": window.Tumbling(10),
    "hopping": window.Hopping(15, 5),
    "session": window.Session(6),
}
TRIGGERS = {"at the end": None, "continuous": trigger.continuous("4ns"), "at each row": trigger.per_update()}


def stream(seed, n=300):
    """Rows in disorder with watermarks between them, some rows behind these."""
    rng, items, highest = random.Random(seed), [], 0
    for _ in range(n):
        if rng.random() < 0.15:
            items.append(highest - rng.randrange(12))
        else:
            time = max(0, highest + rng.randrange(-20, 8))
            highest = max(highest, time)
            items.append((time, {"card": rng.choice("abc"), "v": rng.randrange(9)}))
    return [*rising(items), END]


@pytest.mark.parametrize("lateness", ["0s", "12ns"])
@pytest.mark.parametrize("fires", TRIGGERS)
@pytest.mark.parametrize("kind", WINDOWS)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_held_in_the_end_is_what_the_windows_said_last(kind, fires, lateness, seed):
    aggregates = {"n": agg.count(), "total": agg.sum(col.v)}
    options = {"trigger": TRIGGERS[fires], "allowed_lateness": lateness}
    operator = Windowed(WINDOWS[kind], aggregates, SCHEMA, [col.card], **options)
    log = WindowChangelog(["card"], sessions=kind == "session")
    rng, items, held, final, n_fired, start = random.Random(seed), stream(seed), Counter(), [], 0, 0
    while start < len(items):
        size = rng.randrange(1, 30)
        found = operator.step([batch_of(items[start : start + size], start, SCHEMA)]).results.rows
        start += size
        apply(held, log.push(found))
        n_fired += found.num_rows
        final += rows_in(pa.Table.from_batches([found.filter(found["final"])]))
        if kind == "session":
            for card in "abc":
                sessions = sorted(row[1:3] for row in +held if row[0] == card and not row[4])
                assert all(before[1] <= after[0] for before, after in pairwise(sessions))
    assert +held == Counter(final)
    assert len(final) > 20
    assert n_fired > len(final) or fires == "at the end"
    assert (len(log), log.n_repeated) == (0, 0)
