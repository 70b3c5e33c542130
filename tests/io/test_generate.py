"""Generated logs: reproducible, of any length, disordered by no more than asked."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fyke.errors import DefinitionError
from fyke.generate import CHUNK_ROWS, KINDS, generate


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_has_the_rows_asked_for_and_a_longer_log_begins_with_the_shorter(self, kind):
        short = pa.concat_tables(generate(kind, 1000, seed=7))
        long = pa.concat_tables(generate(kind, CHUNK_ROWS + 10, seed=7))
        assert (short.num_rows, long.num_rows) == (1000, CHUNK_ROWS + 10)
        assert long.slice(0, 1000).equals(short)
        assert not pa.concat_tables(generate(kind, 1000, seed=8)).equals(short)

    def test_disorder_stays_within_its_bound_and_is_there(self, kind):
        for disorder_ms in (0, 5_000):
            times = np.concatenate(
                [table["ts"].cast(pa.int64()).to_numpy() for table in generate(kind, 100_000, disorder_ms=disorder_ms)]
            )
            behind = np.maximum.accumulate(times) - times
            assert behind.max() <= disorder_ms
            assert (behind.max() > 0.8 * disorder_ms) or disorder_ms == 0

    def test_no_rows_are_no_tables(self, kind):
        assert list(generate(kind, 0)) == []


def test_payments_hold_probes_followed_by_sprees_abroad():
    [table] = generate("payments", 50_000)
    probes = table.filter(pc.less(table["amount"], 1)).num_rows
    sprees = table.filter(
        pc.and_(pc.greater(table["amount"], 500), pc.is_in(table["country"], pa.array(["IN", "JP", "NG"])))
    )
    assert probes > 20
    assert sprees.num_rows > 20


@pytest.mark.parametrize("bad", [{"kind": "cats", "n_rows": 1}, {"kind": "clicks", "n_rows": -1}])
def test_what_cannot_be_made_is_an_error(bad):
    with pytest.raises(DefinitionError):
        list(generate(**bad))
