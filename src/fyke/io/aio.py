"""The edge to asyncio: sources and sinks on an event loop, and how a thread beside the loop uses them.

An engine is synchronous and keeps its thread busy, so there are two ways to put it beside a loop. Where batches are
small, in the loop itself: `async for item in AsyncQueueSource(queue)`. Otherwise in a thread of its own, with
`BlockingSource` and `BlockingSink` around the loop's source and sink.
"""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar, Unpack

import pyarrow as pa

from fyke.errors import DataError
from fyke.io import AsyncSink, AsyncSource, Guarantee, Item
from fyke.io.gather import END, NOTICE_SECONDS, Gather, LiveOptions
from fyke.io.outlet import Outlet
from fyke.io.rows import to_rows
from fyke.io.tables import as_table

T = TypeVar("T")

# What ends a source: an iterator at its end, and a queue that was shut down, which older Pythons do not know.
_ENDS: tuple[type[Exception], ...] = (StopAsyncIteration, getattr(asyncio, "QueueShutDown", StopAsyncIteration))


class AsyncQueueSource:
    """Read an `asyncio.Queue`, or any other async iterable, on its event loop.

    As `fyke.io.queues.QueueSource`, which says what may stand in the queue. Leaving an iteration, or cancelling it,
    loses nothing: what was not handed out comes with the next one.

    Args:
        source: the queue, or an async iterator (a websocket, an async generator).
        options: see `fyke.io.gather.LiveOptions`.

    >>> async def main():
    ...     payments = asyncio.Queue()
    ...     for thing in ({"card": "a"}, {"card": "b"}, END):
    ...         payments.put_nowait(thing)
    ...     return [item.rows.to_pylist() async for item in AsyncQueueSource(payments)]
    >>> asyncio.run(main())
    [[{'card': 'a'}, {'card': 'b'}]]
    """

    def __init__(self, source: "asyncio.Queue[Any] | AsyncIterable[Any]", **options: Unpack[LiveOptions]) -> None:
        self._gather = Gather("asyncio queue", options)
        self._queue = source if isinstance(source, asyncio.Queue) else None
        self._rest = source.__aiter__() if isinstance(source, AsyncIterable) else None
        self._getter: asyncio.Task[Any] | None = None
        self._n_done = 0
        self._is_closed = False

    @property
    def name(self) -> str:
        return self._gather.name

    async def aclose(self) -> None:
        """End the iteration under way, for good."""
        self._is_closed = True
        await self._withdraw()

    async def __aiter__(self) -> AsyncIterator[Item]:
        gather = self._gather
        gather.start(asyncio.get_running_loop().time())
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
                    await self._arrivals()
        finally:
            self._done(n_done)
            if self._queue is not None:
                await self._withdraw()

    def _done(self, n_arrivals: int) -> None:
        for _ in range(self._n_done, n_arrivals if self._queue is not None else 0):
            self._queue.task_done()  # type: ignore[union-attr]
        self._n_done = max(self._n_done, n_arrivals)

    async def _arrivals(self) -> None:
        """Wait for the next arrival, or until something becomes ready; take all that is there, up to a full batch."""
        loop, gather = asyncio.get_running_loop(), self._gather
        wait = gather.wait(loop.time())
        if wait == 0.0 and self._queue is not None:
            gather.tick(loop.time())
            return
        if self._getter is None:
            self._getter = loop.create_task(self._next())
        getter = self._getter
        await asyncio.wait({getter}, timeout=wait)
        if not getter.done():
            gather.tick(loop.time())
            return
        self._keep(getter)
        if getter.cancelled() and not self._is_closed:
            raise asyncio.CancelledError
        if self._queue is not None:
            with contextlib.suppress(asyncio.QueueEmpty, *_ENDS):
                gather.fill(self._queue.get_nowait, loop.time())

    async def _next(self) -> Any:
        try:
            if self._queue is not None:
                return await self._queue.get()
            assert self._rest is not None
            return await anext(self._rest)
        except _ENDS:
            return END
        except Exception as error:
            return error

    def _keep(self, getter: "asyncio.Task[Any]") -> None:
        """Take what the task got, if it got anything, and once only."""
        if self._getter is getter:
            self._getter = None
            if not getter.cancelled():
                self._gather.add(getter.result(), getter.get_loop().time())

    async def _withdraw(self) -> None:
        """Stop waiting for an arrival; one that came in the same moment is kept."""
        getter = self._getter
        if getter is not None:
            getter.cancel()
            await asyncio.wait({getter})
            self._keep(getter)


class AsyncQueueSink:
    """Put results into an `asyncio.Queue`, a row at a time as dicts, or a table at a time; `END` when closed.

    A queue that is full makes the writer wait.

    Args:
        target: the queue.
        tables: whether to put tables rather than rows.
        end: whether to put END when closed; not if others write into the same queue.
    """

    name = "asyncio queue"
    guarantee: Guarantee = "append"

    def __init__(self, target: "asyncio.Queue[Any]", *, tables: bool = False, end: bool = True) -> None:
        self._queue = target
        self._tables = tables
        self._end = end
        self._is_closed = False

    async def open(self) -> None:
        if self._is_closed:
            raise DataError(f"{self.name}: closed, and cannot be opened again")

    async def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        if self._is_closed:
            raise DataError(f"{self.name}: closed, and takes no rows")
        table = as_table(rows, self.name)
        if not self._tables:
            for row in to_rows(table):
                await self._queue.put(row)
        elif table.num_rows:
            await self._queue.put(table)

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            if self._end:
                await self._queue.put(END)


class BlockingSource:
    """Read a source on an event loop from another thread.

    Args:
        source: the async source.
        loop: its loop, which runs in another thread; in a coroutine, `asyncio.get_running_loop()`.

    >>> def count(source):
    ...     return sum(item.rows.num_rows for item in source)
    >>> async def main():
    ...     payments = asyncio.Queue()
    ...     source = BlockingSource(AsyncQueueSource(payments), asyncio.get_running_loop())
    ...     counted = asyncio.create_task(asyncio.to_thread(count, source))
    ...     for thing in ({"card": "a"}, {"card": "b"}, END):
    ...         await payments.put(thing)
    ...     return await counted
    >>> asyncio.run(main())
    2
    """

    def __init__(self, source: AsyncSource, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self._closing: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._source.name

    def fraction_read(self) -> float | None:
        return None

    def close(self) -> None:
        """End the iteration under way; when called in the loop, as soon as the loop gets to it."""
        if _running_loop() is self._loop:
            self._closing = self._loop.create_task(self._source.aclose())
        elif self._loop.is_running():
            _wait_for(self._source.aclose(), self._loop, self.name)

    def __iter__(self) -> Iterator[Item]:
        items = self._source.__aiter__()

        async def following() -> Item | None:
            return await anext(items, None)

        async def leave() -> None:
            if hasattr(items, "aclose"):
                await items.aclose()

        try:
            while (item := _wait_for(following(), self._loop, self.name)) is not None:
                yield item
        finally:
            if self._loop.is_running():
                _wait_for(leave(), self._loop, self.name)


class BlockingSink(Outlet):
    """Write from another thread to a sink on an event loop.

    Args:
        sink: the async sink.
        loop: its loop, which runs in another thread.
    """

    def __init__(self, sink: AsyncSink, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(sink.name)
        self.guarantee = sink.guarantee
        self._sink = sink
        self._loop = loop

    def _open(self) -> None:
        _wait_for(self._sink.open(), self._loop, self.name)

    def _write(self, table: pa.Table) -> None:
        _wait_for(self._sink.write(table), self._loop, self.name)

    def _flush(self) -> None:
        _wait_for(self._sink.flush(), self._loop, self.name)

    def _close(self) -> None:
        _wait_for(self._sink.close(), self._loop, self.name)


def _wait_for(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str) -> T:
    """Return what a coroutine gives on the loop of another thread.

    Raises:
        DataError: this is the loop's own thread, which would wait for itself; or the loop stopped.
    """
    if _running_loop() is loop:
        coroutine.close()
        raise DataError(f"{name}: would wait for its own event loop; use `async for`, or another thread")
    if not loop.is_running():
        coroutine.close()
        raise DataError(f"{name}: its event loop does not run")
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        while not concurrent.futures.wait([future], NOTICE_SECONDS).done:
            if not loop.is_running():
                raise DataError(f"{name}: its event loop stopped")
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


__all__ = ["END", "AsyncQueueSink", "AsyncQueueSource", "BlockingSink", "BlockingSource"]
