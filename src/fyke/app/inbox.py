"""Committed rows for an asyncio loop: what `App.matches` yields.

The app runs on a thread of its own. Rows wait here until the commit that they belong to has worked, and are then handed
over, all at once; what is given up is forgotten, and made again. While too many wait the app reads nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from fyke.columns import readable
from fyke.operator import Batch

__all__ = ["Inbox"]

Row = dict[str, Any]


class Inbox:
    """Takes rows on the app's thread and gives them on the loop's.

    Args:
        loop: whose the reader is.
        limit: rows that may wait for the reader; a commit may add more at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop, self._limit = loop, limit
        self._pending: list[Row] = []
        self._queue: asyncio.Queue[list[Row] | None] = asyncio.Queue()
        self._waiting = 0
        self._lock = threading.Lock()

    # -- on the app's thread

    def take(self, batch: Batch) -> None:
        """Take rows that are not committed yet."""
        if len(batch):
            self._pending += readable(batch.rows)

    def committed(self) -> None:
        """Hand over what was taken."""
        if self._pending:
            rows, self._pending = self._pending, []
            with self._lock:
                self._waiting += len(rows)
            self._tell(rows)

    def given_up(self) -> None:
        """Forget what was taken since the last commit."""
        self._pending.clear()

    def end(self) -> None:
        """Say that no more will come."""
        self._tell(None)

    @property
    def is_full(self) -> bool:
        """Whether enough rows wait."""
        return self._waiting >= self._limit

    def _tell(self, rows: list[Row] | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, rows)

    # -- on the loop

    async def rows(self) -> AsyncIterator[Row]:
        """Give rows as they are committed, until the end."""
        while (rows := await self._queue.get()) is not None:
            for row in rows:
                with self._lock:
                    self._waiting -= 1
                yield row
