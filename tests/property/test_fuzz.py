"""Snapshots changed at random are refused, or restored to an engine that works: a few seconds of `make fuzz`."""

from pathlib import Path

from tests.fuzz import loader


def test_a_changed_snapshot_is_refused_or_works(tmp_path: Path) -> None:
    n, n_restored, failures = loader.run(6, seed=0, folder=tmp_path, last=1500)
    assert failures == []
    assert 0 < n_restored < n


def test_the_fuzzer_would_notice_a_loader_that_does_not_say_state_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loader.patterns, "restored", lambda state: {}[len(state)])
    _, _, failures = loader.run(2, seed=0, folder=tmp_path, last=10)
    assert any("KeyError" in failure for failure in failures)
    assert len(list(tmp_path.iterdir())) == len(failures)
