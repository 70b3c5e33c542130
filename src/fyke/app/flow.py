"""Streams of an app: what `fyke.stream` gives, with a method more, `to`, which says where the rows go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fyke.streams import KeyedStream, Stream, Table, WindowedStream

if TYPE_CHECKING:
    from fyke.app.application import App

__all__ = ["Flow"]

_STREAMS = (Stream, KeyedStream, WindowedStream, Table)


class Flow:
    """A stream of an app. It has all attributes and methods of the stream in it; streams they give are of the app, too.

    Args:
        app: whose it is.
        inner: a Stream, KeyedStream, WindowedStream or Table.
    """

    def __init__(self, app: App, inner: Any) -> None:
        self._app = app
        self.inner = inner

    def to(
        self,
        target: str | Callable[[list[dict[str, Any]]], object],
        *,
        key: str | Sequence[str] | None = None,
        event_time: bool = False,
    ) -> None:
        """Send the rows to a topic, as JSON objects, or to a function.

        Args:
            target: a topic, which is part of what the guarantee of the app says. Or a function of a list of rows, which
                is called at least once for each row, before offsets are committed.
            key: the columns that are the record's key: the text of one, a JSON array of several. None: without a key.
            event_time: give records the time of their row instead of the time of writing. A topic that forgets by time
                then forgets results of old events at once.

        Raises:
            DefinitionError: it is no stream with rows, or the columns are none of its.
        """
        self._app.send(self.inner, target, key=key, event_time=event_time)

    def rekey(self, *keys: str, name: str | None = None, partitions: int | None = None) -> Flow:
        """Give rows another key: they go through a topic of the app's own, so that equal keys meet in one task.

        They come in the order of their times; what is behind the watermark of its partition comes behind it here, too.
        A partition that is silent holds all of them back: say idle= for topics where that can be. The rows have a
        column more, `event_time`. At least once means here that a row may be counted twice.

        Args:
            keys: the columns.
            name: of the topic, APP-NAME-rekey; None: the columns.
            partitions: how many it has; None: as many as the inputs.

        Raises:
            DefinitionError: no such columns, or they are not known when this is written.
        """
        return self._app.rekey(self.inner, *keys, name=name, partitions=partitions)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found) or isinstance(found, _STREAMS):
            return self._of_app(found)

        def call(*arguments: Any, **named: Any) -> Any:
            plain = [_plain(each) for each in arguments]
            return self._of_app(found(*plain, **{name: _plain(each) for name, each in named.items()}))

        return call

    def _of_app(self, value: Any) -> Any:
        if isinstance(value, _STREAMS):
            return Flow(self._app, value)
        if isinstance(value, dict):
            return {name: self._of_app(each) for name, each in value.items()}
        return value

    def __repr__(self) -> str:
        return f"{self._app.name}: {self.inner!r}"


def _plain(value: Any) -> Any:
    return value.inner if isinstance(value, Flow) else value
