"""What a user writes for `process`: a class or function that sees the events of a key in the order of their times.

State belongs to a key and is typed; it holds what JSON can say, checked when it is written, so that a snapshot holds it
without running any code when it is read. What is written is copied, and so is what is read: a value changes by being
written again. A time to live counts in event time, from the last write.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar, overload

from fyke.duration import DurationLike, to_ns
from fyke.errors import DataError, DefinitionError, StateError

__all__ = ["Cells", "Context", "Frame", "ListCells", "ListState", "MapCells", "MapState", "Process", "StateDeclaration"]
__all__ += ["Value", "ValueCells", "ValueState", "copied"]

T = TypeVar("T")
Key: TypeAlias = tuple[Hashable, ...]
Json: TypeAlias = Any
TYPES: Final = (bool, int, float, str, list, dict)


class Context(Protocol):
    """What a process is told and can do while it handles a row or a timer."""

    @property
    def key(self) -> Any:
        """The key: a value, a tuple of them, or None without a key."""
        ...

    @property
    def time(self) -> int:
        """The event time that it is now, ns: of the row, or when the timer fires."""
        ...

    @property
    def state(self) -> Mapping[str, Any]:
        """The state by name, for a process that is a function."""
        ...

    def emit(self, row: Mapping[str, Any]) -> None:
        """Give out a row, at the time it is now."""
        ...

    def emit_to(self, side: str, row: Mapping[str, Any]) -> None:
        """Give out a row to a side output."""
        ...

    def set_timer(
        self, name: str = "timer", *, at: int | dt.datetime | None = None, after: DurationLike | None = None
    ) -> None:
        """Let on_timer be called when event time reaches a point; one that this key has under the name is moved.

        It fires after all rows up to its time and before later ones; one that is past, after the rows of now.

        Args:
            name: of the timer, within the key.
            at: ns since the epoch, or a datetime. after: from now. One of the two.

        Raises:
            DataError: in on_timer, a time that is not after now.
        """
        ...

    def cancel_timer(self, name: str = "timer") -> None:
        """Take a timer of this key back; nothing happens if there is none."""
        ...

    def timer(self, name: str = "timer") -> int | None:
        """Give the time of a timer of this key, ns; None: it has none such."""
        ...


class Process:
    """Base of a process: its states are class attributes, its methods handle rows and timers.

    There is one object for all keys: what belongs to a key is kept in states, nothing in self.

    >>> import fyke
    >>> class Silence(fyke.Process):
    ...     "Says when a key has been silent for ten minutes, and after how many rows."
    ...     n = fyke.ValueState(int)
    ...     def on_row(self, row, ctx):
    ...         self.n.set((self.n.get() or 0) + 1)
    ...         ctx.set_timer(after="10m")
    ...     def on_timer(self, name, ctx):
    ...         ctx.emit({"card": ctx.key, "rows": self.n.get()})
    ...         self.n.clear()
    >>> engine = fyke.Engine(fyke.stream(time="ts", unit="s").key_by("card").process(Silence))
    >>> engine.push([{"ts": 0, "card": "x"}, {"ts": 60, "card": "x"}])
    <0 rows>
    >>> list(engine.push({"ts": 661, "card": "y"}))
    [{'card': 'x', 'rows': 2}]
    """

    _cells: Mapping[str, Cells]

    def on_row(self, row: dict[str, Any], ctx: Context) -> Any:
        """Handle a row; what it gives (a row, or rows, or None) is given out as with ctx.emit."""
        raise NotImplementedError

    def on_timer(self, name: str, ctx: Context) -> Any:
        """Handle a timer; gives what on_row gives."""
        raise NotImplementedError


# ------------------------------------------------------------------------------------------------ declarations


class StateDeclaration:
    """A state as it is declared: a class attribute of a Process, or an entry of process(fn, state=...).

    Attributes:
        type: bool, int, float (which takes ints), str, list or dict; None: whatever JSON can say.
        ttl: ns after the last write; None: for ever.
    """

    kind: ClassVar[str] = ""

    def __init__(self, type: type[Any] | None = None, *, ttl: DurationLike | None = None) -> None:
        if type is not None and type not in TYPES:
            names = ", ".join(each.__name__ for each in TYPES)
            raise DefinitionError(f"{self.__class__.__name__}({type!r}): expected one of {names}, or None")
        self.type = type
        self.ttl = None if ttl is None else to_ns(ttl)
        if self.ttl == 0:
            raise DefinitionError(f"{self.__class__.__name__}: ttl={ttl!r}: expected a duration that is not zero")
        self.name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    def definition(self) -> list[Any]:
        """Give what it is as JSON can say it."""
        return [self.kind, None if self.type is None else self.type.__name__, self.ttl]

    def cells(self, frame: Frame) -> Cells:
        """Make what holds it for all keys."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateDeclaration) and self.definition() == other.definition()

    def __hash__(self) -> int:
        return hash(tuple(self.definition()))


class ValueState(StateDeclaration, Generic[T]):
    """One value per key.

    Args:
        type: bool, int, float, str, list or dict; None: whatever JSON can say.
        ttl: a duration; the value is gone when event time is this much after its last write.
    """

    kind = "value"

    def __init__(self, type: type[T] | None = None, *, ttl: DurationLike | None = None) -> None:
        super().__init__(type, ttl=ttl)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> ValueState[T]: ...
    @overload
    def __get__(self, instance: Process, owner: type[Any]) -> ValueCells[T]: ...
    def __get__(self, instance: Process | None, owner: type[Any]) -> Any:
        return self if instance is None else instance._cells[self.name]

    def cells(self, frame: Frame) -> ValueCells[T]:
        return ValueCells(self, frame)


class ListState(StateDeclaration, Generic[T]):
    """A list per key; a time to live counts for each element. See ValueState."""

    kind = "list"

    def __init__(self, type: type[T] | None = None, *, ttl: DurationLike | None = None) -> None:
        super().__init__(type, ttl=ttl)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> ListState[T]: ...
    @overload
    def __get__(self, instance: Process, owner: type[Any]) -> ListCells[T]: ...
    def __get__(self, instance: Process | None, owner: type[Any]) -> Any:
        return self if instance is None else instance._cells[self.name]

    def cells(self, frame: Frame) -> ListCells[T]:
        return ListCells(self, frame)


class MapState(StateDeclaration, Generic[T]):
    """A map per key, from str or int; in the order of first writes. A time to live counts for each entry."""

    kind = "map"

    def __init__(self, type: type[T] | None = None, *, ttl: DurationLike | None = None) -> None:
        super().__init__(type, ttl=ttl)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> MapState[T]: ...
    @overload
    def __get__(self, instance: Process, owner: type[Any]) -> MapCells[T]: ...
    def __get__(self, instance: Process | None, owner: type[Any]) -> Any:
        return self if instance is None else instance._cells[self.name]

    def cells(self, frame: Frame) -> MapCells[T]:
        return MapCells(self, frame)


# ------------------------------------------------------------------------------------------------ while it runs


class Frame:
    """What holds during a call: the key, the time, and how to take back what the call did."""

    __slots__ = ("key", "now", "undo")

    def __init__(self) -> None:
        self.key: Key = ()
        self.now = 0
        self.undo: list[Callable[[], object]] | None = None


class Cells:
    """A state of all keys: for each an entry, a dict from places to (value, time of the last write).

    A value has the one place None, a list places 0, 1, ..., a map its keys. An entry without places is not there.
    """

    def __init__(self, declared: StateDeclaration, frame: Frame) -> None:
        self._declared = declared
        self._frame = frame
        self._entries: dict[Key, dict[Any, tuple[Json, int]]] = {}
        self._expiry: list[tuple[int, int, Key]] = []
        self._scheduled: set[Key] = set()
        self._n_scheduled = 0

    # -- of the current key

    def _live(self) -> dict[Any, tuple[Json, int]]:
        entry = self._entries.get(self._frame.key)
        if entry is None:
            return {}
        ttl = self._declared.ttl
        if ttl is None:
            return entry
        return {place: each for place, each in entry.items() if each[1] + ttl > self._frame.now}

    def _write(self, entry: dict[Any, tuple[Json, int]]) -> None:
        key, entries = self._frame.key, self._entries
        if self._frame.undo is not None:
            before = entries.get(key)
            self._frame.undo.append(lambda: self._put(key, before))
        self._put(key, entry or None)

    def _one(self, place: Any) -> tuple[Json, int] | None:
        """What the key has at a place; None: nothing, or nothing any more."""
        entry = self._entries.get(self._frame.key)
        found = None if entry is None else entry.get(place)
        ttl = self._declared.ttl
        return None if found is None or (ttl is not None and found[1] + ttl <= self._frame.now) else found

    def _write_one(self, place: Any, value: Any) -> None:
        """Write at a place; O(1)."""
        made = (self._checked(value), self._frame.now)
        entry = self._entries.get(self._frame.key)
        if entry is None:
            self._write({place: made})
            return
        if self._one(place) is None:
            self._drop_one(entry, place)  # what is gone does not keep its place in the order
        self._note(entry, place)
        entry[place] = made

    def _drop_one(self, entry: dict[Any, tuple[Json, int]], place: Any) -> None:
        if place in entry:
            if self._frame.undo is not None:
                before = dict(entry)

                def put_back() -> None:
                    entry.clear()
                    entry.update(before)

                self._frame.undo.append(put_back)
            del entry[place]

    def _note(self, entry: dict[Any, tuple[Json, int]], place: Any) -> None:
        """Remember how a place was, in case the call fails."""
        if self._frame.undo is not None:
            before = entry.get(place)
            self._frame.undo.append(
                (lambda: entry.pop(place)) if before is None else (lambda: entry.__setitem__(place, before))
            )

    def _put(self, key: Key, entry: dict[Any, tuple[Json, int]] | None) -> None:
        if entry is None:
            self._entries.pop(key, None)
            return
        self._entries[key] = entry
        if self._declared.ttl is not None and key not in self._scheduled:
            self._schedule(key, entry)

    def _schedule(self, key: Key, entry: Mapping[Any, tuple[Json, int]]) -> None:
        assert self._declared.ttl is not None
        self._n_scheduled += 1
        first = min(written for _, written in entry.values())
        heapq.heappush(self._expiry, (first + self._declared.ttl, self._n_scheduled, key))
        self._scheduled.add(key)

    def _checked(self, value: Any) -> Json:
        wanted, given = self._declared.type, type(value)
        fits = wanted is None or given is wanted or (wanted is float and given is int)
        if not fits:
            assert wanted is not None
            raise DataError(
                f"state `{self._declared.name}`: expected {wanted.__name__}, got {given.__name__} {value!r:.60}"
            )
        return copied(value, f"state `{self._declared.name}`")

    def clear(self) -> None:
        """Forget what the key has."""
        self._write({})

    # -- of all keys

    def expire(self, watermark: int) -> None:
        """Forget what no call from now on can see: all times to come are above the watermark."""
        ttl = self._declared.ttl
        while self._expiry and self._expiry[0][0] <= watermark:
            assert ttl is not None
            _, _, key = heapq.heappop(self._expiry)
            self._scheduled.discard(key)
            entry = self._entries.get(key)
            if entry is None:
                continue
            live = {place: each for place, each in entry.items() if each[1] + ttl > watermark}
            self._put(key, live or None)

    def peek(self, key: Key) -> Json:
        """Give what a key has, as it is now: a value or None, a list, or a dict."""
        before, self._frame.key = self._frame.key, key
        try:
            return self._shown({place: copied(value) for place, (value, _) in self._live().items()})
        finally:
            self._frame.key = before

    def _shown(self, values: dict[Any, Json]) -> Json:
        return values

    def __len__(self) -> int:
        return len(self._live())

    @property
    def n_keys(self) -> int:
        """How many keys have something in it."""
        return len(self._entries)

    def export(self) -> Iterator[tuple[Key, Json]]:
        """Give (key, [[place, value, time of the last write], ...]) in an order that the state alone determines."""
        for key in sorted(self._entries, key=repr):
            yield key, [[place, value, written] for place, (value, written) in self._entries[key].items()]

    def restore(self, key: Key, entry: Json) -> None:
        """Take over what export gave for a key.

        Raises:
            StateError: it is something else.
        """
        name = self._declared.name
        if not isinstance(entry, list) or not entry or key in self._entries:
            raise StateError(f"state `{name}`: {entry!r:.60} of key {key!r:.60}")
        made: dict[Any, tuple[Json, int]] = {}
        for each in entry:
            if not isinstance(each, list) or len(each) != 3 or type(each[2]) is not int or not self._is_place(each[0]):
                raise StateError(f"state `{name}`: {each!r:.60} of key {key!r:.60}")
            try:
                made[each[0]] = (self._checked(each[1]), each[2])
            except DataError as error:
                raise StateError(str(error)) from None
        self._put(key, made)

    def _is_place(self, place: object) -> bool:
        raise NotImplementedError


class ValueCells(Cells, Generic[T]):
    """One value per key."""

    def get(self, default: T | None = None) -> T | None:
        """Give a copy of the value, or the default if there is none."""
        found = self._one(None)
        return default if found is None else copied(found[0])

    def set(self, value: T) -> None:
        """Write the value.

        Raises:
            DataError: it is not of the type, or JSON cannot say it.
        """
        self._write_one(None, value)

    def _shown(self, values: dict[Any, Json]) -> Json:
        return values.get(None)

    def _is_place(self, place: object) -> bool:
        return place is None


class ListCells(Cells, Generic[T]):
    """A list per key."""

    def append(self, value: T) -> None:
        """Add a value; raises DataError as ValueCells.set does."""
        self.extend([value])

    def extend(self, values: Iterable[T]) -> None:
        """Add values."""
        for value in values:
            entry = self._entries.get(self._frame.key)
            self._write_one(0 if not entry else next(reversed(entry)) + 1, value)

    def set(self, values: Iterable[T]) -> None:
        """Replace all values."""
        self._write(dict(enumerate([(self._checked(value), self._frame.now) for value in values])))

    def __iter__(self) -> Iterator[T]:
        return iter([copied(value) for value, _ in self._live().values()])

    def _shown(self, values: dict[Any, Json]) -> Json:
        return list(values.values())

    def _is_place(self, place: object) -> bool:
        return type(place) is int


class MapCells(Cells, Generic[T]):
    """A map per key."""

    def __getitem__(self, name: str | int) -> T:
        found = self._one(name)
        if found is None:
            raise KeyError(name)
        return copied(found[0])  # type: ignore[no-any-return]

    def get(self, name: str | int, default: T | None = None) -> T | None:
        """Give a copy of an entry's value, or the default."""
        found = self._one(name)
        return default if found is None else copied(found[0])

    def __setitem__(self, name: str | int, value: T) -> None:
        if not self._is_place(name):
            raise DataError(f"state `{self._declared.name}`: a map is from str or int, not {type(name).__name__}")
        self._write_one(name, value)

    def __delitem__(self, name: str | int) -> None:
        if self._one(name) is None:
            raise KeyError(name)
        entry = self._entries[self._frame.key]
        if len(entry) == 1:
            self._write({})
        else:
            self._drop_one(entry, name)

    def __contains__(self, name: object) -> bool:
        return self._one(name) is not None

    def __iter__(self) -> Iterator[str | int]:
        return iter(list(self._live()))

    def items(self) -> list[tuple[str | int, T]]:
        """Give the entries in the order of their first writes."""
        return [(name, copied(value)) for name, (value, _) in self._live().items()]

    def _is_place(self, place: object) -> bool:
        return type(place) is str or type(place) is int


Value: TypeAlias = ValueCells[Any]


def copied(value: Json, where: str = "a value") -> Json:
    """Give a copy of what JSON can say.

    Raises:
        DataError: JSON cannot say it; the text says what.

    >>> copied({"seen": [1, 2.5, None]})
    {'seen': [1, 2.5, None]}
    >>> copied({"at": {1, 2}}, "state `last`")
    Traceback (most recent call last):
    fyke.errors.DataError: state `last`: set {1, 2} is nothing that JSON can say: None, bool, int, float, str, lists
        and dicts with str keys can be kept
    """
    kind = type(value)
    if kind in (str, int, float, bool) or value is None:
        return value
    if kind is list:
        return [copied(each, where) for each in value]
    if kind is dict and all(type(name) is str for name in value):
        return {name: copied(each, where) for name, each in value.items()}
    raise DataError(
        f"{where}: {kind.__name__} {value!r:.60} is nothing that JSON can say: None, bool, int, float, str, lists and "
        "dicts with str keys can be kept"
    )
