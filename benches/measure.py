"""Measure one case: every subject in turn, round after round (A B C A B C ...), medians.

Timings on a shared machine are noisy, so only ratios within one run count: what disturbs a round disturbs all subjects
alike. Runs in a process of its own on one core (`python -m benches.measure WORKLOAD VARIANT ...`, started by __main__)
and prints the result as one JSON object; the peak of resident memory is therefore that of this case alone.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from benches.case import Case, Options, Outcome, Subject


def use_one_core() -> None:
    """Keep this process and its libraries on one core, so that no subject wins by threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def rss_mb(field: str = "VmHWM") -> float:
    """Return the resident size of this process in MB (10^6 bytes): "VmHWM" its peak so far, "VmRSS" that of now.

    getrusage's figure survives exec on Linux, so that a child would show its parent's peak; /proc's does not. Without
    /proc the peak stands for both.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def run_once(subject: Subject) -> tuple[float, Outcome]:
    """Return the seconds and the outcome of one round."""
    state = subject.prepare()
    gc.collect()
    begin = time.perf_counter()
    given = subject.work(state)
    seconds = time.perf_counter() - begin
    return seconds, given if isinstance(given, Outcome) else Outcome(given)


def measure(case: Case, rounds: int, engine: bool = True, budget_s: float = math.inf) -> dict[str, Any]:
    """Run all subjects of a case in turn and return what the JSON holds of it.

    Args:
        case: what to run.
        rounds: rounds that count; one more goes before to warm up.
        engine: False leaves fyke out (limits, references and peers only).
        budget_s: no further round is begun once these seconds have gone, but one that counts there always is.
    """
    # The engine comes first, so that the peak of memory after its first round holds nothing of the others.
    subjects: dict[str, Subject] = {"engine": case.engine}
    if case.limit is not None:
        subjects["limit"] = case.limit
    subjects |= {**case.references, **case.peers}
    if not engine:
        subjects = {name: subject for name, subject in subjects.items() if not subject.is_fyke}
    input_mb = peak_mb = rss_mb("VmRSS")

    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    measures: dict[str, list[float]] = {}
    counts: dict[str, set[int]] = {name: set() for name in subjects}
    totals: dict[str, set[float]] = {name: set() for name in subjects}
    begin = time.perf_counter()
    for number in range(rounds + 1):
        if number > 1 and time.perf_counter() - begin > budget_s:
            break
        for name, subject in subjects.items():
            elapsed, outcome = run_once(subject)
            if number == 0 and name == "engine":
                peak_mb = rss_mb("VmHWM")
            if outcome.matches is not None:
                counts[name].add(outcome.matches)
            if outcome.total is not None:
                totals[name].add(outcome.total)
            if number > 0:
                seconds[name].append(elapsed)
                for measure_name, value in outcome.measures.items():
                    measures.setdefault(measure_name, []).append(value)

    median = {name: statistics.median(rounds_of) for name, rounds_of in seconds.items()}
    extra = {name: statistics.median(values) for name, values in measures.items()}
    rate = {name: round(case.events / s, 1) for name, s in median.items()}
    expected = case.matches
    if expected is None and counts.get("limit"):
        expected = max(counts["limit"])
    # References may run another stream or fewer patterns: their counts are no business of this case.
    answers = {name: found for name, found in counts.items() if found and name not in case.references}
    wrong = {name: sorted(found) for name, found in answers.items() if expected is not None and found != {expected}}
    if case.total is not None:
        wrong |= {
            f"{name}, by total": sorted(found)
            for name, found in totals.items()
            if name not in case.references and not all(math.isclose(t, case.total, rel_tol=1e-9) for t in found)
        }
    matches = max(counts["engine"]) if counts.get("engine") else None
    return {
        "n": case.events,
        "events_per_s": rate.get("engine"),
        "matches": matches if engine else expected,
        "limit_events_per_s": rate.get("limit"),
        "peers": {name: rate[name] for name in case.peers if name in rate},
        "references": {name: rate[name] for name in case.references if name in rate},
        "peak_rss_mb": round(peak_mb, 1),
        "input_rss_mb": round(input_mb, 1),
        "rounds": len(seconds[next(iter(subjects))]),
        "expected_matches": expected,
        "expected_total": case.total,
        "wrong_counts": wrong,
        **{name: round(value, 3) for name, value in extra.items()},
        "targets": _judge(case, {**median, **extra}) if engine else [],
        "rounds_s": {name: [round(s, 6) for s in rounds_of] for name, rounds_of in seconds.items()},
    }


def _judge(case: Case, figures: Mapping[str, float]) -> list[dict[str, Any]]:
    judged = []
    for target in case.targets:
        figure = target.figure(figures)
        judged.append(
            {"target": target.text, "bound": target.bound, "got": round(figure, 3), "met": target.met(figure)}
        )
    return judged


def main(arguments: list[str] | None = None) -> None:
    """Measure one variant of one workload and print the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benches.measure")
    parser.add_argument("workload")
    parser.add_argument("variant", type=int)
    parser.add_argument("--n", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=math.inf)
    parser.add_argument("--batch-rows", type=int, required=True)
    parser.add_argument("--no-engine", action="store_true")
    chosen = parser.parse_args(arguments)
    use_one_core()
    workload = importlib.import_module(f"benches.workloads.{chosen.workload}")
    variant = workload.VARIANTS[chosen.variant]
    case = workload.case(chosen.n or workload.ROWS, variant, Options(chosen.batch_rows))
    json.dump({**measure(case, chosen.rounds, not chosen.no_engine, chosen.budget), **variant}, sys.stdout)


if __name__ == "__main__":
    main()
