"""fyke state: checkpoints, savepoints and snapshots as people read them."""

import pyarrow.parquet as pq
import pytest

import fyke
from fyke import Engine, begin, col
from fyke.state import open_store
from fyke.state.savepoint import Savepoints
from tests.cli.forked import fyke_command

OLD, NEW = (
    begin("low", col.x < 2).followed_by("high", col.x > limit).within("1h").by("k").named("spree") for limit in (5, 8)
)
ROWS = [{"ts": n, "k": "ab"[n % 2], "x": 1} for n in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints of a replay with partitions, savepoints of two versions, and a bare snapshot."""
    folder = tmp_path_factory.mktemp("states")
    engine = Engine(OLD, time="ts", unit="s")
    engine.push(ROWS)
    state = engine.snapshot()
    (folder / "bare.snapshot").write_bytes(state)
    savepoints = Savepoints(open_store(str(folder / "saved")))
    savepoints.save("before", state, position={"row": 6})
    later = Engine.restore(state, NEW, upgrade=fyke.Upgrade("drop"), time="ts", unit="s")
    savepoints.save("after", later.snapshot(), position={"row": 6})
    fyke.replay(
        [{**row, "part": row["k"] * 2} for row in ROWS], OLD, time="ts", unit="s", partition="part", open_end=True,
        checkpoint=str(folder / "replay"), outputs={"matches": str(folder / "m.jsonl")}, every=4,
    ).run()  # fmt: skip
    return folder


def run(folder, *arguments):
    done = fyke_command(folder, "state", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_ls_names_what_a_store_holds(folder):
    text = run(folder, "ls", "saved")
    assert "after.savepoint" in text
    assert '{"row": 6}' in text
    assert "replay.000000000002" in run(folder, "ls", "replay")


@pytest.mark.parametrize("place", ["bare.snapshot", "saved#before.savepoint", "saved/before.savepoint"])
def test_show_says_what_is_open(folder, place):
    text = run(folder, "show", place)
    assert "watermark of rows: 1970-01-01 00:00:04.999999999Z" in text
    assert "rows waiting for the watermark: 1" in text
    assert "pattern spree: 5 waiting for high" in text
    assert "keys with something open: 2" in text


def test_show_tells_partitions_apart(folder):
    text = run(folder, "show", "replay")
    assert "partition aa" in text
    assert "partition bb" in text


def test_diff_shows_patterns_and_counts(folder):
    text = run(folder, "diff", "saved#before.savepoint", "saved#after.savepoint")
    assert "-  .followed_by('high', col.x > 5)" in text
    assert "+  .followed_by('high', col.x > 8)" in text
    assert "-  pattern spree: 5 waiting for high" in text
    assert run(folder, "diff", "bare.snapshot", "bare.snapshot").strip() == "equal"


def test_get_shows_the_events_of_a_key(folder):
    text = run(folder, "get", "bare.snapshot", "b").splitlines()
    assert text[0] == "pattern spree: waiting for high, since 1970-01-01 00:00:01.000000000Z"
    assert text[1] == '  low 1970-01-01 00:00:01.000000000Z row 1: {"ts": 1, "k": "b", "x": 1}'
    assert "partition aa" in run(folder, "get", "replay", "a")


def test_get_of_a_key_with_nothing_is_an_error(folder):
    done = fyke_command(folder, "state", "get", "bare.snapshot", "nobody")
    assert done.returncode == 1
    assert b"nothing is held of the key 'nobody'" in done.stderr


def test_export_writes_a_row_a_partial_match(folder):
    run(folder, "export", "replay", "open.parquet")
    table = pq.read_table(folder / "open.parquet")
    assert sorted(table["partition"].to_pylist()) == ["aa", "aa", "bb", "bb"]
    assert set(table["waiting_for"].to_pylist()) == {"high"}


def test_save_keeps_a_state_under_a_name(folder):
    run(folder, "save", "replay", "kept#v1")
    assert run(folder, "show", "kept#v1.savepoint") == run(folder, "show", "replay")
    done = fyke_command(folder, "state", "save", "replay", "kept")
    assert done.returncode == 2
    assert b"is not STORE#NAME" in done.stderr


def test_what_is_no_state_is_said_in_a_line(folder):
    (folder / "no.snapshot").write_bytes(b"nothing of the kind")
    for place, words in (("no.snapshot", b"state"), ("nowhere", b"holds no checkpoints")):
        done = fyke_command(folder, "state", "show", place)
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count(b"\n") == 1
