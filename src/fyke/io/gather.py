"""What comes one by one, gathered into items: rows into batches, by their number and by their age.

Used by all live sources; it waits for nothing and reads no clock, so that the same arrivals at the same times give the
same items. Whatever is not a row (a table, a watermark, the end) first sends the rows before it on their way: the order
of arrival is the order of the items.
"""

import enum
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import pyarrow as pa

from fyke.duration import DurationLike, to_ns
from fyke.errors import DataError
from fyke.io import Batch, Idle, Item, Watermark
from fyke.io.rows import Columns
from fyke.io.tables import batches_of, is_table

# How long it may go unnoticed, in an iteration that waits, that the source was closed from another thread.
NOTICE_SECONDS = 0.2


class End(enum.Enum):
    """The type of END; an Enum, so that it stays itself in another process."""

    END = "END"


END = End.END
"""What a producer puts into a queue after its last row."""


class LiveOptions(TypedDict, total=False):
    """What every live source can be told.

    Attributes:
        batch_size: rows per batch, at most; a batch that is full goes out at once. Default: 65,536.
        linger: how long a row waits for others to make a batch with. Default: not at all; what is there makes a batch.
        idle: how long nothing comes until the source says that it is idle. Default: it never does.
        columns: the fields to take. Default: all.
        types: types of fields, instead of what their values look like.
        name: what error messages call the source.
    """

    batch_size: int
    linger: DurationLike
    idle: DurationLike | None
    columns: Sequence[str] | None
    types: Mapping[str, pa.DataType] | None
    name: str


class Gather:
    """Takes arrivals with their times and has items ready, in order.

    Args:
        name: what error messages call the source, if the options have no name.
        options: those of a live source.

    Attributes:
        has_ended: whether the end has arrived; what is ready is all that there is.
        n_arrived: how much arrived so far.
    """

    def __init__(self, name: str, options: LiveOptions) -> None:
        self.name = options.get("name", name)
        self.has_ended = False
        self.batch_size = options.get("batch_size", 65_536)
        if self.batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {self.batch_size}")
        self._linger = to_ns(options.get("linger", "0s")) / 1e9
        idle = options.get("idle")
        self._idle = None if idle is None else to_ns(idle) / 1e9
        self._wanted = options.get("columns")
        self._columns = Columns(self.name, columns=self._wanted, types=options.get("types"))
        self._rows: list[Any] = []
        self._first = 0  # the position of the next batch's first row
        self._oldest = 0.0  # when the first of the rows arrived
        self._quiet_since: float | None = None  # the last arrival; None: idleness was said
        # What to hand out, each with the number of arrivals that are done with it.
        self._ready: deque[tuple[Item | DataError, int]] = deque()
        self.n_arrived = 0

    def start(self, now: float) -> None:
        """Begin to wait: silence counts from here."""
        self._quiet_since = now

    def add(self, arrival: Any, now: float) -> None:
        """Take a row, a table, a Watermark, Idle(), END, or an error that the source shall raise in this place."""
        self._quiet_since = now
        # Asked first: most arrivals are dicts.
        is_row = type(arrival) is dict or not (
            is_table(arrival) or isinstance(arrival, Watermark | Idle | End | BaseException)
        )
        if is_row:
            if not self._rows:
                self._oldest = now
            self._rows.append(arrival)
            self.n_arrived += 1
            if len(self._rows) >= self.batch_size:
                self._pack()
            return
        self._pack()
        self.n_arrived += 1
        if self.has_ended:
            return  # a row before it was wrong
        if isinstance(arrival, Watermark | Idle):
            self._ready.append((arrival, self.n_arrived))
        elif isinstance(arrival, BaseException):
            self._fail(arrival)
        elif isinstance(arrival, End):
            self.has_ended = True
        else:
            self._add_table(arrival)

    def fill(self, get: Callable[[], Any], now: float) -> None:
        """Take what `get` gives until an item is ready; what `get` raises when there is no more is passed on."""
        while not (self._ready or self.has_ended):
            self.add(get(), now)

    def _add_table(self, data: Any) -> None:
        try:
            for whole in batches_of(data, self._wanted):
                for start in range(0, whole.num_rows, self.batch_size):
                    rows = whole.slice(start, self.batch_size)
                    self._ready.append((Batch(rows, self._first), self.n_arrived))
                    self._first += rows.num_rows
        except (DataError, pa.ArrowInvalid) as error:
            self._fail(error)

    def _pack(self) -> None:
        """Make a batch of the rows that wait."""
        rows, self._rows = self._rows, []
        if rows:
            try:
                batch = self._columns.batch(rows, self._first)
            except DataError as error:
                self._fail(error)
            else:
                self._ready.append((Batch(batch, self._first), self.n_arrived))
                self._first += len(rows)

    def _fail(self, error: BaseException) -> None:
        """Let the source end with an error, after what is ready."""
        if not isinstance(error, DataError):
            place = f"after row {self._first - 1}" if self._first else "before the first row"
            cause, error = error, DataError(f"{self.name}: failed {place}: {error!r}")
            error.__cause__ = cause
        self._ready.append((error, self.n_arrived))
        self.has_ended = True

    def tick(self, now: float) -> None:
        """Take note of the time: rows that waited long enough go out, and long silence is said."""
        if self._rows and now >= self._oldest + self._linger:
            self._pack()
        if self._idle is not None and self._quiet_since is not None and now >= self._quiet_since + self._idle:
            self._pack()
            self._ready.append((Idle(), self.n_arrived))
            self._quiet_since = None

    def wait(self, now: float) -> float | None:
        """Return for how many seconds nothing can become ready by itself; None: for ever."""
        due = [self._oldest + self._linger] if self._rows else []
        if self._idle is not None and self._quiet_since is not None:
            due.append(self._quiet_since + self._idle)
        return max(0.0, min(due) - now) if due else None

    def take(self) -> tuple[Item, int] | None:
        """Return the next item and how many arrivals are done with it; None: nothing is ready.

        Raises:
            DataError: the producer put an error, or a row cannot go into a batch; what came before it was taken.
        """
        if not self._ready:
            return None
        item, n_done = self._ready.popleft()
        if isinstance(item, DataError):
            raise item
        return item, n_done


__all__ = ["END", "NOTICE_SECONDS", "End", "Gather", "LiveOptions"]
