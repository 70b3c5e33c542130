"""The soak, shortly: keys come and go, and nothing of them stays."""

import json

from benches import soak


def test_a_soak_holds_no_more_later_than_early_and_nothing_in_the_end(capsys):
    assert soak.main(["--events", "1500000"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["left"] == {}
    assert report["late"] == 0
    assert min(report["results"].values()) > 100


def test_a_soak_fails_if_memory_grows(monkeypatch, capsys):
    sizes = iter(range(100, 10_000, 10))
    monkeypatch.setattr(soak, "resident_mb", lambda: float(next(sizes)))
    assert soak.main(["--events", "500000"]) == 1
    assert json.loads(capsys.readouterr().out)["left"] == {}
