"""What all sinks share: opened once, by the first write at the latest; closed once; tables of any shape taken.

A sink of its own fills in `_open`, `_write`, `_flush` and `_close`; none of them is called twice or out of turn.
"""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import pyarrow as pa

from fyke.errors import DataError
from fyke.io import Guarantee
from fyke.io.tables import as_table


class Outlet(ABC):
    """A sink, but for what it does with the rows.

    Args:
        name: what error messages call it.
    """

    guarantee: Guarantee = "append"

    def __init__(self, name: str) -> None:
        self.name = name
        self._is_open = False
        self._is_closed = False

    def open(self) -> None:
        if self._is_closed:
            raise DataError(f"{self.name}: closed, and cannot be opened again")
        if not self._is_open:
            self._open()
            self._is_open = True

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        if self._is_closed:
            raise DataError(f"{self.name}: closed, and takes no rows")
        table = as_table(rows, self.name)
        self.open()
        self._write(table)

    def flush(self) -> None:
        if self._is_open and not self._is_closed:
            self._flush()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True  # first: a medium that fails in closing is not tried again
        if self._is_open:
            self._close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _write(self, table: pa.Table) -> None:
        """Take a table; it may be without rows."""

    def _open(self) -> None:  # noqa: B027 - most sinks have nothing to open
        pass

    def _flush(self) -> None:  # noqa: B027 - nor anything that waits
        pass

    def _close(self) -> None:
        self._flush()


__all__ = ["Outlet"]
