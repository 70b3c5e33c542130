"""docs/streams.md: its examples give what they say, its names are there."""

import doctest
import re
from pathlib import Path

import fyke
from fyke import agg, join, trigger

PAGE = Path(__file__).parents[1] / "docs" / "streams.md"


def test_the_examples_give_what_they_say():
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert found.attempted > 40
    assert found.failed == 0


def test_the_names_are_there():
    text = PAGE.read_text()
    table = text.split("| aggregates in")[1].split("Nulls")[0]
    said = {
        agg: re.findall(r"`(\w+)(?:\([^`]*\))?`", table),
        trigger: re.findall(r"trigger\.(\w+)\(", text),
        join: re.findall(r"join\.(\w+)\(", text),
        fyke: re.findall(r"fyke\.([a-zA-Z_]+)\(", text),
    }
    for module, names in said.items():
        assert names
        for name in set(names) - {"x"}:
            assert hasattr(module, name), f"{module.__name__}.{name}"


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
