"""The examples of docs/state.md, run as they stand there."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.forked import fyke_command

TEXT = (Path(__file__).parents[1] / "docs" / "state.md").read_text()
ROWS = [{"ts": 1_800_000_600, "card": "1234", "amount": 0.5}, {"ts": 1_800_000_700, "card": "x", "amount": 2.0}]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.Table.from_pylist(ROWS), "payments.parquet")
    return tmp_path


def test_python_examples_run_and_print_what_they_say(folder, capsys):
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
        said = [line[2:] for line in block.splitlines() if line.startswith("# ")]
        assert capsys.readouterr().out.splitlines() == said


def test_the_commands_read_what_was_stored(folder):
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    exec(blocks[0], {})
    shown = fyke_command(folder, "state", "get", "state", "1234")
    assert shown.returncode == 0, shown.stderr
    event = shown.stdout.decode().splitlines()[1]
    assert json.loads(event.partition(": ")[2])["amount"] == 0.5
    commands = re.findall(r"^fyke state (\w+)", TEXT, re.MULTILINE)
    assert commands == ["ls", "show", "get", "diff", "save", "export"]
