"""Logs through streams: several are merged by the time that each has reached, whatever the size of batches."""

import pyarrow as pa
import pytest

import fyke
from fyke import DefinitionError, StreamReplay, join, stream

A, B = (stream(name, time="t", unit="ns") for name in "ab")
LEFT = pa.table({"t": [1, 5, 3, 9, 9, 20], "k": [1, 2, 1, 2, 1, 1]})
RIGHT = pa.table({"t": [2, 5, 9, 8, 30], "k": [1, 2, 1, 2, 2]})


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_logs_are_merged_by_the_time_they_have_reached(size):
    both = A.with_columns(s="a").union(B.with_columns(s="b"))
    joined = A.key_by("k").join(B.key_by("k"), join.interval("-3ns", "3ns"), how="outer")
    streams = {"both": both, "joined": joined}
    found = StreamReplay({"a": LEFT, "b": RIGHT}, streams, batch_size=size).collect()
    order = [(row["s"], row["t"]) for row in found["both"]]
    assert order[:7] == [("a", 1), ("b", 2), ("a", 5), ("a", 3), ("b", 5), ("a", 9), ("a", 9)]
    assert order[7:] == [("b", 9), ("b", 8), ("a", 20), ("b", 30)]
    whole = StreamReplay({"a": LEFT, "b": RIGHT}, streams).collect()
    assert list(found["joined"]) == list(whole["joined"])


def test_one_log_gives_what_its_engine_gives():
    assert [row["t"] for row in StreamReplay(LEFT, A.filter(fyke.col.k == 2))] == [5, 9]
    assert [row["t"] for row in fyke.replay(LEFT, A.filter(fyke.col.k == 2), batch_size=2)] == [5, 9]


def test_each_source_has_a_log():
    with pytest.raises(DefinitionError, match="take rows from a, b"):
        StreamReplay({"a": LEFT}, A.union(B))
