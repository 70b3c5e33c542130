"""The simulation of many instances against what can be computed by hand."""

from __future__ import annotations

import pytest

from benches.scaling.model import App, Setup

NEVER = 1e12


def one_failure(setup: Setup, at: float) -> App:
    """Let one instance of a quiet app fail at a time, and run an hour."""
    app = App(setup, seed=1)

    def failing():  # type: ignore[no-untyped-def]
        yield app.env.timeout(at)
        yield app.env.process(app.fail(app.instances[0]))

    app.env.process(failing())
    app.run(1.0)
    return app


def test_one_failure_costs_what_arithmetic_says() -> None:
    """4 tasks go to 4 instances: noticed, handed over, and fetched side by side; 3 are moved back, fetched in a row."""
    setup = Setup(partitions=20, instances=5, state_mb=400.0, between_failures_s=NEVER)
    app = one_failure(setup, at=100.0)
    outcome = app.outcome
    assert outcome.failures == 1
    assert outcome.pauses == pytest.approx([10.0 + 3.0 + 2.0] * 4)
    assert outcome.moves == pytest.approx([3.0 + 2.0 * k for k in (1, 2, 3, 4)])
    assert 0 < outcome.repeated <= 4 * setup.commit_s * setup.rows_per_partition
    # 15 s and what was uncommitted, of 1,000 rows a second, by an instance with 15,000 a second to spare.
    assert outcome.catch_ups == pytest.approx([15.0 + 15.0 / 15.0], abs=0.1)


def test_a_standby_copy_takes_the_size_of_the_state_out() -> None:
    small = one_failure(Setup(partitions=20, instances=5, state_mb=1.0, between_failures_s=NEVER, standby=0.5), 100.0)
    large = one_failure(Setup(partitions=20, instances=5, state_mb=1e6, between_failures_s=NEVER, standby=0.5), 100.0)
    assert small.outcome.pauses == large.outcome.pauses == pytest.approx([13.5] * 4)


def test_every_task_has_one_owner_and_runs_in_the_end_whatever_failed() -> None:
    setup = Setup(partitions=60, instances=6, between_failures_s=120.0, restart_s=20.0, state_mb=300.0)
    app = App(setup, seed=3)
    app.run(2.0)
    assert app.outcome.failures > 200
    owners = [task for instance in app.instances for task in instance.tasks]
    assert sorted(owners) == list(range(60))
    running = {task for instance in app.instances for task in instance.running}
    assert running.isdisjoint(app.stopped_at)
    assert running | set(app.stopped_at) == set(range(60))


def test_repeated_rows_grow_with_the_commit_interval_and_runs_repeat_by_seed() -> None:
    def repeated(commit_s: float) -> float:
        outcome = App(Setup(commit_s=commit_s), seed=7).run(2.0)
        return outcome.repeated / outcome.failures

    assert repeated(10.0) == repeated(10.0)
    # Half an interval of an instance's 10 tasks, on average.
    assert repeated(10.0) == pytest.approx(10.0 / 2 * 10 * 1_000, rel=0.35)
    assert repeated(1.0) == pytest.approx(1.0 / 2 * 10 * 1_000, rel=0.35)
