"""The limit of each workload: a C loop written by hand for that one pattern, called over plain columns.

A source file is compiled when it is first asked for, with the compiler and the optimisation flags of the wheel, into
build/limits/ (named after the hash of source and flags, so that an edit compiles anew and nothing else does). ctypes
lets go of the GIL during a call.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "limits"
# As setup.py has them: what Python's own build says, then ours.
FLAGS = (
    *shlex.split(str(sysconfig.get_config_var("CFLAGS") or "")),
    *("-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra", "-O3", "-DNDEBUG", "-fPIC", "-shared"),
)

Column = npt.NDArray[Any]
I64 = ctypes.c_int64


def compiler() -> list[str]:
    """Return the command of the C compiler that Python extensions are built with (`CC` overrides it)."""
    return shlex.split(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))


@functools.cache
def load(name: str) -> Any:
    """Compile limits/<name>.c if needed and return its function `limit_<name>`.

    Raises:
        subprocess.CalledProcessError: the compiler refused it.
    """
    source = HERE / f"{name}.c"
    command = [*compiler(), *FLAGS]
    digest = hashlib.sha256(source.read_bytes() + repr(command).encode()).hexdigest()[:16]
    library = BUILD / f"{name}-{digest}.so"
    if not library.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        (BUILD / ".gitignore").write_text("*\n")
        # Compiled aside and moved: a second process never loads half a file.
        unfinished = library.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, str(source), "-o", str(unfinished), "-lm"], check=True)
        unfinished.replace(library)
    function = getattr(ctypes.CDLL(str(library)), f"limit_{name}")
    function.restype = ctypes.c_int64
    return function


def _pointer(column: Column, dtype: type) -> ctypes.c_void_p:
    if column.dtype != dtype or not column.flags.c_contiguous:
        raise TypeError(f"a contiguous column of {dtype.__name__} is wanted, not of {column.dtype}")
    return ctypes.c_void_p(column.ctypes.data)


def _i64(column: Column) -> ctypes.c_void_p:
    return _pointer(column, np.int64)


def _f64(column: Column) -> ctypes.c_void_p:
    return _pointer(column, np.float64)


def _checked(result: int) -> int:
    if result < 0:
        raise MemoryError("no memory") if result == -1 else ValueError("a row is late, or two rows have one time")
    return result


def fraud(ts: Column, key: Column, price: Column, n_keys: int, within: int) -> int:
    """Count the matches of fraud; times and `within` in one unit, keys 0..n_keys-1."""
    return _checked(load("fraud")(_i64(ts), _i64(key), _f64(price), I64(len(ts)), I64(n_keys), I64(within)))


def vshape(key: Column, price: Column, n_keys: int) -> int:
    """Count the matches of vshape; rows in the order of their times, keys 0..n_keys-1."""
    return _checked(load("vshape")(_i64(key), _f64(price), I64(len(key)), I64(n_keys)))


def disorder(ts: Column, key: Column, price: Column, n_keys: int, within: int, bound: int) -> int:
    """Count the matches of fraud over rows at most `bound` behind the highest time; times unique and positive."""
    arguments = (_i64(ts), _i64(key), _f64(price), I64(len(ts)), I64(n_keys), I64(within), I64(bound))
    return _checked(load("disorder")(*arguments))


def many(ts: Column, key: Column, price: Column, n_keys: int, within: int, low: Column, high: Column) -> int:
    """Count the matches of the patterns price < low[j], followed_by price > high[j]; `low` ascends, `high` descends."""
    arguments = (_i64(ts), _i64(key), _f64(price), I64(len(ts)), I64(n_keys), I64(within), _f64(low), _f64(high))
    return _checked(load("many")(*arguments, I64(len(low))))


def any3(ts: Column, type_: Column, within: int, out: tuple[Column, Column, Column]) -> int:
    """Write the matches of any3 as row numbers into `out` (as far as they fit) and count them all."""
    pointers = [_i64(column) for column in out]
    return _checked(load("any3")(_i64(ts), _i64(type_), I64(len(ts)), I64(within), *pointers, I64(len(out[0]))))


def any3_count(ts: Column, type_: Column, within: int) -> int:
    """Count the matches of any3 without enumerating them."""
    return int(load("any3_count")(_i64(ts), _i64(type_), I64(len(ts)), I64(within)))


def kleene(ts: Column, type_: Column, within: int) -> int:
    """Count the matches of kleene without enumerating them."""
    return int(load("kleene")(_i64(ts), _i64(type_), I64(len(ts)), I64(within)))


def equal_join(ts: Column, type_: Column, price: Column, n_types: int, within: int, out: tuple[Column, Column]) -> int:
    """Write the matches of equal-join as row numbers into `out` (as far as they fit) and count them all."""
    pointers = [_i64(column) for column in out]
    arguments = (_i64(ts), _i64(type_), _f64(price), I64(len(ts)), I64(n_types), I64(within), *pointers)
    return _checked(load("equal_join")(*arguments, I64(len(out[0]))))


def tumbling(ts: Column, key: Column, price: Column, n_keys: int, size: int, out: tuple[Column, ...]) -> int:
    """Write start, key, count, sum, max of each window into `out` (as far as they fit) and count the windows."""
    starts, keys, counts, sums, tops = out
    arguments = (_i64(ts), _i64(key), _f64(price), I64(len(ts)), I64(n_keys), I64(size))
    results = (_i64(starts), _i64(keys), _i64(counts), _f64(sums), _f64(tops), I64(len(starts)))
    return _checked(load("tumbling")(*arguments, *results))


def hopping(
    ts: Column, key: Column, price: Column, n_keys: int, size: int, every: int, bound: int, out: tuple[Column, ...]
) -> int:
    """Write start, key, count, sum, max of each window into `out` (as far as they fit) and count the windows.

    Rows at most `bound` behind the highest time, times positive; `every` divides `size`.
    """
    starts, keys, counts, sums, tops = out
    arguments = (_i64(ts), _i64(key), _f64(price), I64(len(ts)), I64(n_keys), I64(size), I64(every), I64(bound))
    results = (_i64(starts), _i64(keys), _i64(counts), _f64(sums), _f64(tops), I64(len(starts)))
    return _checked(load("hopping")(*arguments, *results))


def session(ts: Column, key: Column, price: Column, n_keys: int, gap: int, bound: int, out: tuple[Column, ...]) -> int:
    """Write start, end, key, count, sum, max of each session into `out` (as far as they fit) and count the sessions.

    Rows at most `bound` behind the highest time; times unique and positive.
    """
    starts, ends, keys, counts, sums, tops = out
    arguments = (_i64(ts), _i64(key), _f64(price), I64(len(ts)), I64(n_keys), I64(gap), I64(bound))
    results = (_i64(starts), _i64(ends), _i64(keys), _i64(counts), _f64(sums), _f64(tops), I64(len(starts)))
    return _checked(load("session")(*arguments, *results))
