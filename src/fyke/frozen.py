"""The state of one moment, while the engine goes on: what Engine.freeze gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import xxhash

from fyke._core import Core, Records
from fyke.plan import Plan
from fyke.snapshot import container_parts, sections_of

__all__ = ["Frozen"]


class Frozen:
    """The state of an engine at the moment of its freeze.

    A freeze copies nothing that grows with the number of keys but a byte for each. What the engine is about to change
    is copied first, and each push copies some thousand keys more; once all is copied, `ready`, the snapshot can be
    made on any thread while the engine goes on.
    """

    def __init__(
        self, plan: Plan, core: Core, records: Records, numbers: dict[str, Any], position: int,
        told: Callable[[str], None] | None,
    ) -> None:  # fmt: skip
        self._plan, self._core, self._records, self._numbers = plan, core, records, numbers
        self._position = position
        self._told = told

    @property
    def ready(self) -> bool:
        """Whether all is copied."""
        return self._records.complete

    def collect(self, states: int | None = None) -> bool:
        """Copy some more, on the engine's thread, where it does not push: so many keyed states, None: all that is left.

        Returns whether it is ready.
        """
        if not self.ready:
            self._core.collect(states)
        return self.ready

    def parts(self) -> Iterator[Any]:
        """Give the bytes of the snapshot in buffers; on the engine's thread, unless it is ready."""
        self.collect()
        born = self._told is not None
        digest = xxhash.xxh3_128()
        for part in container_parts(
            sections_of(self._plan, self._records, self._numbers, self._position, settled=True, born=born)
        ):
            digest.update(part)
            yield part
        if self._told is not None:
            self._told(digest.hexdigest())

    def snapshot(self) -> bytes:
        """Give what Engine.snapshot would have given at the freeze; on the engine's thread, unless it is ready."""
        return b"".join(self.parts())
