"""Runs one long-lived command and sees to it that it ends, whatever happens to whoever asked for it.

    python -m tests.kafka.supervisor FOLDER SECONDS [--tied] -- COMMAND ...

The command is stopped (SIGTERM, after a while SIGKILL) when the seconds are over, on SIGTERM or SIGINT, and with --tied
when standard input ends, which it does when the parent dies by whatever means. If this process itself is killed, Linux
stops the command. FOLDER/lock is held as long as this runs, so the process number in FOLDER/pid is valid while the lock
is taken; FOLDER/command.pid is the command's, FOLDER/output what it printed.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

GRACE_S = 10.0
TICK_S = 0.2


def supervise(folder: Path, seconds: float, tied: bool, command: Sequence[str]) -> int:
    """Run the command until one of its ends; return 0 if we ended it, else its own exit status."""
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    deadline = time.monotonic() + seconds
    with open(folder / "lock", "a") as lock, open(folder / "output", "ab") as output:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / "pid").write_text(str(os.getpid()))
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=_die_with_parent
        )
        (folder / "command.pid").write_text(str(child.pid))
        watched = [sys.stdin] if tied else []
        while child.poll() is None:
            readable, _, _ = select.select(watched, [], [], TICK_S)
            if asked or time.monotonic() > deadline or (readable and not os.read(sys.stdin.fileno(), 4096)):
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(GRACE_S)
                child.kill()
                child.wait()
                return 0
    return child.returncode


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def start(folder: Path, seconds: float, tied: bool, command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a supervisor with a command in a process group of its own, so that Ctrl-C does not reach it."""
    arguments = [sys.executable, "-m", "tests.kafka.supervisor", str(folder), str(seconds), *["--tied"] * tied, "--"]
    return subprocess.Popen(
        [*arguments, *command],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def running(folder: Path) -> int | None:
    """Return the process number of the supervisor that holds the folder, None if there is none."""
    with locked(folder) as is_free:
        return None if is_free else int((folder / "pid").read_text() or 0) or None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Try to hold the folder's lock; gives whether it was free."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def stop(folder: Path, within_s: float = GRACE_S + 5) -> bool:
    """End the supervisor of a folder and its command; return whether there was one.

    Raises:
        TimeoutError: it is still there after within_s.
    """
    pid = running(folder)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + within_s
    while running(folder) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} of {folder} did not end within {within_s:g} s")
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    _, where, lasting, *rest = sys.argv
    sys.exit(supervise(Path(where), float(lasting), "--tied" in rest[: rest.index("--")], rest[rest.index("--") + 1 :]))
