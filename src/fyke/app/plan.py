"""What an instance runs: the graph, the topics that feed it, and where its rows go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fyke.app.outlets import Outlet
from fyke.app.topics import Topic
from fyke.errors import DefinitionError, StateError
from fyke.graph import StreamEngine
from fyke.streams import Stream, Table

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an instance runs.

    Attributes:
        topics: by name.
        outlets: by the name of the engine's output.
    """

    topics: Mapping[str, Topic]
    outlets: Mapping[str, Outlet]

    @property
    def streams(self) -> dict[str, Stream | Table]:
        """What the engine is given."""
        return {name: outlet.stream for name, outlet in self.outlets.items()}

    def engine(self) -> StreamEngine:
        """Make an engine."""
        return StreamEngine(self.streams)


def plan_of(app: str, topics: Mapping[str, Topic], outlets: Sequence[Outlet]) -> Plan:
    """Put together what was written, and check it before anything is connected.

    Raises:
        DefinitionError: nothing goes anywhere, a topic feeds nothing, or a stream is fed by nothing.
        StateError: a box cannot be kept in a snapshot, a process that is a local function say.
    """
    if not outlets:
        raise DefinitionError(f'app "{app}": nothing is sent anywhere: say .to("topic") at the end of a stream')
    plan = Plan(dict(topics), {f"{i}": outlet for i, outlet in enumerate(outlets)})
    engine = plan.engine()
    for name in engine.inputs:
        if name not in topics:
            raise DefinitionError(f'app "{app}": stream "{name}" is fed by no topic: make it with app.topic("{name}")')
    for name in topics:
        if name not in engine.inputs:
            raise DefinitionError(f'app "{app}": nothing of topic "{name}" is sent anywhere')
    try:
        engine.snapshot()
    except StateError as error:
        raise StateError(f'app "{app}": {error}') from None
    return plan
