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
    ["duration", "literals", "zones"],
    ["expr"],
    ["stage", "window", "trigger", "agg", "join"],
    ["rules", "stored"],
    ["pattern", "schema"],
    ["plan", "automaton"],
    ["thresholds", "compact", "equality"],
    ["strategy"],
    ["lower"],
    ["rowplan"],
    ["aggplan"],
    ["compiler", "explain"],
    ["matching"],
    ["nodes", "process"],
    ["timed_nodes"],
    ["join_nodes"],
    ["table_nodes"],
    ["flowchart"],
    ["_core"],
    ["eventtime"],
    ["batches", "operator"],
    ["columns"],
    ["match", "rowjson"],
    ["snapshot"],
    ["deltas"],
    ["frozen"],
    ["upgrade"],
    ["stateview"],
    ["rescale", "graph_upgrade"],
    ["operators"],
    ["streams"],
    ["box", "intake", "outcome"],
    ["graph"],
    ["engine"],
    ["replay", "testing"],
    ["cli"],
]
# Stand beside the layers: they import nothing of the package but what is named here.
BESIDE = {
    "io": {"duration", "errors", "io"},
    "kafka": {"errors", "kafka", "_core"},  # knows no engine; of the core it takes the decoder of JSON
    "state": {"errors", "state"},
    "generate": {"errors"},
    "resumable": {"io", "errors", "state"},
    "merged_logs": {"io", "eventtime", "nodes", "operator"},
    "partitions": {"errors", "graph", "merged_logs", "operator", "outcome", "resumable"},
    "stream_replay": {"io", "errors", "graph", "merged_logs", "nodes", "operator", "outcome", "partitions",
                      "resumable"},
    "replay": {"io", "duration", "engine", "errors", "expr", "match", "matching", "pattern", "schema",
               "graph", "resumable", "state", "stream_replay", "streams"},
    "app": {"app", "box", "columns", "duration", "errors", "expr", "graph", "io", "kafka", "nodes", "operator",
            "outcome", "state", "streams"},
    "backtest": {"errors", "match", "pattern", "replay"},
    "cli": {"__init__", "cli_app", "cli_backtest", "cli_files", "cli_names", "cli_shared", "cli_state", "cli_streams",
            "cli_terminal", "duration", "explain", "generate", "graph", "io", "pattern", "replay", "resumable"},
    "cli_app": {"app", "cli_names", "cli_shared"},
    "cli_backtest": {"backtest", "cli_names", "cli_shared", "io"},
    "cli_files": set(),
    "cli_names": {"pattern", "streams"},
    "cli_shared": {"errors", "io"},
    "cli_state": {"cli_shared", "errors", "graph_upgrade", "io", "resumable", "state", "stateview", "upgrade"},
    "cli_streams": {"cli_files", "cli_shared", "cli_terminal", "graph", "resumable", "stream_replay"},
    "cli_terminal": set(),
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
    own = {part} if (SRC / part).is_dir() else set()
    return {earlier for parts in LAYERS[:layer] for earlier in parts} | own


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


# The same for C: a header includes only what stands in an earlier layer, so that a stage can be read and tested alone.
C_LAYERS = [
    ["base"],
    ["arena", "bytes", "ranks", "window_assign", "json_scan"],
    ["event_store", "plan", "timers", "window_groups", "window_spec", "exact", "agg_log", "json_columns",
     "changes"],
    ["aggregate", "reorder", "keyspace", "predicate", "match_graph", "records", "results", "arrivals", "strict",
     "compact"],
    ["key_columns"],
    ["nfa", "join_interval", "join_asof", "join_latest", "join_panes", "sliding", "windows"],
]
# A module in several files: they share its header.
C_PARTS = {
    **dict.fromkeys(["aggregate_plan", "aggregate_out", "aggregate_state"], "aggregate"),
    **dict.fromkeys([f"windows_{part}" for part in ("rows", "grid", "slices", "whole", "session", "count")], "windows"),
    **dict.fromkeys([f"windows_{part}" for part in ("fire", "order", "time", "restore")], "windows"),
    **dict.fromkeys(
        [f"nfa_{part}" for part in ("rows", "dispatch", "lag", "time", "step", "strict", "emit", "bound")]
        + ["nfa_compact", "nfa_compact_adopt", "nfa_index"],
        "nfa",
    ),
    **dict.fromkeys(["nfa_collect", "nfa_restore", "nfa_changes"], "nfa"),
    "predicate_thresholds": "predicate",
}


def c_files():
    return sorted(path for path in [*CSRC.glob("*.c"), *CSRC.glob("*.h")] if path.name != "_core.c")


def c_includes(path):
    """The modules whose headers a C file of ours includes; those of the system stand in angle brackets."""
    return {Path(name).stem for name in re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text(), re.MULTILINE)}


def c_layer(module):
    layers = [number for number, modules in enumerate(C_LAYERS) if module in modules]
    assert layers, f"{module}: say in C_LAYERS where it stands"
    return layers[0]


@pytest.mark.parametrize("path", c_files(), ids=lambda path: path.name)
def test_a_c_file_includes_only_what_lies_below_it(path):
    """A .c file includes its own header besides."""
    module = C_PARTS.get(path.stem, path.stem)
    included = c_includes(path) - ({module} if path.suffix == ".c" else set())
    assert [name for name in sorted(included) if c_layer(name) >= c_layer(module)] == []


def test_no_c_file_of_ours_knows_python():
    """Where a Python object can appear is Cython; the kernels are plain C."""
    assert c_files()
    for path in c_files():
        assert "Python.h" not in path.read_text(), path


def test_every_c_module_has_a_header_of_its_own():
    """What a .c file offers is declared in one place, with its contract; nobody declares another's functions."""
    for path in CSRC.glob("*.c"):
        if path.name != "_core.c":
            assert (CSRC / f"{C_PARTS.get(path.stem, path.stem)}.h").exists(), path
            assert not re.search(r"^extern ", path.read_text(), re.MULTILINE), path


def test_the_parts_of_the_extension_stand_in_its_table_of_contents():
    """_core.pyx includes the .pxi files and does nothing else."""
    text = (CSRC / "_core.pyx").read_text()
    code = [line for line in text.splitlines() if line and not line.startswith(("#", '"""'))]
    assert all(line.startswith("include ") for line in code)
    assert set(re.findall(r'^include "([^"]+)"', text, re.MULTILINE)) == {path.name for path in CSRC.glob("*.pxi")}


def test_the_extension_imports_only_the_errors():
    """What the core must know of patterns comes to it as a plan's bytes."""
    found = set()
    for path in CSRC.glob("*.pxi"):
        found |= set(re.findall(r"^\s*(?:from|import) (fyke[\w.]*)", path.read_text(), re.MULTILINE))
    assert found == {"fyke.errors"}


def test_nothing_names_what_is_outside_the_project():
    """No path of a machine stands in any file."""
    machine_path = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")
    for folder in ("src", "csrc", "patterns", "tests", "benches", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".pyx", ".pxi", ".c", ".h", ".md", ".toml"}:
                assert not machine_path.search(path.read_text()), path
