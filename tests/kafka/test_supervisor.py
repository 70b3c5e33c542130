"""Nothing that a test starts outlives it: however the parent ends, the command ends too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kafka import supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def await_true(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    try:
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):  # it has gone between the two
        return False


def command_of(folder):
    await_true((folder / "command.pid").exists)
    await_true(lambda: (folder / "command.pid").read_text())
    return int((folder / "command.pid").read_text())


def test_the_command_ends_when_its_time_is_over(tmp_path):
    process = supervisor.start(tmp_path, 0.3, True, SLEEP)
    assert process.wait(10) == 0
    assert not is_alive(command_of(tmp_path))
    assert supervisor.running(tmp_path) is None
    process.stdin.close()


def test_stop_ends_the_command_and_says_whether_there_was_one(tmp_path):
    process = supervisor.start(tmp_path, 60, False, SLEEP)
    command = command_of(tmp_path)
    assert supervisor.running(tmp_path) == process.pid
    assert supervisor.stop(tmp_path) is True
    assert process.wait(10) == 0
    assert not is_alive(command)
    assert supervisor.stop(tmp_path) is False


def test_a_folder_has_one_command_at_a_time(tmp_path):
    first = supervisor.start(tmp_path, 60, False, SLEEP)
    command_of(tmp_path)
    second = supervisor.start(tmp_path, 60, False, SLEEP)
    assert second.wait(10) != 0
    assert supervisor.running(tmp_path) == first.pid
    supervisor.stop(tmp_path)
    first.wait(10)


def test_the_exit_status_of_a_command_that_ends_by_itself_is_handed_on(tmp_path):
    process = supervisor.start(tmp_path, 60, False, [sys.executable, "-c", "print('words'); raise SystemExit(3)"])
    assert process.wait(10) == 3
    assert (tmp_path / "output").read_text() == "words\n"


@pytest.mark.parametrize("victim", ["parent", "supervisor"])
def test_a_killed_parent_or_supervisor_takes_the_command_with_it(tmp_path, victim):
    if victim == "supervisor" and sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent died")
    code = (
        "import sys, pathlib; from tests.kafka import supervisor\n"
        f"supervisor.start(pathlib.Path({str(tmp_path)!r}), 60, True, {SLEEP!r}).wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    command = command_of(tmp_path)
    killed = parent.pid if victim == "parent" else int((tmp_path / "pid").read_text())
    os.kill(killed, signal.SIGKILL)
    parent.wait(10)
    await_true(lambda: not is_alive(command))
