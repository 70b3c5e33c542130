"""Results that take back earlier ones: rows with a column `change`, as retractions are written.

A window that is fired again gives a new revision of its result; a reader who adds the results up would count it twice.
Here each result becomes changes of a table that always holds the last revisions, and nothing else:

| change | the row |
|---|---|
| `+I` | is new |
| `-U` | was said before and is replaced by the next row; as it was said |
| `+U` | replaces it |
| `-D` | was said before and is no longer so; as it was said |

`WindowChangelog` makes them of the results of windows, `TableChangelog` of the rows of a table, `ChangelogSink` puts
either before any sink. They read columns by name and know nothing of the engine. Remembered is what may still be
replaced: windows until their final result, the latest row of each key of a table. docs/formats.md has the format.
"""

import bisect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fyke.errors import DataError
from fyke.io import Sink
from fyke.io.changes import AFTER, BEFORE, DELETE, INSERT, VERSION, Change, Changelog
from fyke.io.outlet import Outlet
from fyke.io.tables import id_columns, row_ids

START, END, REVISION, FINAL = "window_start", "window_end", "revision", "final"
# The bound of a window that has none.
NEVER = 2**63

_Facts: TypeAlias = tuple[list[list[Any]], list[list[int]], list[int], list[bool]]
"""Of results, by column: the keys, the starts and ends in ns, the revisions, whether they are final."""


class WindowChangelog(Changelog):
    """Changes of the results of windows.

    A result that is fired again, or final after it was not, replaces the one before. With `sessions`, a result takes
    back all results of its key that overlap its window and were not final: sessions that grew, or merged. Hopping
    windows overlap and mean it, so whoever makes the changelog must know. Final results are said and forgotten. Count
    windows and global windows have no bounds: a key has one at a time.

    Args:
        keys: the key columns of the results.
        sessions: whether the windows are sessions.
        column: the name of the column of changes.

    >>> log = WindowChangelog(["card"])
    >>> result = {"card": ["a"], "window_start": [0], "window_end": [60]}
    >>> log.push(pa.table(result | {"revision": [0], "final": [False], "n": [2]})).select(["change", "n"]).to_pylist()
    [{'change': '+I', 'n': 2}]
    >>> log.push(pa.table(result | {"revision": [1], "final": [True], "n": [3]})).select(["change", "n"]).to_pylist()
    [{'change': '-U', 'n': 2}, {'change': '+U', 'n': 3}]
    >>> len(log)
    0
    """

    def __init__(self, keys: Sequence[str], *, sessions: bool = False, column: str = "change") -> None:
        super().__init__(keys, column)
        self._sessions = sessions
        # Results that are not final: by key and bounds, the number of the row and its revision; of sessions by key, in
        # the order of their starts, which is that of their ends, too.
        self._open: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._open_sessions: dict[tuple[Any, ...], list[_Session]] = {}

    def _identity(self) -> dict[str, Any]:
        return {"version": VERSION, "windows": list(self._keys), "sessions": self._sessions}

    def _forget(self) -> None:
        super()._forget()
        self._open = {}
        self._open_sessions = {}

    def advance(self, before: int) -> None:
        """Forget windows that end at or before a time: the caller knows that they will not be fired again.

        For triggers that leave windows without a final result; elsewhere nothing need be forgotten. O(remembered).

        Args:
            before: ns since the epoch: a watermark, less the lateness that is allowed.
        """
        closed = [place for place in self._open if place[-1] <= before]
        gone = [self._open.pop(place)[0] for place in closed]
        for key, sessions in list(self._open_sessions.items()):
            n_closed = bisect.bisect_right(sessions, before, key=lambda session: session.end)
            gone += [session.number for session in sessions[:n_closed]]
            del sessions[:n_closed]
            if not sessions:
                del self._open_sessions[key]
        self._store.drop(sorted(gone))

    def _is_all_new(self, table: pa.Table) -> bool:
        if self._store or not pc.all(_column(table, FINAL, pa.types.is_boolean)).as_py():
            return False
        self._checked(table.slice(0, 0))  # wrong columns are an error here, too
        return True

    def _checked(self, table: pa.Table) -> _Facts:
        keys = id_columns(table, self._keys, "changelog")
        bounds = [
            [none if value is None else value for value in _in_ns(_column(table, name, _is_bound, not self._sessions))]
            for name, none in ((START, -NEVER), (END, NEVER))
        ]
        revisions = _column(table, REVISION, pa.types.is_integer).to_pylist()
        finals = _column(table, FINAL, pa.types.is_boolean).to_pylist()
        return keys, bounds, revisions, finals

    def _judge(self, facts: _Facts, first: int, changes: list[Change], dropped: list[int]) -> list[int]:
        judge = self._judge_sessions if self._sessions else self._judge_fixed
        return sorted(judge(facts, first, changes, dropped))

    def _judge_fixed(self, facts: _Facts, first: int, changes: list[Change], dropped: list[int]) -> set[int]:
        keys, bounds, revisions, finals = facts
        remembered: set[int] = set()
        results = zip(zip(*keys, *bounds, strict=True), revisions, finals, strict=True)
        for number, (place, revision, final) in enumerate(results, first):
            same = self._open.get(place)
            if same is None:
                changes.append((INSERT, number))
            elif (revision, final) <= (same[1], False):
                self.n_repeated += 1
                continue
            else:
                changes.append((BEFORE, same[0]))
                changes.append((AFTER, number))
                remembered.discard(same[0])
                dropped.append(same[0])
            if not final:
                self._open[place] = (number, revision)
                remembered.add(number)
            elif same is not None:
                del self._open[place]
        return remembered

    def _judge_sessions(self, facts: _Facts, first: int, changes: list[Change], dropped: list[int]) -> set[int]:
        keys, (starts, ends), revisions, finals = facts
        remembered: set[int] = set()
        each_key = zip(*keys, strict=True) if keys else [()] * len(starts)
        results = zip(each_key, starts, ends, revisions, finals, strict=True)
        for number, (key, start, end, revision, final) in enumerate(results, first):
            sessions = self._open_sessions.get(key, [])
            low, high = _overlapping(sessions, start, end)
            over = sessions[low:high]
            same = next((session for session in over if session.start == start and session.end == end), None)
            if same is not None and (revision, final) <= (same.revision, False):
                self.n_repeated += 1
                continue
            remembered.difference_update(session.number for session in over)
            dropped += [session.number for session in over]
            changes += [(DELETE, session.number) for session in over if session is not same]
            changes += [(BEFORE, same.number), (AFTER, number)] if same is not None else [(INSERT, number)]
            sessions[low:high] = [] if final else [_Session(start, end, number, revision)]
            if not final:
                remembered.add(number)
            if sessions:
                self._open_sessions[key] = sessions
            else:
                self._open_sessions.pop(key, None)
        return remembered


class _Session(NamedTuple):
    """A result that is not final: its window, the number of its row, its revision."""

    start: int
    end: int
    number: int
    revision: int


def _overlapping(sessions: list[_Session], start: int, end: int) -> tuple[int, int]:
    """Return which of the sessions, ascending and apart from each other, share time with [start, end): from, to."""
    low = bisect.bisect_right(sessions, start, key=lambda session: session.end)
    high = bisect.bisect_left(sessions, end, key=lambda session: session.start)
    return low, max(low, high)


def _is_bound(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _column(
    table: pa.Table, name: str, is_right: Callable[[pa.DataType], bool], nulls: bool = False
) -> pa.ChunkedArray:
    """Return a column of results.

    Raises:
        DataError: there is no such column, or it has another type, or nulls where none may be.
    """
    if name not in table.column_names:
        raise DataError(f"changelog: no column `{name}`; the columns are {', '.join(table.column_names)}")
    column = table[name]
    if not is_right(column.type):
        raise DataError(f"changelog: column `{name}` is {column.type}, which it cannot be")
    if column.null_count and not nulls:
        raise DataError(f"changelog: column `{name}` is null in row {pc.index(column.is_null(), True).as_py()}")
    return column


def _in_ns(bounds: pa.ChunkedArray) -> list[int | None]:
    """Return times as integers."""
    if pa.types.is_timestamp(bounds.type):
        bounds = bounds.cast(pa.timestamp("ns", bounds.type.tz)).cast(pa.int64())
    values: list[int | None] = bounds.to_pylist()
    return values


class TableChangelog(Changelog):
    """Changes of a table: its rows by key, in the order in which they became so.

    Remembers the latest row of each key: as much as the table itself.

    Args:
        keys: the key columns.
        null_deletes: whether a row without any value deletes its key, as in a compacted topic.
        column: the name of the column of changes.

    >>> log = TableChangelog(["card"], null_deletes=True)
    >>> log.push(pa.table({"card": ["a", "a", "a"], "limit": [5, 7, None]})).to_pylist()
    [{'change': '+I', 'card': 'a', 'limit': 5},
     {'change': '-U', 'card': 'a', 'limit': 5}, {'change': '+U', 'card': 'a', 'limit': 7},
     {'change': '-D', 'card': 'a', 'limit': 7}]
    """

    def __init__(self, keys: Sequence[str], *, null_deletes: bool = False, column: str = "change") -> None:
        super().__init__(keys, column)
        self._null_deletes = null_deletes
        self._latest: dict[tuple[Any, ...], int] = {}

    def _identity(self) -> dict[str, Any]:
        return {"version": VERSION, "table": list(self._keys), "null_deletes": self._null_deletes}

    def _forget(self) -> None:
        super()._forget()
        self._latest = {}

    def _checked(self, table: pa.Table) -> list[tuple[Any, ...]]:
        return list(zip(row_ids(table, self._keys, "changelog"), self._deletes(table), strict=True))

    def _judge(self, facts: list[Any], first: int, changes: list[Change], dropped: list[int]) -> list[int]:
        remembered: set[int] = set()
        for number, (key, deletes) in enumerate(facts, first):
            known = self._latest.get(key)
            if known is not None:
                remembered.discard(known)
                dropped.append(known)
                changes.append((DELETE if deletes else BEFORE, known))
            if deletes:
                self._latest.pop(key, None)
                continue
            changes.append((INSERT if known is None else AFTER, number))
            self._latest[key] = number
            remembered.add(number)
        return sorted(remembered)

    def _deletes(self, table: pa.Table) -> list[bool]:
        """Say of each row whether it deletes its key."""
        values = [name for name in table.column_names if name not in self._keys]
        if not self._null_deletes or not values:
            return [False] * table.num_rows
        empty = table[values[0]].is_null()
        for name in values[1:]:
            empty = pc.and_(empty, table[name].is_null())
        found: list[bool] = empty.to_pylist()
        return found


class ChangelogSink(Outlet):
    """Put changes into a sink, where results are written.

    Args:
        sink: any sink; it is opened, flushed and closed with this one.
        changelog: what makes changes of results.
    """

    def __init__(self, sink: Sink, changelog: Changelog) -> None:
        super().__init__(sink.name)
        self.guarantee = sink.guarantee
        self.changelog = changelog
        self._sink = sink

    def _open(self) -> None:
        self._sink.open()

    def _write(self, table: pa.Table) -> None:
        self._sink.write(self.changelog.push(table))

    def _flush(self) -> None:
        self._sink.flush()

    def _close(self) -> None:
        self._sink.close()


__all__ = ["Changelog", "ChangelogSink", "TableChangelog", "WindowChangelog"]
