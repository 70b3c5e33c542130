"""What docs/deployment.md hands out can be read by those it is for, and fits the app it deploys."""

import configparser
import re
import runpy
from pathlib import Path

import pytest
import yaml

import fyke
from fyke.app import METRICS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def example(monkeypatch):
    """The variables that the example reads, and the app it makes."""
    source = (DOCS / "examples" / "alerts.py").read_text()
    return set(re.findall(r'os\.environ\.get\("([A-Z]+)"', source)), runpy.run_path(DOCS / "examples" / "alerts.py")


def test_the_example_is_an_app_that_can_run(example):
    _, module = example
    app = module["app"]
    assert isinstance(app, fyke.App)
    assert "card_testing" in app.explain()
    assert repr(app) == "App('alerts': payments -> alerts, payments-late, exactly_once)"


def test_the_unit_and_the_manifest_set_what_the_example_reads(example):
    read, _ = example
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    text = (DOCS / "deployment" / "alerts@.service").read_text()
    unit.read_string(text)
    assert unit["Service"]["ExecStart"].endswith("python alerts.py")
    assert set(re.findall(r"^Environment=([A-Z]+)=", text, re.M)) <= read
    stateful, budget = yaml.safe_load_all((DOCS / "deployment" / "kubernetes.yaml").read_text())
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    assert {each["name"] for each in container["env"]} <= read
    assert {container[p]["httpGet"]["path"] for p in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "/health",
        "/ready",
    }
    assert budget["spec"]["selector"] == stateful["spec"]["selector"]


def test_every_figure_that_the_pages_name_is_there():
    names = {f"fyke_{m.name}" + ("_total" if m.kind == "counter" else "") for m in METRICS}
    named = set(re.findall(r"`(fyke_\w+)`", (DOCS / "deployment.md").read_text()))
    assert len(named) > 7
    assert named <= names


def test_every_file_that_the_pages_point_at_is_there():
    for page in ("deployment.md", "guarantees.md", "scaling.md"):
        text = (DOCS / page).read_text()
        links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
        tests = re.findall(r"`(tests/[\w/]+\.py)`", text)
        assert links or tests
        missing = [p for p in [*(DOCS / link for link in links), *(DOCS.parent / t for t in tests)] if not p.exists()]
        assert missing == []
