"""For tests of your own streams and patterns: rows by hand, time by hand, and a crash wherever you like.

Nothing here waits and nothing reads a clock: event time moves as rows and `advance` say, so a test says exactly what
happens when.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from fyke.engine import Engine
from fyke.graph import ReadableTable, StreamEngine, Streams
from fyke.match import Match
from fyke.matching import Patterns
from fyke.outcome import StreamResults

__all__ = ["Driver", "feed"]


def feed(
    patterns: Patterns, rows: Iterable[Mapping[str, Any]], *, time: str = "ts", unit: str | None = "s", **options: Any
) -> list[Match]:
    """Push rows through patterns, end the input, and give the matches.

    Args:
        patterns: one Pattern, several, or a mapping of names to them.
        rows: in the order of their arrival.
        time, unit: the column of the event time and what it counts; None: it holds datetimes.
        options: as Engine takes them.

    >>> from fyke import begin, col
    >>> spree = begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m")
    >>> [match["spree"]["ts"] for match in feed(spree, [{"ts": 0, "amount": 0.5}, {"ts": 9, "amount": 900.0}])]
    [9]
    """
    engine = Engine(patterns, time=time, unit=unit, **options)
    return [*engine.push(list(rows)), *engine.flush()]


class Driver:
    """Drives streams by hand, and keeps all that they give.

    Args:
        streams: a Stream, or a mapping of names to Streams.

    >>> from fyke import col, stream
    >>> driver = Driver(stream(time="ts", unit="s").filter(col.amount > 500))
    >>> driver.send([{"ts": 0, "amount": 900.0}, {"ts": 5, "amount": 1.0}])
    >>> driver.rows()
    [{'ts': 0, 'amount': 900.0}]
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.engine = StreamEngine(streams)
        self._given: list[StreamResults] = []
        self._taken: dict[str, int] = {}

    # -- what happens

    def send(self, rows: Any, to: str | None = None) -> None:
        """Let rows arrive.

        Args:
            rows: a row, an iterable of rows, or Arrow data.
            to: the name of the source, where there are several.
        """
        self._given.append(self.engine.push(rows, to=to))
        self.engine.check()

    def advance(self, watermark: int | dt.datetime, input: str | None = None) -> None:
        """Move the watermark: no more rows with a time at or before it.

        Args:
            watermark: ns since the epoch, or a datetime.
            input: the name of a source; None: of all.
        """
        self._given.append(self.engine.advance(watermark, input))
        self.engine.check()

    def idle(self, name: str) -> None:
        """Let a source be idle until its next row: what a wall clock would find out."""
        self._given.append(self.engine.idle(name))

    def end(self) -> None:
        """End the input: everything that is open comes out."""
        self._given.append(self.engine.flush())
        self.engine.check()

    def kill_and_restore(self) -> None:
        """Lose the engine and all that is in memory, and go on with a new one from its snapshot.

        Raises:
            StateError: a box holds a lambda, which no snapshot can name.

        >>> from fyke import begin, col, stream
        >>> pair = begin("a", col.v == 1).followed_by("b", col.v == 2).within("1m")
        >>> driver = Driver(stream(time="ts", unit="s").match(pair).select("b.v"))
        >>> driver.send({"ts": 0, "v": 1})
        >>> driver.kill_and_restore()
        >>> driver.send({"ts": 1, "v": 2})
        >>> driver.end()
        >>> driver.rows()
        [{'b.v': 2}]
        """
        state = self.engine.snapshot()
        self.engine = StreamEngine.restore(state, self._streams)
        self.engine.check()
        assert self.engine.snapshot() == state, "a snapshot of what was restored is another"

    # -- what came of it

    @property
    def results(self) -> StreamResults:
        """Everything so far."""
        return StreamResults.together(self._given)

    def rows(self, output: str | None = None) -> list[dict[str, Any]]:
        """Give all rows of an output so far.

        Args:
            output: its name, or that of a side output: "late", "errors", ...; None: of the only one.
        """
        if not self._given:
            return []
        results = self.results
        if output is None:
            return list(results.results)
        return list(results.outputs[output] if output in results.outputs else results.side(output))

    def new(self, output: str | None = None) -> list[dict[str, Any]]:
        """Give the rows of an output since the last time this was asked.

        >>> from fyke import stream
        >>> driver = Driver(stream(time="ts", unit="s"))
        >>> driver.send({"ts": 1})
        >>> driver.new(), driver.new()
        ([{'ts': 1}], [])
        """
        rows = self.rows(output)
        before, self._taken[output or ""] = self._taken.get(output or "", 0), len(rows)
        return rows[before:]

    def state(self, box: str, key: Any = None) -> dict[str, Any]:
        """Give what a process keeps for a key: its states by name, and its timers under "timers".

        Args:
            box: the name of the process, as describe() shows it: "process_1", or the one it was given.
            key: a value, or a tuple of them; None: a process without a key.

        >>> import fyke
        >>> def count(row, ctx):
        ...     ctx.state["n"].set(ctx.state["n"].get(0) + 1)
        >>> stream = fyke.stream(time="ts", unit="s").key_by("card")
        >>> driver = Driver(stream.process(count, state={"n": fyke.ValueState(int)}))
        >>> driver.send([{"ts": 0, "card": "x"}, {"ts": 1, "card": "x"}])
        >>> driver.end()
        >>> driver.state("process_1", "x")
        {'n': 2, 'timers': {}}
        """
        return self.engine.state_of(box, key)

    def table(self, name: str = "results") -> ReadableTable:
        """Give a table to read; see StreamEngine.table."""
        return self.engine.table(name)
