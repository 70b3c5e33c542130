"""A replay finds what the engine finds, however the log is read, and keeps nothing."""

import json
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import fyke
from fyke import DefinitionError, LimitError, SchemaError, col
from fyke.generate import generate
from fyke.io.files import open_log
from fyke.replay import MAX_PARTITIONS

SPREE = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")
ROWS = [
    {"ts": 0, "card": "a", "amount": 0.5, "part": 1},
    {"ts": 60, "card": "b", "amount": 0.7, "part": 2},
    {"ts": 300, "card": "a", "amount": 900.0, "part": 1},
    {"ts": 270, "card": "b", "amount": 800.0, "part": 2},
    {"ts": 1800, "card": "b", "amount": 0.1, "part": 2},
]


def found(replay):
    """What is comparable of a replay's matches."""
    return [(match.key, match["probe"].position, match["spree"].position) for match in replay]


def test_matches_come_in_event_time_order_with_the_positions_of_the_log():
    assert found(fyke.replay(ROWS, SPREE, time="ts", unit="s", out_of_order="1m")) == [("b", 1, 3), ("a", 0, 2)]


def test_late_events_are_given_with_their_columns_and_counted():
    run = fyke.replay(ROWS, SPREE, time="ts", unit="s")
    late = []
    statistics = run.run(on_late=lambda rows: late.extend(rows))
    assert [(row["ts"], row["card"]) for row in late] == [(270, "b")]
    assert statistics.late == run.progress.late == 1
    assert run.collect().late.num_rows == 1


def test_timeouts_are_given_when_asked_for():
    timeouts = []
    run = fyke.replay(ROWS, SPREE, time="ts", unit="s", out_of_order="1m", timeouts=True)
    run.run(on_timeout=timeouts.append)
    assert [(match.kind, match.key, match["probe"].position) for match in timeouts] == [("timeout", "b", 4)]
    assert run.progress.timeouts == 1


def test_what_a_skip_strategy_holds_back_comes_out_at_the_end():
    pattern = fyke.begin("a", col.x > 0).one_or_more().greedy().followed_by("b", col.x < 0)
    rows = [{"ts": n, "x": 1} for n in range(3)]
    held = []
    fyke.replay(rows, pattern.within("1h"), time="ts", unit="s").run(on_held=held.append)
    assert isinstance(held, list)


def test_a_partition_has_its_own_watermark():
    assert sorted(found(fyke.replay(ROWS, SPREE, time="ts", unit="s", partition="part"))) == [("a", 0, 2), ("b", 1, 3)]


def test_partitions_find_what_engines_find_that_see_only_their_rows():
    log = pa.concat_tables(generate("payments", 60_000, seed=3, disorder_ms=6_000))
    parts = [fyke.replay(rows, SPREE, time="ts", out_of_order="5s").to_arrow() for rows in split(log, "merchant")]
    for batch_size in (7_000, 65_536):
        run = fyke.replay(log, SPREE, time="ts", out_of_order="5s", partition="merchant", batch_size=batch_size)
        table = run.to_arrow()
        assert table.num_rows == sum(part.num_rows for part in parts)
        assert run.progress.partitions == len(parts) == 6
        assert run.statistics().rows == 60_000
    assert table.num_rows > 0


def split(table, column):
    """The table's parts by the value of a column, in the order of their appearance."""
    return [table.filter(pc.equal(table[column], value)) for value in pc.unique(table[column])]


def test_a_null_is_a_partition_like_any_other():
    rows = [row | {"part": None} for row in ROWS[:3]] + ROWS[3:]
    run = fyke.replay(rows, SPREE, time="ts", unit="s", partition="part")
    assert [match.key for match in run] == ["a"]
    assert run.progress.partitions == 2


def test_a_partition_column_that_is_not_there_is_an_error_that_names_the_near_one():
    with pytest.raises(SchemaError, match="partition column `parts` is not in memory; did you mean `part`?"):
        list(fyke.replay(ROWS, SPREE, time="ts", unit="s", partition="parts"))


def test_a_partition_column_that_is_a_key_is_an_error_that_says_so(monkeypatch):
    assert MAX_PARTITIONS == 4_096  # as many as a topic may have
    monkeypatch.setattr(sys.modules["fyke.replay"], "MAX_PARTITIONS", 64)
    rows = ({"ts": n, "amount": 0.5, "card": str(n)} for n in range(65))
    with pytest.raises(LimitError, match=r'more than 64 values; if it is a key, say pattern\.by\("card"\)'):
        list(fyke.replay(rows, SPREE, time="ts", unit="s", partition="card"))


@pytest.mark.parametrize("batch_size", [1, 7, 1000, 65_536])
def test_batch_size_changes_nothing(batch_size):
    log = pa.concat_tables(generate("payments", 1_500, seed=1, disorder_ms=20_000))
    pair = fyke.begin("small", col.amount < 20).followed_by("big", col.amount > 100).within("1m").by("merchant")
    expected = fyke.replay(log, pair, time="ts", out_of_order="20s").collect()
    outcome = fyke.replay(log, pair, time="ts", out_of_order="20s", batch_size=batch_size).collect()
    assert outcome.matches.to_pylist() == expected.matches.to_pylist() != []
    assert outcome.late.num_rows == 0


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv.gz", "log.parquet"])
def test_every_format_gives_the_same_matches(tmp_path, name):
    from fyke.io.sinks import open_sink

    log = pa.concat_tables(generate("payments", 5_000, seed=1, disorder_ms=20_000))
    sink = open_sink(tmp_path / name)
    sink.write(log)
    sink.close()
    expected = [match.events for match in fyke.replay(log, SPREE, time="ts", out_of_order="20s")]
    run = fyke.replay(tmp_path / name, SPREE, time="ts", out_of_order="20s")
    assert [(m["probe"].position, m["spree"].position) for m in run] == [
        tuple(event.position for _, event in events) for events in expected
    ]
    assert len(expected) > 0


def test_only_needed_columns_are_read_when_keep_says_what_matches_hold(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "log.parquet")
    run = fyke.replay(tmp_path / "log.parquet", SPREE, time="ts", unit="s", out_of_order="1m", keep=["part"])
    match = next(iter(run))
    assert match["probe"]["part"] == 2
    assert match["probe"]["amount"] == 0.7
    assert run.statistics().rows == 5


def test_a_csv_column_that_a_pattern_uses_as_text_is_read_as_text(tmp_path):
    (tmp_path / "log.csv").write_text("ts,zip\n1,10115\n2,20095\n")
    run = fyke.replay(tmp_path / "log.csv", fyke.begin("berlin", col.zip.starts_with("1")), time="ts", unit="s")
    assert [match["berlin"]["zip"] for match in run] == ["10115"]


def test_a_source_of_ones_own_can_be_replayed(tmp_path):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = open_log(tmp_path / "log.jsonl", batch_size=2)
    assert len(found(fyke.replay(source, SPREE, time="ts", unit="s", out_of_order="1m"))) == 2


def test_a_replay_can_be_run_again_with_the_same_result():
    run = fyke.replay(ROWS, SPREE, time="ts", unit="s", out_of_order="1m")
    assert found(run) == found(run)
    assert run.statistics().rows == 5


def test_leaving_a_replay_early_leaves_the_rest_unread():
    seen = []

    def rows():
        for row in ROWS * 1000:
            seen.append(row)
            yield row

    run = fyke.replay(rows(), fyke.begin("any", col.amount > 0), time="ts", unit="s", batch_size=10, out_of_order="1h")
    for _ in run.results():
        break
    assert len(seen) == 10


def test_an_empty_log_finds_nothing_and_has_statistics():
    run = fyke.replay([], SPREE, time="ts", unit="s")
    assert list(run) == []
    assert run.statistics().rows == 0
    assert run.collect().matches.num_rows == 0


def test_a_wrong_definition_is_an_error_before_anything_is_read(tmp_path):
    with pytest.raises(DefinitionError):
        fyke.replay(tmp_path / "none.jsonl", SPREE, time="ts", out_of_order="soon")
    with pytest.raises(DefinitionError, match="batch_size"):
        fyke.replay(ROWS, SPREE, time="ts", batch_size=0)


def test_a_column_that_the_log_lacks_is_an_error_that_names_the_near_one(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "log.parquet")
    pattern = fyke.begin("probe", col.amuont < 1)
    for keep in (None, []):
        with pytest.raises(SchemaError, match="amount"):
            list(fyke.replay(tmp_path / "log.parquet", pattern, time="ts", unit="s", keep=keep))
