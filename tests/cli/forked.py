"""The command in a process of its own without the second that importing it takes: forked from one that has it.

What a test sees is what a shell sees: files as standard streams, a working folder, an exit status.
"""

import io
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

TIMEOUT = 60


@dataclass(frozen=True)
class Done:
    """How a command ended, by the names that subprocess has for it."""

    returncode: int
    stdout: bytes
    stderr: bytes


def _run(folder, arguments, streams):
    for number, path in enumerate(streams):
        at = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(at, number)
        os.close(at)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        raw = open(number, "rb" if number == 0 else "wb", closefd=False, buffering=-1)
        setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", write_through=number > 0))
    os.chdir(folder)
    sys.argv = ["fyke", *arguments]
    from fyke.cli import main

    status = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def fyke_command(folder, *arguments, stdin=None):
    """Run the command in a folder, its output captured."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fyke.cli", "pandas"])  # Arrow imports pandas where it is there
    with TemporaryDirectory() as beside:
        streams = [Path(beside) / name for name in ("stdin", "stdout", "stderr")]
        for path, content in zip(streams, (stdin or b"", b"", b""), strict=True):
            path.write_bytes(content)
        process = context.Process(target=_run, args=(folder, [*map(str, arguments)], streams))
        process.start()
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"fyke {' '.join(map(str, arguments))}: still there after {TIMEOUT} s")
        return Done(process.exitcode, streams[1].read_bytes(), streams[2].read_bytes())
