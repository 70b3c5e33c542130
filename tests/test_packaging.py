"""What is shipped: every package is listed, the extension shows one symbol, an sdist holds what a build needs."""

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import fyke
from fyke import _core

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed():
    folders = [path.parent.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("__init__.py")]
    packages = {".".join(folder.parts) for folder in folders} | {"fyke.patterns"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


def test_versions_agree():
    assert fyke.__version__ == PROJECT["project"]["version"] == importlib.metadata.version("fyke")
    assert f"## {fyke.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_compiled_module_has_a_stub_and_the_package_says_it_is_typed():
    assert (ROOT / "src" / "fyke" / "py.typed").exists()
    assert (ROOT / "src" / "fyke" / "_core.pyi").exists()


def test_ready_patterns_are_part_of_the_package():
    import fyke.patterns

    assert Path(fyke.patterns.__file__).exists()


@pytest.mark.skipif(shutil.which("nm") is None or sys.platform != "linux", reason="needs nm of a Linux toolchain")
def test_the_extension_shows_only_its_init_function():
    """Any other name could be bound to, or take over, a function of another library in the process."""
    shown = subprocess.run(
        ["nm", "-D", "--defined-only", _core.__file__], check=True, capture_output=True, text=True
    ).stdout
    names = {line.split()[-1] for line in shown.splitlines()}
    # The sanitizers and gcov add hooks of their own to a build for them.
    assert {name for name in names if not name.startswith(("__asan", "__gcov", "__ubsan", "_fini", "_init"))} == {
        "PyInit__core"
    }


def test_an_sdist_holds_sources_and_nothing_generated(tmp_path):
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", tmp_path, "sdist", "--dist-dir", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (archive,) = tmp_path.glob("fyke-*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    tracked = {
        str(path.relative_to(ROOT))
        for folder in ("src/fyke", "csrc", "patterns")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".pyi", ".pyx", ".pxi", ".pxd", ".c", ".h"} and path.name != "_core.c"
    }
    assert tracked <= names
    assert {"LICENSE", "README.md", "Makefile", "CHANGELOG.md", "docs/demo/flights.py", "src/fyke/py.typed"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name == "csrc/_core.c"]
