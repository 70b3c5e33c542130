"""Where batches begin when a case runs on the engine."""

from __future__ import annotations

import os


def cuts(n: int, batch: str | None = None) -> range:
    """Say before which of n items a new batch begins.

    `batch` is 1, 7 or all; without it the environment variable FYKE_CONFORMANCE_BATCH says it (default: all). Results
    must not depend on it.
    """
    size = batch or os.environ.get("FYKE_CONFORMANCE_BATCH", "all")
    return range(0, n, n + 1 if size == "all" else int(size))
