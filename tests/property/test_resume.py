"""A restored engine goes on as if it had never stopped, and a damaged snapshot is an error and nothing worse."""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fyke
from fyke import begin, col, prev, ref
from tests.property.strategies import patterns, streams
from tests.unit.corpus_patterns import to_pattern

Json = dict[str, Any]
Row = dict[str, Any]

EXAMPLES = settings.default.max_examples
searching = settings(max_examples=EXAMPLES, deadline=None)
SCHEMA = pa.schema(
    [("t", pa.int64()), ("type", pa.string()), ("v", pa.float64()), ("id", pa.int64()), ("k", pa.string())]
)


def told(match: fyke.Match) -> tuple[Any, ...]:
    events = [(stage, tuple(event.items()), event.time, event.position) for stage, event in match.events]
    return (match.pattern, match.kind, match.id, match.key, match.released, match.cause, events)


def everything(result: fyke.Results) -> dict[str, Any]:
    return {
        "matches": [told(m) for m in result],
        "timeouts": [told(m) for m in result.timeouts],
        "held": [told(m) for m in result.held],
        "late": (result.late.positions, list(result.late)),
    }


# What is held where is no part of the state: a snapshot keeps the rows that are needed, and nothing else.
LOGICAL = (
    "rows", "late", "null_keys", "matches", "timeouts", "pruned", "dropped_partials", "expired_keys", "partials",
    "held", "keys", "waiting", "watermark",
)  # fmt: skip


def counts(engine: fyke.Engine) -> dict[str, Any]:
    statistics = engine.statistics()
    return {name: getattr(statistics, name) for name in LOGICAL}


def same_state(one: bytes, other: bytes) -> None:
    """Name the first section that differs: a diff of the bytes would say nothing."""
    for (name, data), (other_name, other_data) in zip(sections_of(one), sections_of(other), strict=True):
        assert (name, len(data)) == (other_name, len(other_data))
        equal = data == other_data
        assert equal, f"section {name.decode()} differs"
    assert xxhash.xxh3_128_digest(one) == xxhash.xxh3_128_digest(other)


def resumes(build: dict[str, Any], patterns: Any, batches: Sequence[Any], stop: int) -> None:
    """Stop after `stop` batches; the rest must give the same, and the state must be the same bytes."""
    original = fyke.Engine(patterns, **build)
    for batch in batches[:stop]:
        original.push(batch)
    state = original.snapshot()
    restored = fyke.Engine.restore(state, patterns, **build)
    restored.check()
    same_state(restored.snapshot(), state)
    assert counts(restored) == counts(original)
    for batch in batches[stop:]:
        wanted, found = original.push(batch), restored.push(batch)
        assert everything(found) == everything(wanted)
        assert counts(restored) == counts(original)
        restored.check()
    same_state(restored.snapshot(), original.snapshot())
    assert everything(restored.flush()) == everything(original.flush())
    assert counts(restored) == counts(original)


# --------------------------------------------------------------------------------- random patterns


def accepted(pattern: Json) -> fyke.Pattern:
    assume(not pattern["skip"].get("throw"))
    try:
        return to_pattern(pattern)
    except fyke.DefinitionError:
        assume(False)
        raise


@searching
@given(
    several=st.lists(patterns(), min_size=1, max_size=2),
    stream=streams(longest=20),
    keyed=st.booleans(),
    arrow=st.booleans(),
    bound=st.integers(0, 6),
    data=st.data(),
)
def test_a_snapshot_after_any_event_goes_on_as_if_never_stopped(
    several: list[Json], stream: list[Json], keyed: bool, arrow: bool, bound: int, data: st.DataObject
) -> None:
    built = {f"p{i}": accepted(p) for i, p in enumerate(several)}
    if keyed:
        built["p0"] = built["p0"].by("k")
    delays = data.draw(st.lists(st.integers(0, 4), min_size=len(stream), max_size=len(stream)))
    order = sorted(range(len(stream)), key=lambda i: stream[i]["t"] + delays[i])
    rows = [
        {"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"], "k": "xy"[e["id"] % 2]}
        for e in (stream[i] for i in order)
    ]
    size = data.draw(st.sampled_from([1, 1, 3]))
    batches: list[Any] = [rows[i : i + size] for i in range(0, len(rows), size)]
    if arrow:
        batches = [pa.Table.from_pylist(batch, schema=SCHEMA) for batch in batches]
    options = {"time": "t", "unit": "ns", "timeouts": True, "max_partials": 100_000, "out_of_order": f"{bound}ns"}
    resumes(options, built, batches, data.draw(st.integers(0, len(batches))))


# --------------------------------------------------------------------------------- a pattern with everything

MINUTE = dt.timedelta(minutes=1)
START = dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=dt.UTC)
UNKEYED = (
    begin("low", col.price < 5, col.text.matches("^[a-z]") | (col.text != "\U0001f41f"))
    .followed_by("up", col.price > prev.price, col.at >= ref("low").at, col.blob.is_null() | (col.blob != b""))
    .one_or_more()
    .followed_by("down", col.price < ref("up").price.avg(), ref("up").price.sum() > 3, ref("up").text.count() >= 0)
    .within("2h")
)
EVERYTHING = UNKEYED.by("key", col.price >= 0).skip(fyke.skip.to_next())
ARROW = pa.schema(
    [
        ("at", pa.timestamp("us", "UTC")), ("key", pa.string()), ("price", pa.int64()), ("text", pa.string()),
        ("blob", pa.binary()), ("list", pa.list_(pa.int8())), ("cost", pa.decimal128(9, 2)), ("day", pa.date32()),
        ("kind", pa.dictionary(pa.int8(), pa.string())), ("took", pa.duration("us")),
    ]
)  # fmt: skip


def mixed_rows(n: int, seed: int) -> list[Row]:
    random = Random(seed)
    return [
        {
            "at": START + (i + random.randrange(6)) * MINUTE,
            "key": random.choice(["x", "y", "é\U0001f41f", "", None]),
            "price": None if random.random() < 0.1 else random.randrange(8),
            "text": random.choice(["abc", "", "x", "\U0001f41f", None]),
            "blob": random.choice([b"", b"\x00\xff", None]),
            "list": random.choice([[], [1, 2], None]),
            "cost": random.choice([Decimal("1.10"), None]),
            "kind": random.choice(["p", "q"]),
            "day": random.choice([dt.date(2024, 2, 29), None]),
            "took": random.choice([dt.timedelta(days=-1, microseconds=1), None]),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("form", ["dicts", "tables"])
@pytest.mark.parametrize("options", [{}, {"key_ttl": "30m"}, {"max_partials": 4, "on_max_partials": "drop_oldest"}])
def test_payloads_keys_prev_aggregates_and_waiting_rows_survive(form: str, options: dict[str, Any]) -> None:
    rows = mixed_rows(90, seed=4)
    build = {"time": "at", "out_of_order": "5m", "timeouts": True, "schema": ARROW, **options}
    batches: list[Any] = [rows[i : i + 3] for i in range(0, len(rows), 3)]
    if form == "tables":
        batches = [pa.Table.from_pylist(batch, schema=ARROW) for batch in batches]
    for stop in range(0, len(batches), 2):
        resumes(build, EVERYTHING, batches, stop)


def test_rows_of_both_forms_can_be_in_one_snapshot() -> None:
    rows = mixed_rows(40, seed=5)
    halves: list[Any] = [rows[:10], pa.Table.from_pylist(rows[10:20], schema=ARROW), *[[row] for row in rows[20:]]]
    build = {"time": "at", "out_of_order": "30m", "timeouts": True, "schema": ARROW}
    for stop in range(len(halves)):
        resumes(build, EVERYTHING, halves, stop)


def test_positions_given_by_the_caller_go_on() -> None:
    pattern = begin("a", col.x == 1).followed_by("b", col.x == 2).within("1h")
    original = fyke.Engine(pattern, time="t", unit="s")
    original.push([{"t": 0, "x": 1}], positions=[41])
    restored = fyke.Engine.restore(original.snapshot(), pattern, time="t", unit="s")
    for engine in (original, restored):
        assert [m.id for m in [*engine.push([{"t": 1, "x": 2}]), *engine.flush()]] == ["0/match/a@41,b@42"]


PAIR = begin("a", col.x == 1).followed_by("b", col.x == 2).within("1h").by("key")


def is_one(event: Any) -> bool:
    return bool(event.x == 1)


def test_a_pattern_with_a_function_of_a_module_takes_one() -> None:
    pattern = begin("a", is_one).followed_by("b", col.x == 2).within("1h")
    batches = [[{"t": n, "x": x}] for n, x in enumerate([1, 0, 2, 1])]
    for stop in range(4):
        resumes({"time": "t", "unit": "s"}, pattern, batches, stop)


def test_held_matches_of_several_keys_come_in_one_order_after_a_restore_too() -> None:
    """Key A makes room that C takes, so that the engine's own order is not that of the keys' first events."""
    waits = begin("a", col.x == 1).followed_by("b", col.x == ref("a").n).skip(fyke.skip.to_next()).by("key")
    text = ["A17", "B19", "B15", "B50", "A70", "C19", "C15", "C50", "Z00"]
    rows = [{"t": t, "key": k, "x": int(x), "n": int(n)} for t, (k, x, n) in enumerate(text)]
    original = fyke.Engine(waits, time="t", unit="s", max_partials=9)
    original.push(rows)
    restored = fyke.Engine.restore(original.snapshot(), waits, time="t", unit="s", max_partials=9)
    for engine in (original, restored):
        assert [m.key for m in engine.flush().held] == ["B", "C"]


def test_a_snapshot_before_the_first_row_and_after_flush_can_be_restored() -> None:
    batches = [[{"t": n, "x": 1 + n % 2, "key": "k"}] for n in range(4)]
    resumes({"time": "t", "unit": "s"}, PAIR, batches, 0)
    engine = fyke.Engine(PAIR, time="t", unit="s")
    engine.push(batches[0])
    engine.flush()
    restored = fyke.Engine.restore(engine.snapshot(), PAIR, time="t", unit="s")
    assert restored.statistics().watermark == engine.statistics().watermark
    assert len(restored.push(batches[1]).late) == 1


# --------------------------------------------------------------------------------- everything at once

NUMBERED = pa.schema([("t", pa.int64()), ("key", pa.string()), ("part", pa.int64()), ("x", pa.int64())])


def random_pattern(random: Random) -> fyke.Pattern:
    """Stages that read the row, the row before it and the partial match; with and without keys and windows."""

    def condition(first: bool) -> fyke.Expr:
        row = random.choice([col.x == random.randrange(4), col.x >= random.randrange(3), col.x != prev.x])
        before = random.choice([col.x > prev.x, prev.x.is_null(), col.x == prev.x + 1, row, row])
        return before if first else random.choice([before, before & (col.x >= ref("s0").x), ref("s0").x.sum() > prev.x])

    pattern = begin("s0", condition(True))
    for i in range(random.randrange(3)):
        follow = getattr(pattern, random.choice(["next", "followed_by", "followed_by_any"]))
        pattern = follow(f"s{i + 1}", condition(False))
        shape = random.randrange(5)
        pattern = pattern.one_or_more() if shape == 0 else pattern.optional() if shape == 1 else pattern
    if random.random() < 0.5:
        pattern = pattern.within(f"{random.randrange(4, 12)}s")
    key = random.choice([(), ("key",), ("key", "part"), (col.part % 2 == 0,)])
    pattern = pattern.by(*key) if key else pattern
    return pattern.skip(random.choice([fyke.skip.no_skip(), fyke.skip.to_next(), fyke.skip.past_last_event()]))


def random_log(random: Random) -> list[Row]:
    rows, t = [], 0
    for _ in range(random.choice([10, 40, 300])):
        t += random.choice([0, 0, 1, 1, 2, 9])
        key, x = random.choice(["u", "v", "w", None]), random.choice([0, 1, 2, 3, None])
        rows.append({"t": t + random.randrange(3), "key": key, "part": random.randrange(3), "x": x})
    return rows


@settings(max_examples=EXAMPLES * 2 // 3, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_batches_forms_snapshots_and_compaction_together_change_nothing(seed: int) -> None:
    random = Random(seed)
    built = {f"p{i}": random_pattern(random) for i in range(random.randrange(1, 4))}
    rows = random_log(random)
    options = {
        "time": "t", "unit": "s", "timeouts": True, "schema": NUMBERED, "out_of_order": random.choice(["0s", "2s"]),
        "key_ttl": random.choice([None, "3s", "6s"]), "max_partials": random.choice([8, 3]),
        "on_max_partials": random.choice(["drop_oldest", "drop_newest"]),
    }  # fmt: skip
    outcomes = []
    for size, arrow in ((1, False), (7, False), (64, True), (1000, False)):
        engine = fyke.Engine(built, **options)
        found: dict[str, list[Any]] = {"matches": [], "timeouts": [], "held": [], "late": []}
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        stop = random.randrange(len(batches) + 1)
        for i, batch in enumerate(batches):
            if i == stop:
                engine = fyke.Engine.restore(engine.snapshot(), built, **options)
            collect(found, engine.push(pa.Table.from_pylist(batch, schema=NUMBERED) if arrow else batch))
            if random.random() < 0.1:
                engine.compact()
            engine.check()
        before_the_end = counts(engine)
        collect(found, engine.flush())
        outcomes.append((found, before_the_end, counts(engine)))
    assert outcomes[1:] == outcomes[:1] * 3


def collect(found: dict[str, list[Any]], result: fyke.Results) -> None:
    found["matches"] += [(m.id, m.key, m.released, m.cause) for m in result]
    found["timeouts"] += [(m.id, m.key, m.released, m.cause) for m in result.timeouts]
    found["held"] += [m.id for m in result.held]
    found["late"] += result.late.positions


# --------------------------------------------------------------------------------- damage


def sections_of(state: bytes) -> list[tuple[bytes, bytes]]:
    """The container, as docs/formats.md says."""
    (n,) = struct.unpack_from("<I", state, 12)
    at, found = 16, []
    for _ in range(n):
        (length,) = struct.unpack_from("<I", state, at)
        name = state[at + 4 : at + 4 + length]
        (size,) = struct.unpack_from("<Q", state, at + 4 + length)
        at += 4 + length + 16
        at += -at % 64
        found.append((name, state[at : at + size]))
        at += size
    assert at == len(state)
    return found


def container(sections: list[tuple[bytes, bytes]], version: int = 2) -> bytes:
    out = b"FYKESNAP" + struct.pack("<II", version, len(sections))
    for name, data in sections:
        out += struct.pack("<I", len(name)) + name + struct.pack("<QQ", len(data), xxhash.xxh3_64_intdigest(data))
        out += bytes(-len(out) % 64) + data
    return out


def rich_state(form: str = "tables") -> bytes:
    engine = fyke.Engine(EVERYTHING, time="at", out_of_order="5m", schema=ARROW)
    rows = mixed_rows(60, seed=1)
    engine.push(rows if form == "dicts" else pa.Table.from_pylist(rows, schema=ARROW))
    assert engine.statistics().partials > 5
    assert engine.statistics().held > 0
    return engine.snapshot()


def restored(state: bytes, pattern: fyke.Pattern = EVERYTHING) -> fyke.Engine:
    return fyke.Engine.restore(state, pattern, time="at", out_of_order="5m")


def survives(state: bytes) -> bool:
    """Restore and go on; a StateError is what damage may lead to. Returns whether it could be restored."""
    try:
        engine = restored(state)
    except fyke.StateError:
        return False
    engine.check()
    results = [engine.push(mixed_rows(5, seed=7)), engine.flush()]
    for result in results:
        for match in [*result, *result.held]:
            # Not the values: a date of the payload may now be one that only Arrow can hold.
            assert all(event.position >= 0 and list(event) for _, event in match.events)
    return True


@pytest.mark.parametrize("form", ["dicts", "tables"])
def test_a_snapshot_cut_short_anywhere_is_an_error(form: str) -> None:
    state = rich_state(form)
    for length in [*range(200), *range(200, len(state), 97)]:
        with pytest.raises(fyke.StateError):
            restored(state[:length])


def test_any_flipped_bit_is_an_error() -> None:
    state = rich_state()
    random = Random(8)
    for at in [*range(120), *random.sample(range(len(state)), 600)]:
        damaged = bytearray(state)
        damaged[at] ^= 1 << random.randrange(8)
        with pytest.raises(fyke.StateError):
            restored(bytes(damaged))


@pytest.mark.parametrize("form", ["dicts", "tables"])
@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_bytes_changed_behind_a_right_checksum_are_an_error_or_a_state(form: str, seed: int) -> None:
    """What an attacker would do: the checksums hold, the contents do not."""
    random = Random(seed)
    sections = STATES[form]
    which = random.randrange(len(sections))
    name, data = sections[which]
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 8])):
        if changed:
            at = random.randrange(len(changed))
            changed[at] = random.choice([0, 1, 255, 127, changed[at] ^ 1, random.randrange(256)])
    survives(container([*sections[:which], (name, bytes(changed)), *sections[which + 1 :]]))


STATES = {form: sections_of(rich_state(form)) for form in ("dicts", "tables")}


def replaced(name: str, data: bytes) -> bytes:
    assert any(n == name.encode() for n, _ in STATES["tables"])
    return container([(n, data if n == name.encode() else d) for n, d in STATES["tables"]])


def ipc(columns: dict[str, Any], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    return bytes(sink.getvalue())


def table_of(name: str) -> pa.Table:
    return pa.ipc.open_stream(dict(STATES["tables"])[name.encode()]).read_all()


NUMBERS = (0, 1, 7, 10**6, 2**31, 2**32 - 1, 2**63 - 1, -1, -(2**63), 2**63, 2**64 - 1)


@pytest.mark.parametrize("name", ["nodes", "runs", "keyed", "lags", "waiting", "registers"])
def test_any_number_in_the_records_of_a_snapshot_is_an_error_or_a_state(name: str) -> None:
    table = table_of(name)
    assert len(table) > 0
    for field in table.schema:
        values = table[field.name].to_pylist()
        for number in NUMBERS:
            try:
                pa.scalar(number, field.type)
            except (pa.ArrowInvalid, OverflowError):
                continue
            for row in {0, len(values) // 2, len(values) - 1}:
                columns = {f: table[f].to_pylist() for f in table.schema.names}
                columns[field.name] = [*values[:row], number, *values[row + 1 :]]
                survives(replaced(name, ipc(columns, table.schema)))


@pytest.mark.parametrize("name", ["nodes", "runs", "keyed", "lags", "waiting", "registers", "held"])
def test_a_record_more_or_less_is_an_error_or_a_state(name: str) -> None:
    table = table_of(name)
    for kept in (
        table.slice(0, 0),
        table.slice(1),
        table.slice(0, max(len(table) - 1, 0)),
        pa.concat_tables([table] * 2),
    ):
        columns = {f: kept[f].to_pylist() for f in kept.schema.names}
        survives(replaced(name, ipc(columns, kept.schema)))


def test_any_value_in_the_meta_of_a_snapshot_is_an_error_or_a_state() -> None:
    meta = json.loads(dict(STATES["tables"])[b"meta"])
    for entry in meta:
        for value in (
            None,
            True,
            0,
            1,
            -1,
            2**31,
            2**63,
            2**70,
            0.5,
            "x",
            [],
            [1],
            [1, 2, 3],
            [None] * 3,
            {},
            {"matches": -1},
        ):
            survives(replaced("meta", json.dumps(meta | {entry: value}).encode()))
        survives(replaced("meta", json.dumps({k: v for k, v in meta.items() if k != entry}).encode()))
    for text in (b"", b"{", b"[]", b"5", b"\xff", b"null"):
        assert not survives(replaced("meta", text))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda s: b"", "cut short"),
        (lambda s: b"PK\x03\x04" + s[4:], "not a snapshot"),
        (lambda s: s[:8] + struct.pack("<I", 3) + s[12:], "version 3; this release reads versions 1 and 2"),
        (lambda s: s + b"\0", "left over"),
        (lambda s: s[:-1], "cut short"),
        (lambda s: container(sections_of(s)[1:]), "meta"),
        (lambda s: container([x for x in sections_of(s) if x[0] != b"runs"]), "runs"),
        (lambda s: container([x for x in sections_of(s) if not x[0].startswith(b"payload/")]), "missing"),
    ],
)
def test_what_is_wrong_with_a_snapshot_is_said(damage: Any, said: str) -> None:
    with pytest.raises(fyke.StateError, match=said):
        restored(damage(rich_state()))


def test_a_snapshot_of_another_pattern_or_other_types_is_refused() -> None:
    state = rich_state()
    for other in (EVERYTHING.within("1h"), UNKEYED.by("key"), UNKEYED.skip(fyke.skip.to_next()), PAIR):
        with pytest.raises(fyke.StateError, match="of other patterns"):
            restored(state, other)
    with pytest.raises(fyke.StateError, match="of other patterns"):
        fyke.Engine.restore(state, [EVERYTHING, PAIR], time="at", out_of_order="5m")


@pytest.mark.parametrize("state", [None, "text", 5, [1]])
def test_something_that_is_not_bytes_is_refused(state: Any) -> None:
    with pytest.raises((fyke.StateError, TypeError)):
        restored(state)
