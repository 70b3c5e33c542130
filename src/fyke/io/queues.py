"""Queues between threads or processes: `QueueSource` reads one, `QueueSink` fills one.

What stands in a queue is a row, a table, a `Watermark`, `Idle()`, `END` after the last row, or an exception: whatever
went wrong with the producer, raised by the source in its place. The end of a queue that was shut down (Python 3.13) is
the end, too. For asyncio's queues see `aio`.
"""

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import pyarrow as pa

from fyke.duration import DurationLike, to_ns
from fyke.errors import DataError
from fyke.io import Idle, Item, Watermark
from fyke.io.gather import END, NOTICE_SECONDS, Gather, LiveOptions
from fyke.io.outlet import Outlet
from fyke.io.rows import to_rows

# What a queue raises that was shut down and is empty; older Pythons have no such thing.
_SHUT_DOWN: tuple[type[Exception], ...] = (queue.ShutDown,) if hasattr(queue, "ShutDown") else ()


class QueueSource:
    """Read a queue: `queue.Queue` and its like, `queue.SimpleQueue`, `multiprocessing.Queue`.

    Rows become batches by number and by age: a batch goes out when it is full, or when its first row has waited for
    `linger`, and by default as soon as the queue is empty. A row counts as done (`task_done`) when the item after its
    batch is asked for, or the iteration ends.

    A queue cannot be read again: rows that were handed out are gone, and the source has no position to go on from.
    Iterating again goes on with the row after the last batch, and with its position; not once it was closed.

    Args:
        source: the queue.
        options: see `fyke.io.gather.LiveOptions`.

    >>> payments = queue.Queue()
    >>> for thing in ({"card": "a"}, {"card": "b"}, Watermark(9), END):
    ...     payments.put(thing)
    >>> for item in QueueSource(payments):
    ...     print(type(item).__name__, getattr(item, "first", None))
    Batch 0
    Watermark None
    """

    def __init__(self, source: Any, **options: Unpack[LiveOptions]) -> None:
        self._queue = source
        self._gather = Gather("queue", options)
        self._task_done: Callable[[], object] = getattr(source, "task_done", lambda: None)
        self._n_done = 0
        self._is_closed = False

    @property
    def name(self) -> str:
        return self._gather.name

    def fraction_read(self) -> float | None:
        return None

    def close(self) -> None:
        self._is_closed = True

    def __iter__(self) -> Iterator[Item]:
        gather = self._gather
        gather.start(time.monotonic())
        n_done = self._n_done
        try:
            while not self._is_closed:
                taken = gather.take()
                if taken is not None:
                    item, n_done = taken
                    yield item
                    self._done(n_done)
                elif gather.has_ended:
                    n_done = gather.n_arrived
                    return
                else:
                    self._arrivals()
        finally:
            self._done(n_done)

    def _done(self, n_arrivals: int) -> None:
        for _ in range(self._n_done, n_arrivals):
            self._task_done()
        self._n_done = max(self._n_done, n_arrivals)

    def _arrivals(self) -> None:
        """Wait for the next arrival, or until something becomes ready; take all that is there, up to a full batch."""
        gather = self._gather
        wait = gather.wait(time.monotonic())
        try:
            if wait == 0.0:
                gather.add(self._queue.get_nowait(), time.monotonic())
            else:
                limit = NOTICE_SECONDS if wait is None else min(wait, NOTICE_SECONDS)
                gather.add(self._queue.get(timeout=limit), time.monotonic())
            gather.fill(self._queue.get_nowait, time.monotonic())
        except queue.Empty:
            gather.tick(time.monotonic())
        except _SHUT_DOWN:
            gather.add(END, time.monotonic())


class QueueSink(Outlet):
    """Put results into a queue, a row at a time as dicts, or a table at a time; `END` when closed.

    A queue that is full makes the writer wait: that is how a slow consumer slows the producer down.

    Args:
        target: the queue.
        tables: whether to put tables rather than rows.
        end: whether to put END when closed; not if others write into the same queue.
        timeout: how long to wait for room. Default: for ever.

    >>> alerts = queue.Queue()
    >>> with QueueSink(alerts) as sink:
    ...     sink.write(pa.table({"card": ["a"]}))
    >>> alerts.get(), alerts.get()
    ({'card': 'a'}, <End.END: 'END'>)
    """

    def __init__(
        self, target: Any, *, tables: bool = False, end: bool = True, timeout: DurationLike | None = None
    ) -> None:
        super().__init__("queue")
        self._queue = target
        self._tables = tables
        self._end = end
        self._timeout = None if timeout is None else to_ns(timeout) / 1e9

    def _write(self, table: pa.Table) -> None:
        if not self._tables:
            for row in to_rows(table):
                self._put(row)
        elif table.num_rows:
            self._put(table)

    def _put(self, thing: Any) -> None:
        try:
            self._queue.put(thing, timeout=self._timeout)
        except queue.Full:
            raise DataError(f"{self.name}: full for {self._timeout} s; nobody takes from it") from None

    def _close(self) -> None:
        if self._end:
            self._put(END)


__all__ = ["END", "Idle", "QueueSink", "QueueSource", "Watermark"]
