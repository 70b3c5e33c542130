"""Killed replays, a few times; `make crash-replay N=200` kills more."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_replays_that_are_killed_lose_and_double_nothing():
    command = [sys.executable, "-m", "tests.state.crash_replay", "--kills", "6", "--rows", "1200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.fullmatch(
        r"crash-replay: (\d+) kills, (\d+) matches expected, (\d+) seen, 0 lost, 0 doubled", done.stdout.strip()
    )
    assert found, done.stdout
    assert int(found[1]) == 6
    assert int(found[2]) == int(found[3]) > 200
