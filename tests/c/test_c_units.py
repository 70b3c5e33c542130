"""The C modules, each driven alone against a toy model, under ASan and UBSan.

A test_<module>.c is compiled with the kernels when it is run, and prints how much it checked.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
KERNELS = sorted(path.stem for path in CSRC.glob("*.c") if path.name != "_core.c")
COMPILER = shlex.split(os.environ.get("CC") or "cc")
FLAGS = [
    "-std=c11",
    "-g",
    "-O1",
    "-DFYKE_DEBUG=1",
    "-fno-omit-frame-pointer",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Werror",
]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
# Where the tests themselves run under a preloaded sanitizer, the compiler must not.
CLEAN = {
    name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS")
}


def compile_c(arguments):
    """Run the compiler; a message of its own is worth more than a failed status."""
    done = subprocess.run([*COMPILER, *arguments], capture_output=True, text=True, env=CLEAN)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The objects that all tests link."""
    folder = tmp_path_factory.mktemp("kernels")
    objects = []
    for name in KERNELS:
        objects.append(folder / f"{name}.o")
        compile_c([*FLAGS, *SANITIZERS, "-c", CSRC / f"{name}.c", "-o", objects[-1]])
    return objects


@pytest.mark.parametrize("source", sorted(HERE.glob("test_*.c")), ids=lambda path: path.stem.removeprefix("test_"))
def test_a_module_agrees_with_its_toy_model(source, kernels, tmp_path):
    program = tmp_path / source.stem
    compile_c([*FLAGS, *SANITIZERS, f"-I{CSRC}", f"-I{HERE}", source, *kernels, "-o", program, "-lm"])
    done = subprocess.run([program], capture_output=True, text=True, env=CLEAN)
    assert done.returncode == 0, done.stderr
    printed = re.fullmatch(r"(\d+) checks\n", done.stdout)
    assert printed, done.stdout
    assert int(printed[1]) > 10_000
