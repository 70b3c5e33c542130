"""The snapshots of every version so far are restored, and go on as if their engine had never stopped.

Those of a released version never change. Until the release, what is told apart anew (a fingerprint of streams) may be
written anew with tests/state/golden_states.py; version 1 was never released, and has no streams.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fyke
from fyke.snapshot import VERSION
from tests.state.golden_states import GOLDEN, Golden, filled

FOLDER = Path(__file__).parent / "golden"
STATES = sorted(FOLDER.glob("v*/*.state"))


def told(found: Any) -> Any:
    """What a push gave, in plain values."""
    if isinstance(found, fyke.Results):
        matches = [*found, *found.timeouts, *found.held]
        return [(m.id, m.key, m.released, [(s, dict(e)) for s, e in m.events]) for m in matches]
    tables = [*found.outputs.items(), *found.sides.items()]
    return {name: [records.of(box).to_arrow().to_pylist() for box in records.boxes] for name, records in tables}


def rest(engine: Any, golden: Golden) -> list[Any]:
    found = [told(engine.push(rows)) for rows in golden.after]
    engine.check()
    return [*found, told(engine.flush())]


def test_there_are_snapshots_of_every_version() -> None:
    versions = {path.parent.name for path in STATES}
    assert versions == {f"v{number}" for number in range(1, VERSION + 1)}
    assert {path.stem for path in STATES if path.parent.name != "v1"} == set(GOLDEN)
    assert {path.stem for path in STATES if path.parent.name == "v1"} == {"patterns", "strict", "dicts"}


@pytest.mark.parametrize("path", STATES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_snapshot_of_an_earlier_version_goes_on_as_if_never_stopped(path: Path) -> None:
    golden = GOLDEN[path.stem]
    never_stopped = filled(golden)
    restored = golden.restore(path.read_bytes())
    restored.check()
    assert restored.snapshot() == golden.restore(never_stopped.snapshot()).snapshot()
    expected = rest(never_stopped, golden)
    assert any(map(bool, expected))
    assert rest(restored, golden) == expected


def test_a_snapshot_is_the_same_in_another_process(tmp_path: Path) -> None:
    """Nothing in it depends on addresses, hashes or the order in which things were loaded."""
    code = "import sys; from pathlib import Path; from tests.state.golden_states import write; write(Path(sys.argv[1]))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, golden in GOLDEN.items():
        assert (tmp_path / f"{name}.state").read_bytes() == filled(golden).snapshot(), name
