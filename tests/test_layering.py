"""Who may import whom: data and knowledge go one way, so that a part can be read without what is built on it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "fyke"
CSRC = ROOT / "csrc"

# In layers: a module may import what stands in an earlier layer, and what is listed for it. Definitions come first
# and know nothing of how they run; the engine knows no source; a source knows no engine; the rest ties them together.
LAYERS = [
    ["errors"],
    ["duration", "literals"],
    ["expr"],
    ["stage"],
    ["rules", "stored"],
    ["pattern", "schema"],
    ["plan", "automaton"],
    ["lower"],
    ["compiler", "explain"],
    ["_core"],
    ["batches"],
    ["match", "rowjson"],
    ["snapshot"],
    ["engine"],
    ["replay", "testing"],
    ["cli"],
]
# Stand beside the layers: they import nothing of the package but what is named here.
BESIDE = {
    "io": {"errors", "io"},
    "generate": {"errors"},
    "replay": {"io", "duration", "engine", "errors", "expr", "match", "pattern", "schema"},
    "cli": {"__init__", "duration", "errors", "explain", "generate", "io", "pattern", "replay"},
    "__main__": {"cli"},
}


def part_of(name):
    """The module of the package, or the subpackage, that a dotted name lies in; None outside the package."""
    words = name.split(".")
    if words[0] != "fyke":
        return None
    return words[1] if len(words) > 1 else "__init__"


def imports_of(path):
    """The parts of the package that a file imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {part_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # in the tests' own packages
                assert SRC not in path.parents, f"{path}: relative import"
                continue
            part = part_of(node.module)
            if part == "__init__":
                found |= {alias.name if is_part(alias.name) else "__init__" for alias in node.names}
            else:
                found.add(part)
    return found - {None}


def is_part(name):
    return name == "_core" or (SRC / f"{name}.py").exists() or (SRC / name / "__init__.py").exists()


def allowed_for(part):
    if part in BESIDE:
        return BESIDE[part]
    layer = next(number for number, parts in enumerate(LAYERS) if part in parts)
    return {earlier for parts in LAYERS[:layer] for earlier in parts}


def modules():
    return sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_only_what_lies_below_it(path):
    part = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert part in BESIDE or any(part in layer for layer in LAYERS), f"{part}: say in LAYERS where it stands"
    assert imports_of(path) <= allowed_for(part)


def test_patterns_import_only_the_public_package():
    paths = list((ROOT / "patterns").glob("*.py"))
    assert paths
    for path in paths:
        assert imports_of(path) <= {"__init__"}, path


def test_the_oracle_shares_no_code_with_the_engine():
    """What the engine is compared with may read patterns, and nothing that compiles or runs them."""
    paths = list((ROOT / "tests" / "oracle").rglob("*.py"))
    assert paths
    for path in paths:
        assert imports_of(path) <= {"pattern", "expr", "errors", "duration", "__init__"}, path


def test_the_layer_test_would_notice():
    assert part_of("fyke.io.csv") == "io"
    assert part_of("numpy") is None
    assert "engine" not in allowed_for("pattern")
    assert "engine" not in allowed_for("io")
    assert "pattern" in allowed_for("engine")
    assert "io" not in allowed_for("engine")


def c_files():
    return sorted([*CSRC.glob("*.c"), *CSRC.glob("*.h")])


def test_no_c_file_of_ours_knows_python():
    """Where a Python object can appear is Cython; the kernels are plain C."""
    assert c_files()
    for path in c_files():
        if path.name != "_core.c":
            assert "Python.h" not in path.read_text(), path


def test_c_includes_go_one_way():
    """The include graph of the headers has no cycle."""
    includes = {
        path.name: set(re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)) for path in CSRC.glob("*.h")
    }
    assert includes
    done = set()
    while len(done) < len(includes):
        ready = {name for name, needed in includes.items() if name not in done and needed <= done}
        assert ready, f"a cycle among {sorted(set(includes) - done)}"
        done |= ready


def test_nothing_names_what_is_outside_the_project():
    """No path of a machine stands in any file."""
    machine_path = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")
    for folder in ("src", "csrc", "patterns", "tests", "benches", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".pyx", ".pxi", ".c", ".h", ".md", ".toml"}:
                assert not machine_path.search(path.read_text()), path
