"""The core's own invariants hold after every push, and compaction is invisible."""

from __future__ import annotations

from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fyke
from fyke import begin, col, prev, ref
from tests.property.strategies import patterns, streams
from tests.unit.corpus_patterns import to_pattern

Json = dict[str, Any]

searching = settings(max_examples=settings.default.max_examples * 3 // 2, deadline=None)
SCHEMA = pa.schema(
    [("t", pa.int64()), ("type", pa.string()), ("v", pa.float64()), ("id", pa.int64()), ("k", pa.string())]
)


def accepted(pattern: Json) -> fyke.Pattern:
    assume(not pattern["skip"].get("throw"))
    try:
        return to_pattern(pattern)
    except fyke.DefinitionError:
        assume(False)
        raise


def told(result: fyke.Results) -> list[Any]:
    """What came out, with the contents of its events."""
    matches = [*result, *result.timeouts, *result.held]
    return [(m.id, m.key, m.released, [tuple(e.items()) for _, e in m.events]) for m in matches] + list(result.late)


def by_kind(results: list[fyke.Results]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"match": [], "timeout": []}
    for result in results:
        for match in [*result, *result.timeouts]:
            found[match.kind].append((match.id, match.key, [tuple(e.items()) for _, e in match.events]))
    return found


@searching
@given(
    several=st.lists(patterns(), min_size=1, max_size=2),
    stream=streams(longest=20),
    delays=st.lists(st.integers(0, 4), min_size=20, max_size=20),
    compacted=st.lists(st.booleans(), min_size=21, max_size=21),
    options=st.fixed_dictionaries(
        {
            "out_of_order": st.sampled_from(["0ns", "2ns", "5ns"]),
            "key_ttl": st.sampled_from([None, None, "6ns"]),
            "max_partials": st.sampled_from([100_000, 2]),
            "on_max_partials": st.sampled_from(["drop_oldest", "drop_newest"]),
        }
    ),
    arrow=st.booleans(),
)
def test_invariants_hold_after_every_push_and_compaction_changes_nothing(
    several: list[Json],
    stream: list[Json],
    delays: list[int],
    compacted: list[bool],
    options: dict[str, Any],
    arrow: bool,
) -> None:
    built = {f"p{i}": accepted(p).by("k") if i else accepted(p) for i, p in enumerate(several)}
    plain, compacting = [fyke.Engine(built, time="t", unit="ns", timeouts=True, **options) for _ in range(2)]
    events = [e for _, e in sorted(zip(delays, stream, strict=False), key=lambda pair: pair[1]["t"] + pair[0])]
    kept = []
    for i, e in enumerate(events):
        row = {"t": e["t"], "type": e["type"], "v": float(e["v"]), "id": e["id"], "k": "xy"[e["id"] % 2]}
        data = pa.Table.from_pylist([row], schema=SCHEMA) if arrow else row
        results = []
        for engine in (plain, compacting):
            results.append(engine.push(data))
            engine.check()
        if compacted[i]:
            compacting.compact()
            compacting.check()
        kept.append(results)
    plain_end, compacting_end = plain.flush(), compacting.flush()
    plain.check()
    compacting.check()
    # Looked at only now: what compaction has moved away must not be missing in results from before it.
    for wanted, found in [*kept, (plain_end, compacting_end)]:
        assert told(found) == told(wanted)
    bounded = all(p.window is not None for p in built.values())
    for statistics in (plain.statistics(), compacting.statistics()):
        assert (statistics.waiting, statistics.held) == (0, 0)
        assert statistics.partials == 0 or not bounded


def test_compaction_by_itself_keeps_prev_aggregates_held_results_and_other_payloads() -> None:
    """Pushes one by one, of two kinds of payload, with few rows that stay: many compactions on the way."""
    pattern = (
        begin("low", col.price == 0)
        .followed_by("up", col.price > prev.price)
        .times(3)
        .followed_by("end", col.price + 18 >= ref("up").price.sum(empty=0) - ref("low").price.first())
        .within("2000s")
        .by("key")
    )
    random = Random(3)
    rows = [
        {"t": t, "key": random.choice("uvwxyz"), "price": random.randrange(20), "id": t, "note": "n" * (t % 9)}
        for t in range(6000)
    ]
    schema = pa.schema(
        [("t", pa.int64()), ("key", pa.string()), ("price", pa.int64()), ("id", pa.int64()), ("note", pa.string())]
    )
    whole = fyke.Engine(pattern, time="t", unit="s", schema=schema, timeouts=True)
    wanted = by_kind([whole.push(rows), whole.flush()])
    assert whole._core.counters()["compactions"] == 0
    engine = fyke.Engine(pattern, time="t", unit="s", schema=schema, timeouts=True)
    results = []
    for i, row in enumerate(rows):
        results.append(engine.push(pa.Table.from_pylist([row], schema=schema) if i // 50 % 2 else row))
        if i % 500 == 0:
            engine.check()
    results.append(engine.flush())
    assert engine._core.counters()["compactions"] > 2
    assert by_kind(results) == wanted
    assert len(wanted["match"]) > 50
    assert len(wanted["timeout"]) > 50
    engine.check()
