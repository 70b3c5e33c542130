"""Join cases of the corpora: what they give, comparing two outcomes, and which deviations touch a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.oracle.joins import BothWatermarks, run_join_case
from tests.oracle.window_definition import WINDOW_PROFILES
from tests.oracle.windows import watermark_of

from .cases import Case, bag
from .window_cases import lateness_overflows

JOIN_RULES = "HVOCJ"

Row = dict[str, Any]
"""A row of `output`, as the corpora have it: l, r, ts, at."""


@dataclass
class Pairs:
    """What a case gives: the fields of a corpus case that are results."""

    rows: list[Row] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    failed: bool = False
    error_at: int | None = None


def recorded(case: Case) -> Pairs:
    """Take the results out of a corpus case."""
    return Pairs(case["output"], case["late"], case["dropped"], case["error"] is not None, case["error_at"])


def by_oracle(case: Case, profile: str) -> Pairs:
    """Ask the oracle, in Flink's terms: without what only tells that a window is final."""
    outcome = run_join_case(case, WINDOW_PROFILES[profile])
    told = [joined for joined in outcome.results if joined.fired is None or not joined.fired.closing]
    rows = [{"l": joined.l, "r": joined.r, "ts": joined.ts, "at": joined.at} for joined in told]
    return Pairs(rows, outcome.late, outcome.dropped, outcome.error is not None, outcome.error_at)


def differences(case: Case, wanted: Pairs, got: Pairs) -> list[str]:
    """Say shortly in what two outcomes differ; an empty list if they agree.

    What one element or watermark makes come is compared as a multiset; pairs of a window at an element in their order,
    but for sessions, whose groups are sets, too.
    """
    kind, session = case["join"]["kind"], in_sessions(case)
    wanted_rows, got_rows = wanted.rows, got.rows
    if kind == "cogroup" and session:
        wanted_rows, got_rows = as_sets(wanted.rows), as_sets(got.rows)
    lines = []
    if (wanted.failed, wanted.error_at) != (got.failed, got.error_at):
        lines.append(f"error: wanted {wanted.failed} at {wanted.error_at}, got {got.failed} at {got.error_at}")
    lines += [f"result missing: {text}" for text in (bag(wanted_rows) - bag(got_rows)).elements()]
    lines += [f"result too many: {text}" for text in (bag(got_rows) - bag(wanted_rows)).elements()]
    if not lines and kind != "interval" and not session:
        ordered = [[row for row in rows if "t" in case["input"][row["at"]]] for rows in (wanted_rows, got_rows)]
        if ordered[0] != ordered[1]:
            lines.append("order: what elements make come")
    for name in ("late", "dropped"):
        if getattr(wanted, name) != getattr(got, name):
            lines.append(f"{name}: wanted {getattr(wanted, name)}, got {getattr(got, name)}")
    return lines


def as_sets(rows: list[Row]) -> list[Row]:
    """Take the groups of cogroup's rows without their order."""
    return [row | {"l": sorted(row["l"]), "r": sorted(row["r"])} for row in rows]


def in_sessions(case: Case) -> bool:
    """Whether the join is by session."""
    return bool(case["join"].get("window", {}).get("kind") == "session")


def touching(case: Case) -> str:
    """Return the letters of the rules that touch the case."""
    interval, groups = case["join"]["kind"] == "interval", case["join"]["kind"] == "cogroup"
    touched = {
        "H": groups and as_sets(case["output"]) != case["output"],
        "V": False,
        "O": not interval and lateness_overflows(case),
        "C": (case.get("trigger") or {}).get("kind") == "continuous_event_time" and continuous_differs(case),
        "J": interval and meets_the_watermark(case),
    }
    return "".join(rule for rule in JOIN_RULES if touched[rule])


def continuous_differs(case: Case) -> bool:
    """C: a time below zero that is no multiple of the interval, or one watermark that tells the same twice."""
    below = any(item.get("t", 0) < 0 and item["t"] % case["trigger"]["interval"] for item in case["input"])
    return below or any(count > 1 for count in bag(case["output"]).values())


def meets_the_watermark(case: Case) -> bool:
    """J: an element arrives whose time is the watermark. Only such an element can miss a partner that was let go of."""
    both, watermark = BothWatermarks(), None
    for item in case["input"]:
        if "watermark" in item:
            watermark = both.rise(item["side"], watermark_of(item))
        elif item["t"] == watermark:
            return True
    return False
