"""any3-count: the pattern of any3, its matches counted without enumerating them."""

from __future__ import annotations

from typing import Any

from benches import data, limits
from benches.case import Case, Options, Subject, Target, Variant
from benches.workloads._fyke import column
from benches.workloads.any3 import pattern

ROWS = 1_000_000
VARIANTS: list[Variant] = [{"window_ms": 100}, {"window_ms": 1_000}, {"window_ms": 10_000}]
MATCHES = {100: 22_392_699, 1_000: 2_301_094_978, 10_000: 229_497_006_059}  # at n = 1,000,000
NARROW = f"W={VARIANTS[0]['window_ms']}"


def case(n: int, variant: Variant, options: Options) -> Case:
    window_ms = int(variant["window_ms"])
    table = data.stream(n, keys=1)
    ts, type_ = column(table, "ts"), column(table, "type")
    fast = Target("at least 10 M events/s", 10.0, lambda s: n / s["engine"] / 1e6, at_least=True)
    targets: tuple[Target, ...] = (fast,)
    references: dict[str, Subject] = {}
    if window_ms == VARIANTS[-1]["window_ms"]:
        references = {NARROW: counting(table, int(VARIANTS[0]["window_ms"]), options)}
        text = f"at most 1.3x the time of {NARROW}"
        targets = (*targets, Target(text, 1.3, lambda s: s["engine"] / s[NARROW]))
    return Case(
        events=n,
        matches=MATCHES[window_ms] if n == ROWS else None,
        engine=counting(table, window_ms, options),
        limit=Subject(lambda _: limits.any3_count(ts, type_, window_ms)),
        references=references,
        targets=targets,
    )


def counting(table: Any, window_ms: int, options: Options) -> Subject:
    """Return the subject that counts the matches within a window."""
    pieces = data.batches(table, options.batch_rows)

    def prepare() -> Any:
        import fyke

        return fyke.Engine(pattern(window_ms), time="ts", unit="ms", schema=table.schema, limit=0)

    def work(engine: Any) -> int:
        return sum(engine.push(piece).total for piece in pieces) + int(engine.flush().total)

    return Subject(work, prepare, is_fyke=True)
