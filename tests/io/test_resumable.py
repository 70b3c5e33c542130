"""A replay with checkpoints that stops anywhere and goes on: each result stands once, as if it had never stopped."""

import contextlib
import gzip
import json
import random
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fyke
from fyke import DataError, DefinitionError, Engine, StateError, StreamEngine, agg, col, join, stream, tumbling
from fyke.generate import generate
from fyke.io.files import open_log

SPREE = fyke.begin("probe", col.amount < 10).followed_by("spree", col.amount > 150).within("10s").by("country")
OUTPUTS = ["matches.jsonl", "matches.jsonl.gz", "matches.csv.zst", "matches.csv", "matches.parquet", "sql"]


class Stop(Exception):
    """What ends a run in the middle."""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of payments, in each format by its suffix."""
    folder = tmp_path_factory.mktemp("log")
    table = pa.concat_tables(generate("payments", 3_000, seed=3, disorder_ms=20_000))
    pq.write_table(table, folder / "log.parquet", row_group_size=700)
    with fyke.io.sinks.open_sink(folder / "log.jsonl") as sink:
        sink.write(table)
    with fyke.io.sinks.open_sink(folder / "log.csv") as sink:
        sink.write(table)
    return folder


def target(folder, output):
    return f"sqlite:///{folder}/out.db#matches" if output == "sql" else str(folder / output)


def replay(log, folder, output="matches.jsonl", *, kind="log.parquet", state="state", **options):
    """A replay with everything that a place can have."""
    options = {"out_of_order": "5s", "every": 400, "batch_size": 64, "partition": None} | options
    outputs = {"matches": target(folder, output), "late": str(folder / "late.jsonl")}
    return fyke.replay(
        log / kind, SPREE, time="ts", checkpoint=str(folder / state), outputs=outputs, timeouts=False, **options
    )


def contents(folder, output):
    """What an output holds, byte by byte, or row by row."""
    if output == "sql":
        with contextlib.closing(sqlite3.connect(folder / "out.db")) as connection:
            return connection.execute("select * from matches").fetchall()
    path = folder / output
    if path.is_dir():
        return {each.name: each.read_bytes() for each in sorted(path.iterdir())}
    return path.read_bytes()


def stop_after(n):
    """A callback that stops a run at its n-th step."""
    left = iter(range(n))

    def on_step():
        if next(left, None) is None:
            raise Stop

    return on_step


def run_with_stops(make, rng, most=40):
    """Run to the end, stopped again and again; return how often."""
    n = 0
    while True:
        with contextlib.suppress(Stop):
            make().run(stop_after(rng.randrange(1, most)))
            return n
        n += 1


@pytest.mark.parametrize(
    ("kind", "output"),
    [*(("log.parquet", output) for output in OUTPUTS), ("log.csv", "matches.csv"), ("log.jsonl", "sql")],
)
def test_a_replay_that_stops_anywhere_writes_what_an_undisturbed_one_writes(log, tmp_path, kind, output):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    assert replay(log, whole, output, kind=kind).run()
    n_stops = run_with_stops(lambda: replay(log, stopped, output, kind=kind), random.Random(output + kind))
    assert n_stops >= 1
    assert contents(stopped, output) == contents(whole, output)
    assert contents(stopped, "late.jsonl") == contents(whole, "late.jsonl")
    assert len(contents(whole, output)) >= 8


def test_the_outputs_hold_what_a_plain_replay_finds(log, tmp_path):
    for output in OUTPUTS:
        replay(log, tmp_path, output, state=f"state-{output}").run()
    plain = fyke.replay(log / "log.parquet", SPREE, time="ts", out_of_order="5s").to_arrow()
    ids = plain["id"].to_pylist()
    assert len(set(ids)) == len(ids) > 20
    assert [json.loads(line)["id"] for line in (tmp_path / "matches.jsonl").read_text().splitlines()] == ids
    with gzip.open(tmp_path / "matches.jsonl.gz", "rt") as file:
        assert [json.loads(line)["id"] for line in file] == ids
    assert pq.read_table(tmp_path / "matches.parquet")["id"].to_pylist() == ids
    for name in ("matches.csv", "matches.csv.zst"):
        rows = pa.concat_tables(pa.Table.from_batches([b.rows]) for b in open_log(tmp_path / name))
        assert rows["id"].to_pylist() == ids
    names = [row[0] for row in sqlite3.connect(tmp_path / "out.db").execute("select id from matches")]
    assert names == ids


def test_what_it_ended_with_is_not_run_again(log, tmp_path):
    assert replay(log, tmp_path).run()
    before = contents(tmp_path, "matches.jsonl")
    assert replay(log, tmp_path).run() is False
    assert contents(tmp_path, "matches.jsonl") == before


def test_partitions_go_on_each_where_it_was(log, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    options = {"partition": "merchant", "out_of_order": "10s"}
    replay(log, whole, **options).run()
    assert run_with_stops(lambda: replay(log, stopped, **options), random.Random(1), 200) >= 1
    assert contents(stopped, "matches.jsonl") == contents(whole, "matches.jsonl")


PAYMENTS = stream("payments", time="ts", out_of_order="30s")
CHECKS = stream("checks", time="ts", out_of_order="30s")
GRAPH = {
    "joined": PAYMENTS.key_by("card").join(CHECKS.key_by("card"), join.interval("-2m", "2m")).select("card", "amount"),
    "sums": PAYMENTS.key_by("card").window(tumbling("5s")).aggregate(n=agg.count(), total=agg.sum(col.amount)),
    "matches": PAYMENTS.match(SPREE).select("country", "time"),
}


def replay_streams(log, folder, batch_size=128, **options):
    outputs = {name: str(folder / f"{name}.jsonl") for name in [*GRAPH, "late"]}
    logs = {"payments": log / "log.parquet", "checks": log / "log.csv"}
    return fyke.replay(
        logs, GRAPH, checkpoint=str(folder / "state"), outputs=outputs, every=777, batch_size=batch_size, **options
    )


def test_streams_over_several_logs_go_on_where_they_were(log, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    replay_streams(log, whole).run()
    assert run_with_stops(lambda: replay_streams(log, stopped), random.Random(5), 60) >= 1
    for name in [*GRAPH, "late"]:
        assert contents(stopped, f"{name}.jsonl") == contents(whole, f"{name}.jsonl"), name
    assert min(len(contents(whole, f"{name}.jsonl")) for name in GRAPH) > 1_000


def test_partitions_of_streams_go_on_each_where_it_was(log, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    assert replay_streams(log, whole, partition="country").run()
    stops = run_with_stops(lambda: replay_streams(log, stopped, partition="country"), random.Random(6), 120)
    assert stops >= 1
    for name in [*GRAPH, "late"]:
        assert contents(stopped, f"{name}.jsonl") == contents(whole, f"{name}.jsonl"), name


def test_streams_with_an_open_end_go_on_with_what_was_appended(log, tmp_path):
    """One log grows, then both; the first run ends neither, the last ends all."""
    text = (log / "log.jsonl").read_text().splitlines(keepends=True)
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"

    def run(folder, **options):
        folder.mkdir(exist_ok=True)
        outputs = {"joined": str(folder / "joined.jsonl"), "sums": str(folder / "sums.jsonl")}
        graph = {name: GRAPH[name] for name in outputs}
        logs = {"payments": a, "checks": b}
        whole = fyke.replay(logs, graph, checkpoint=str(folder / "state"), outputs=outputs, every=100, **options)
        assert whole.run()
        return {name: contents(folder, f"{name}.jsonl") for name in outputs}

    for n, m in ((100, 300), (250, 300), (600, 500)):
        a.write_text("".join(text[:n]))
        b.write_text("".join(text[:m]))
        run(tmp_path / "pieces", open_end=True)
    for path in (a, b):
        path.write_text("".join(text[:700]))
    ended = run(tmp_path / "pieces")
    assert {name: sorted(each.splitlines()) for name, each in ended.items()} == {
        name: sorted(each.splitlines()) for name, each in run(tmp_path / "whole").items()
    }


@pytest.mark.parametrize("n_rows", [0, 1_700])
def test_from_history_to_live(log, tmp_path, n_rows):
    """The engine that goes on from the end of a replay finds what one engine over all of it finds."""
    table = pq.read_table(log / "log.parquet")
    pq.write_table(table[:n_rows], tmp_path / "history.parquet")
    outputs = {"matches": str(tmp_path / "matches.jsonl")}
    options = {"time": "ts", "out_of_order": "5s"}
    run = fyke.replay(
        tmp_path / "history.parquet", SPREE, **options, checkpoint=str(tmp_path / "state"), outputs=outputs,
        every=500, open_end=True,
    )  # fmt: skip
    with pytest.raises(StateError, match="no checkpoint yet"):
        run.engine()
    run.run()
    engine = run.engine()
    live = [match.id for match in [*engine.push(table[n_rows:]), *engine.flush()]]
    history = [json.loads(line)["id"] for line in (tmp_path / "matches.jsonl").read_text().splitlines()]
    whole = Engine(SPREE, **options)
    assert history + live == [match.id for match in [*whole.push(table), *whole.flush()]]


def test_streams_go_from_history_to_live(log, tmp_path):
    table = pq.read_table(log / "log.parquet")
    sums = GRAPH["sums"]
    run = fyke.replay(
        table[:1_500], sums, checkpoint=str(tmp_path / "state"), outputs={"results": str(tmp_path / "sums.parquet")},
        every=500, open_end=True,
    )  # fmt: skip
    run.run()
    engine = run.engine()
    live = [*engine.push(table[1_500:]), *engine.flush()]
    whole = StreamEngine(sums)
    all_rows = [*whole.push(table), *whole.flush()]
    n_history = pq.read_table(tmp_path / "sums.parquet").num_rows
    assert n_history > 0
    assert live == all_rows[n_history:]


def test_an_open_end_goes_on_with_what_was_appended(log, tmp_path):
    lines = (log / "log.jsonl").read_text().splitlines(keepends=True)
    path = tmp_path / "growing.jsonl"
    for n in (500, 1_345, len(lines)):
        path.write_text("".join(lines[:n]))
        replay(tmp_path, tmp_path, kind="growing.jsonl", open_end=n < len(lines)).run()
    plain = fyke.replay(log / "log.jsonl", SPREE, time="ts", out_of_order="5s").to_arrow()["id"].to_pylist()
    assert [json.loads(line)["id"] for line in (tmp_path / "matches.jsonl").read_text().splitlines()] == plain


# -- what is refused


def test_standard_input_is_refused_with_a_reason(tmp_path):
    with pytest.raises(DefinitionError, match="standard input cannot be read again from where a checkpoint stands"):
        fyke.replay(
            "-", SPREE, time="ts", format="jsonl", checkpoint=str(tmp_path / "s"), outputs={"matches": "m.jsonl"}
        )


def test_standard_output_is_refused_with_a_reason(log, tmp_path):
    with pytest.raises(DataError, match="standard output cannot be cut back"):
        fyke.replay(log / "log.csv", SPREE, time="ts", checkpoint=str(tmp_path / "s"), outputs={"matches": "-"})


def test_a_lambda_is_refused_before_the_first_row(log, tmp_path):
    pattern = fyke.begin("a", lambda row: True)
    with pytest.raises(fyke.FykeError, match="module level|name"):
        fyke.replay(log / "log.csv", pattern, time="ts", checkpoint=str(tmp_path / "s"), outputs={"matches": "m.jsonl"})


def test_an_output_that_is_not_there_is_named(log, tmp_path):
    with pytest.raises(DefinitionError, match='there is no "match"; there are matches, late, held'):
        fyke.replay(log / "log.csv", SPREE, time="ts", checkpoint=str(tmp_path / "s"), outputs={"match": "m.jsonl"})


def test_options_of_checkpoints_need_a_checkpoint(log):
    with pytest.raises(DefinitionError, match="every= is of a replay with checkpoints"):
        fyke.replay(log / "log.csv", SPREE, time="ts", every=5)


def stopped_replay(log, folder, output="matches.jsonl", **options):
    with pytest.raises(Stop):
        replay(log, folder, output, **options).run(stop_after(40))


def test_a_changed_definition_is_refused(log, tmp_path):
    stopped_replay(log, tmp_path)
    with pytest.raises(StateError, match="is of another replay: patterns or streams, their options"):
        replay(log, tmp_path, out_of_order="6s").run()


def test_two_replays_at_once_in_one_place_are_refused(log, tmp_path):
    told = []

    def second():
        with pytest.raises(StateError, match="state: another replay is at work with these checkpoints"):
            replay(log, tmp_path).run()
        told.append(True)
        raise Stop

    with pytest.raises(Stop):
        replay(log, tmp_path).run(second)
    assert told
    assert replay(log, tmp_path).run()


def test_another_log_is_refused(log, tmp_path):
    stopped_replay(log, tmp_path)
    with pytest.raises(StateError, match=r"the checkpoint is of \S*log.parquet, not of \S*log.csv"):
        replay(log, tmp_path, kind="log.csv").run()


@pytest.mark.parametrize("output", ["matches.jsonl", "matches.csv"])
def test_a_file_that_was_cut_is_refused_and_left_alone(log, tmp_path, output):
    stopped_replay(log, tmp_path, output)
    (tmp_path / output).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"{output}: has 1 bytes where the checkpoint knows \d+"):
        replay(log, tmp_path, output).run()
    assert (tmp_path / output).read_bytes() == b"x"


def test_a_segment_that_is_gone_is_named(log, tmp_path):
    stopped_replay(log, tmp_path, "matches.parquet")
    (tmp_path / "matches.parquet" / "part-00000001.parquet").unlink()
    with pytest.raises(DataError, match=r"part-00000001.parquet: is not there; the manifest says \d+ bytes"):
        replay(log, tmp_path, "matches.parquet").run()


def test_a_folder_of_other_files_is_left_alone(log, tmp_path):
    (tmp_path / "matches.parquet").mkdir()
    (tmp_path / "matches.parquet" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="holds other files"):
        replay(log, tmp_path, "matches.parquet").run()
    assert [each.name for each in (tmp_path / "matches.parquet").iterdir()] == ["mine.txt"]


def test_a_table_of_somebody_else_is_left_alone(log, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        connection.execute("create table matches (x)")
    with pytest.raises(DataError, match="out.db#matches: the table is there already"):
        replay(log, tmp_path, "sql").run()


def test_a_table_of_another_replay_is_left_alone(log, tmp_path):
    stopped_replay(log, tmp_path, "sql")
    with pytest.raises(DataError, match="holds results of another replay"):
        replay(log, tmp_path, "sql", state="other", out_of_order="6s").run()


def test_a_database_that_is_ahead_of_the_checkpoints_gets_nothing_twice(log, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    replay(log, whole, "sql").run()
    stopped_replay(log, tmp_path, "sql")
    replay(log, tmp_path, "sql", state="lost").run()
    assert contents(tmp_path, "sql") == contents(whole, "sql")


def test_a_database_that_is_far_behind_is_told(log, tmp_path):
    stopped_replay(log, tmp_path, "sql")
    with contextlib.closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        connection.execute("update fyke_progress set cut = 1")
        connection.commit()
    with pytest.raises(StateError, match="results up to cut 1, and no checkpoint of that cut or before is left"):
        replay(log, tmp_path, "sql").run()


def test_the_checkpoint_before_a_damaged_one_is_taken(log, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    replay(log, whole).run()
    stopped_replay(log, tmp_path)
    last = max((tmp_path / "state").iterdir())
    last.write_bytes(last.read_bytes()[:-5])
    with pytest.warns(RuntimeWarning, match="damaged"):
        replay(log, tmp_path).run()
    assert contents(tmp_path, "matches.jsonl") == contents(whole, "matches.jsonl")
