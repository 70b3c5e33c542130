"""Iterators that wait for their next row: a socket's lines, a client library's messages, a generator over a sensor."""

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Unpack

from fyke.io import Item
from fyke.io.gather import END, NOTICE_SECONDS, LiveOptions
from fyke.io.queues import QueueSource

# Things read ahead of the batches, at most.
READ_AHEAD = 8_192


class IteratorSource:
    """Read an iterator that blocks, in a thread of its own.

    So a batch can go out while the iterator waits, and silence can be told. `fyke.io.memory.Memory` reads an iterator
    without a thread, if no row need go out before its batch is full. The iterator may give what a queue may hold, see
    `fyke.io.queues`; what it raises, the source raises, after the rows before it. Up to 8,192 things are read ahead.

    Args:
        iterable: the rows.
        options: see `fyke.io.gather.LiveOptions`.

    >>> [item.rows.to_pylist() for item in IteratorSource(iter([{"a": 1}, {"a": 2}]), linger="1m")]
    [[{'a': 1}, {'a': 2}]]
    """

    def __init__(self, iterable: Iterable[Any], **options: Unpack[LiveOptions]) -> None:
        self._iterable = iterable
        self._queue: queue.Queue[Any] = queue.Queue(READ_AHEAD)
        self._source = QueueSource(self._queue, **({"name": "iterator"} | options))
        self._pump: threading.Thread | None = None
        self._is_closed = False

    @property
    def name(self) -> str:
        return self._source.name

    def fraction_read(self) -> float | None:
        return None

    def close(self) -> None:
        """End the iteration under way; the thread ends when the iterator gives its next row."""
        self._is_closed = True
        self._source.close()

    def __iter__(self) -> Iterator[Item]:
        if self._pump is None:
            # A daemon: an iterator that waits for ever must not keep the process from ending.
            self._pump = threading.Thread(target=self._read, name=f"fyke {self.name}", daemon=True)
            self._pump.start()
        return iter(self._source)

    def _read(self) -> None:
        try:
            for thing in self._iterable:
                self._put(thing)
                if self._is_closed:
                    return
        except Exception as error:
            self._put(error)
        else:
            self._put(END)

    def _put(self, thing: Any) -> None:
        is_put = False
        while not (is_put or self._is_closed):
            with contextlib.suppress(queue.Full):
                self._queue.put(thing, timeout=NOTICE_SECONDS)
                is_put = True


__all__ = ["END", "IteratorSource"]
