"""Window cases of the corpora: what they give, comparing two outcomes, and which deviations touch a case."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from tests.oracle.javalong import MAX
from tests.oracle.window_definition import WINDOW_PROFILES
from tests.oracle.windows import WindowResult, run_window_case

from .cases import Case, bag

WINDOW_RULES = "HVOCU"

DETAILS = ("revision", "final", "time", "closing")
"""What fyke's results tell besides what Flink's do; closing: told with the deletion of the window."""

Row = dict[str, Any]
"""A row of `output`, as the corpora have it."""


@dataclass
class Windowed:
    """What a case gives: the fields of a corpus case that are results.

    `no_window` is None where the file does not say it (the probes).
    """

    rows: list[Row] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    no_window: list[int] | None = None
    failed: bool = False
    error_at: int | None = None


def recorded(case: Case) -> Windowed:
    """Take the results out of a corpus case."""
    rows = [{name: value for name, value in row.items() if name != "reordered"} for row in case["output"]]
    return Windowed(rows, case["late"], case.get("in_no_window"), case["error"] is not None, case["error_at"])


def by_oracle(case: Case, profile: str) -> Windowed:
    """Ask the oracle, in Flink's terms: without the rows that tell that a window is final, and fyke's details."""
    return in_flinks_terms(detailed_by_oracle(case, profile))


def in_flinks_terms(outcome: Windowed) -> Windowed:
    """Leave out what Flink does not tell."""
    rows = [{k: v for k, v in row.items() if k not in DETAILS} for row in outcome.rows if not row["closing"]]
    return replace(outcome, rows=rows)


def detailed_by_oracle(case: Case, profile: str) -> Windowed:
    """Ask the oracle, in fyke's terms: rows have also revision, final, time and closing."""
    outcome = run_window_case(case, WINDOW_PROFILES[profile])
    rows = [row_of(result) for result in outcome.results]
    return Windowed(rows, outcome.late, outcome.no_window, outcome.error is not None, outcome.error_at)


def row_of(result: WindowResult) -> Row:
    """Show a result as the corpora do; first and last go by the order in which the window holds its elements."""
    start, end = result.bounds or (None, None)
    values = [element.v for element in result.elements]
    told: Row = {"key": result.key, "start": start, "end": end, "count": len(values), "sum": sum(values)}
    told |= {"min": min(values), "max": max(values), "first": values[0], "last": values[-1]}
    told |= {"ids": result.ids, "at": result.at}
    return told | {name: getattr(result, name) for name in DETAILS}


def differences(case: Case, wanted: Windowed, got: Windowed) -> list[str]:
    """Say shortly in what two outcomes differ; an empty list if they agree.

    What one element or one watermark makes come is compared as a multiset, what an element makes come also in its
    order, and so what comes of one window of one key. A watermark makes windows fire in the order of their ends.
    """
    lines = []
    if (wanted.failed, wanted.error_at) != (got.failed, got.error_at):
        lines.append(f"error: wanted {wanted.failed} at {wanted.error_at}, got {got.failed} at {got.error_at}")
    lines += [f"result missing: {text}" for text in (bag(wanted.rows) - bag(got.rows)).elements()]
    lines += [f"result too many: {text}" for text in (bag(got.rows) - bag(wanted.rows)).elements()]
    if not lines:
        lines += misplaced(case, wanted.rows, got.rows)
    if wanted.late != got.late:
        lines.append(f"late: wanted {wanted.late}, got {got.late}")
    if None not in (wanted.no_window, got.no_window) and wanted.no_window != got.no_window:
        lines.append(f"in no window: wanted {wanted.no_window}, got {got.no_window}")
    return lines


def misplaced(case: Case, wanted: list[Row], got: list[Row]) -> list[str]:
    """Compare the order of results of which there are the right ones."""
    lines = []
    by_element = [[row for row in rows if "t" in case["input"][row["at"]]] for rows in (wanted, got)]
    if by_element[0] != by_element[1]:
        lines.append("order: what elements make come")
    windows: list[dict[Any, list[Row]]] = [defaultdict(list), defaultdict(list)]
    for rows, found in zip((wanted, got), windows, strict=True):
        for row in rows:
            found[row["key"], row["start"], row["end"]].append(row)
    lines += [f"order: results of {window}" for window in windows[0] if windows[0][window] != windows[1][window]]
    places = [row["at"] for row in got]
    if places != sorted(places):
        lines.append("order: a result comes before one of an earlier item")
    if case["window"]["kind"] in ("tumbling", "hopping", "session") and kind_of_trigger(case) == "event_time":
        ends = [(row["at"], row["end"]) for row in got if "watermark" in case["input"][row["at"]]]
        if ends != sorted(ends):
            lines.append("order: ends of windows")
    return lines


def kind_of_trigger(case: Case) -> str:
    """The kind of the trigger; a time window's own is event_time."""
    return str((case.get("trigger") or {}).get("kind", "event_time"))


def touching(case: Case) -> str:
    """Return the letters of the rules that touch the case."""
    touched = {
        "H": any(row["ids"] != sorted(row["ids"]) for row in case["output"]),
        "V": any(falls_into_a_gap(case["window"], item["t"]) for item in elements(case)),
        "O": case["window"]["kind"] == "session_dynamic" or lateness_overflows(case),
        "C": kind_of_trigger(case) == "continuous_event_time" and continuous_differs(case),
        "U": holds_a_rest(case),
    }
    return "".join(rule for rule in WINDOW_RULES if touched[rule])


def elements(case: Case) -> list[dict[str, Any]]:
    """The input without its watermarks."""
    return [item for item in case["input"] if "t" in item]


def falls_into_a_gap(window: dict[str, Any], t: int) -> bool:
    """V: hopping windows with a slide over their size have gaps between them."""
    return bool(window["kind"] == "hopping" and (t - window.get("offset", 0)) % window["slide"] >= window["size"])


def lateness_overflows(case: Case) -> bool:
    """O: the end of the lateness of some window is no long any more."""
    window = case.get("window") or case["join"]["window"]
    reach = window.get("size") or window.get("gap") or 0
    return any(item["t"] + reach + (case.get("allowed_lateness") or 0) > MAX for item in elements(case))


def continuous_differs(case: Case) -> bool:
    """C: a time below zero that is no multiple of the interval, one watermark that fires a window twice, or the end."""
    interval = case["trigger"]["interval"]
    below = any(item["t"] < 0 and item["t"] % interval for item in elements(case))
    fired = bag([row["at"], row["key"], row["start"], row["end"]] for row in case["output"])
    ends = any(item.get("watermark") == "inf" for item in case["input"]) and case["window"]["kind"] == "global"
    return below or ends or any(count > 1 for count in fired.values())


def holds_a_rest(case: Case) -> bool:
    """U: a count window or trigger that has taken an element which is in no result."""
    if not (case["window"]["kind"].startswith("count") or kind_of_trigger(case) == "count"):
        return False
    told = {i for row in case["output"] for i in row["ids"]} | set(case["late"]) | set(case.get("in_no_window", ()))
    return any("t" in item and at not in told for at, item in enumerate(case["input"]))
