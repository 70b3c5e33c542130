"""A binary heap that orders equal entries exactly as java.util.PriorityQueue does.

Flink keeps partial and completed matches in such heaps, compared by their first event only. Which of several equal
entries comes first is therefore an accident of the heap, and Flink's results depend on it (docs/semantics.md, note 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class JavaHeap(Generic[T]):
    """A min-heap by `key`, with Java's sift rules; iteration is in array order."""

    def __init__(self, key: Callable[[T], Any], items: Iterable[T] = ()) -> None:
        self._key = key
        self._array: list[T] = []
        for item in items:
            self.add(item)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._array))

    def peek(self) -> T | None:
        """Return the smallest entry, or None."""
        return self._array[0] if self._array else None

    def add(self, item: T) -> None:
        """Append, then rise while strictly smaller than the parent."""
        self._array.append(item)
        at = len(self._array) - 1
        while at > 0:
            parent = (at - 1) // 2
            if not self._key(self._array[at]) < self._key(self._array[parent]):
                break
            self._array[at], self._array[parent] = self._array[parent], self._array[at]
            at = parent

    def poll(self) -> T:
        """Remove the smallest: the last entry takes its place and sinks."""
        smallest = self._array[0]
        last = self._array.pop()
        if self._array:
            self._array[0] = last
            self._sink(0)
        return smallest

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        """Remove all unwanted entries; the rest keeps its array order and is made a heap again, if any went."""
        rest = [item for item in self._array if not unwanted(item)]
        if len(rest) < len(self._array):
            self._array = rest
            for at in range(len(rest) // 2 - 1, -1, -1):
                self._sink(at)

    def _sink(self, at: int) -> None:
        size = len(self._array)
        while at < size // 2:
            child = 2 * at + 1
            if child + 1 < size and self._key(self._array[child]) > self._key(self._array[child + 1]):
                child += 1
            if not self._key(self._array[at]) > self._key(self._array[child]):
                break
            self._array[at], self._array[child] = self._array[child], self._array[at]
            at = child
