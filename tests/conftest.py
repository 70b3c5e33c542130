"""What holds for all tests: which of them run under the sanitizers too, how many examples Hypothesis tries."""

import os
from pathlib import Path

import hypothesis
import pytest

# The tests that work the compiled core hardest, and need little besides it: see `make sanitize`.
CORE = ("property", "semantics", "engine", "c")

# A script with the name of the folder beside it: looking for doctests would import one for the other.
collect_ignore = ["conformance.py"]

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("short", deadline=None, print_blob=True, max_examples=10)
hypothesis.settings.load_profile("default")


def pytest_collection_modifyitems(items):
    """Mark by folder, so that a new file of tests is not forgotten."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.relative_to(here).parts[0] in CORE:
            item.add_marker(pytest.mark.core)
        # What one fixture makes for a whole module is made once, by the process that runs all of it.
        fixtures = getattr(item, "_fixtureinfo", None)
        if fixtures and any(each[-1].scope == "module" for each in fixtures.name2fixturedefs.values()):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_sessionstart():
    """Make sure that a run under the sanitizers tests the sanitized build and not another one that is installed."""
    expected = os.environ.get("FYKE_EXPECT_CORE_IN")
    if expected:
        from fyke import _core

        assert Path(expected).resolve() in Path(_core.__file__).resolve().parents, _core.__file__
