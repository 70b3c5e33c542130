"""Snapshots changed at random, restored: a StateError or an engine that works; never a crash, a hang, endless memory.

    python -m tests.fuzz.loader --seconds 600 --seed 1        make fuzz DURATION=600: the same under ASan and UBSan

What is changed: bytes of the container; bytes of a section behind a right checksum; numbers in the tables of a section,
rows of it, whole sections that are missing or come from another snapshot; values in JSON. Every case follows from the
seed and its number. A case that fails is written to build/fuzz/ and said on one line.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

import fyke
from tests.property import test_resume as patterns
from tests.property.test_streams import GRAPHS, table

Sections = list[tuple[bytes, bytes]]
CASE_SECONDS = 30
CASE_MEMORY = 1 << 30
NUMBERS = (0, 1, 2, 7, 255, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -1, -2, -(2**63), 2**63, 2**64 - 1)
JSONS: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**31, 2**63, 2**70, 0.5, "x", [], [1], [None] * 3, {}, {"x": 1}, [[]], "y" * 1000,
)  # fmt: skip


class Subject:
    """Snapshots of one definition at several moments, and how one is restored and worked with."""

    def __init__(self, name: str, states: list[bytes], restore: Callable[[bytes], Any], rows: list[Any]) -> None:
        self.name, self.restore, self.rows = name, restore, rows
        self.states = [patterns.sections_of(state) for state in states]

    def survives(self, state: bytes) -> bool:
        """Whether it was restored; then it works."""
        try:
            engine = self.restore(state)
        except fyke.StateError:
            return False
        engine.check()
        try:
            for row in self.rows:
                engine.push(row)
            engine.flush()
        except fyke.FykeError:
            return True  # a bound that was met, a column that a later row does not have
        engine.check()
        engine.snapshot()
        return True


def of_patterns(form: str) -> Subject:
    engine = fyke.Engine(patterns.EVERYTHING, time="at", out_of_order="5m", schema=patterns.ARROW)
    rows = patterns.mixed_rows(60, seed=1)
    more = patterns.mixed_rows(5, seed=7)
    states = []
    for part in (rows[:20], rows[20:]):
        engine.push(part if form == "dicts" else pa.Table.from_pylist(part, schema=patterns.ARROW))
        states.append(engine.snapshot())
    return Subject(f"patterns, {form}", states, patterns.restored, [more])


def of_deltas() -> Subject:
    """A base with a delta: what is changed is either; both stand in one list of sections, with a mark between them."""
    engine = fyke.Engine(patterns.EVERYTHING, time="at", out_of_order="5m", schema=patterns.ARROW)
    rows = patterns.mixed_rows(60, seed=1)
    engine.push(pa.Table.from_pylist(rows[:40], schema=patterns.ARROW))
    base = engine.snapshot(base=True)
    engine.push(pa.Table.from_pylist(rows[40:], schema=patterns.ARROW))
    delta = engine.delta()
    first = patterns.sections_of(base)

    def restore(state: bytes) -> fyke.Engine:
        try:
            sections = patterns.sections_of(state)
        except (struct.error, OverflowError, AssertionError):  # the container itself is damaged
            return patterns.restored(fyke.merged(state, []))
        names = [name for name, _ in sections]
        at = names.index(b"meta", 1) if b"meta" in names[1:] else len(first)
        changed = patterns.container(sections[:at])
        said = fyke.deltas.digest_of(changed).encode()
        others = [(n, d.replace(fyke.deltas.digest_of(base).encode(), said)) for n, d in sections[at:]]
        return patterns.restored(fyke.merged(changed, [patterns.container(others)]))

    subject = Subject("deltas", [], restore, [patterns.mixed_rows(5, seed=7)])
    subject.states = [[*first, *patterns.sections_of(delta)]]
    return subject


def of_graph(name: str) -> Subject:
    definition = GRAPHS[name]
    engine = fyke.Engine(definition)
    random = Random(name)
    states = []
    for _ in range(3):
        for source in engine.inputs:
            rows = [(random.randrange(30), random.choice(["x", "y", None]), random.randrange(10)) for _ in range(12)]
            engine.push(table(sorted(rows, key=lambda row: row[0])), to=source)
        states.append(engine.snapshot())

    def restore(state: bytes) -> Any:
        restored = fyke.Engine.restore(state, definition)
        return Pushed(restored)

    return Subject(f"streams, {name}", states, restore, [table([(31, "x", 7), (33, "y", 2), (40, None, 9)])])


class Pushed:
    """A stream engine to which rows go by every input."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def push(self, rows: Any) -> None:
        for source in self.engine.inputs:
            self.engine.push(rows, to=source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


# ------------------------------------------------------------------------------------------------ what is changed


def changed_bytes(random: Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4, 16])):
        at = random.randrange(len(found) + 1)
        how = random.randrange(6)
        if how == 0:
            del found[at : at + random.choice([1, 4, 8, 64])]
        elif how == 1:
            found[at:at] = random.randbytes(random.choice([1, 4, 8, 64]))
        elif at < len(found):
            found[at] = random.choice([0, 1, 127, 128, 255, found[at] ^ 1 << random.randrange(8)])
    return bytes(found)


def changed_json(random: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(sorted(value))
        if random.random() < 0.1:
            return {n: v for n, v in value.items() if n != name}
        return value | {name: changed_json(random, value[name])}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        return [*value[:at], changed_json(random, value[at]), *value[at + 1 :]]
    return random.choice(JSONS)


def changed_table(random: Random, data: bytes) -> bytes:
    """Numbers of a column, or rows; bytes if it is no table."""
    try:
        whole = pa.ipc.open_stream(data).read_all()
        whole.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):  # changed before
        return changed_bytes(random, data)
    n = len(whole)
    if n and random.random() < 0.3:
        fewer = sorted(random.sample(range(n), n - 1))
        rows = random.choice([[*range(n), random.randrange(n)], list(range(n))[::-1], fewer])
        whole = whole.take(pa.array(rows, pa.int64()))
    else:
        at = random.randrange(len(whole.schema)) if len(whole.schema) else -1
        if at < 0 or not n or not pa.types.is_integer(whole.schema.types[at]):
            return changed_bytes(random, data)
        values = whole.column(at).to_pylist()
        for _ in range(random.choice([1, 1, 3])):
            row = random.randrange(n)
            near = (values[row] or 0) + random.choice([-1, 1])
            values[row] = random.choice([*NUMBERS, values[random.randrange(n)], near])
        try:
            whole = whole.set_column(at, whole.schema.field(at), pa.array(values, whole.schema.types[at]))
        except (pa.ArrowInvalid, OverflowError):
            return changed_bytes(random, data)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole.combine_chunks())
    return bytes(sink.getvalue())


def case(random: Random, subject: Subject) -> bytes:
    """One changed snapshot."""
    sections = list(random.choice(subject.states))
    if random.random() < 0.05:
        return changed_bytes(random, patterns.container(sections))
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        at = random.randrange(len(sections))
        name, data = sections[at]
        how = random.randrange(10)
        if how == 0 and len(sections) > 1:
            del sections[at]
        elif how == 1:
            other = dict(random.choice(subject.states))
            sections[at] = (name, other.get(name, data))
        elif how == 2:
            sections[at] = (random.choice(sections)[0], data)
        elif data[:1] == b"{":
            try:
                sections[at] = (name, json.dumps(changed_json(random, json.loads(data))).encode())
            except ValueError:  # changed before
                sections[at] = (name, changed_bytes(random, data))
        elif how < 7:
            sections[at] = (name, changed_table(random, data))
        else:
            sections[at] = (name, changed_bytes(random, data))
    return patterns.container(sections)


# ------------------------------------------------------------------------------------------------ the run


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(seconds: float, seed: int, folder: Path, first: int = 0, last: int | None = None) -> tuple[int, int, list[str]]:
    """Try cases until the time is over; returns how many, how many were restored, and what failed."""
    subjects = [of_patterns("tables"), of_patterns("dicts"), of_deltas(), *map(of_graph, GRAPHS)]
    end = time.monotonic() + seconds
    number, n_restored, failures = first, 0, []
    while time.monotonic() < end and (last is None or number <= last):
        random = Random(f"{seed}/{number}")
        subject = subjects[0] if random.random() < 0.3 else random.choice(subjects)
        state = case(random, subject)
        before, begin = peak(), time.monotonic()
        faulthandler.dump_traceback_later(CASE_SECONDS, exit=True, file=sys.__stderr__)
        wrong = ""
        try:
            n_restored += subject.survives(state)
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            wrong = f"{Path(at.filename).name}:{at.lineno}: {type(error).__name__}: {error!s:.200}"
        faulthandler.cancel_dump_traceback_later()
        if peak() - before > CASE_MEMORY:
            wrong = wrong or f"{(peak() - before) >> 20} MiB for {len(state)} bytes"
        if wrong:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{seed}-{number}.state").write_bytes(state)
            failures.append(f"seed {seed} case {number}, {subject.name}, {time.monotonic() - begin:.1f} s: {wrong}")
        number += 1
    return number - first, n_restored, failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.loader", description="Restore changed snapshots.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="where cases that fail are kept")
    chosen = parser.parse_args()
    begin = time.monotonic()
    first = chosen.case or 0
    n, n_restored, failures = run(chosen.seconds, chosen.seed, chosen.folder, first, chosen.case)
    for failure in failures:
        print(failure)
    took = time.monotonic() - begin
    refused = n - n_restored - len(failures)
    print(f"fuzz: {n:,} cases, {n_restored:,} restored, {refused:,} refused, {len(failures)} failed, {took:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
