"""What an instance runs: parts of a graph, the topics that feed each, and where its rows go.

A part is what one group of consumers runs: its task p has partition p of all its inputs. Rows that are given another
key leave one part and enter the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fyke.app.outlets import Outlet
from fyke.app.rekey import Rekey
from fyke.app.topics import Topic
from fyke.errors import DefinitionError, StateError
from fyke.graph import StreamEngine
from fyke.nodes import Source, order_of
from fyke.streams import Stream, Table

__all__ = ["Plan", "plans_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A part.

    Attributes:
        group: of its consumers: the app's name, or that of the rekey topic that it reads.
        topics: the user's, by name.
        rekeyed: the app's own that it reads, by name.
        outlets: by the name of the engine's output.
    """

    group: str
    topics: Mapping[str, Topic]
    outlets: Mapping[str, Outlet]
    rekeyed: Mapping[str, Rekey] = field(default_factory=dict)

    @property
    def inputs(self) -> list[str]:
        """The topics that feed it."""
        return [*self.topics, *self.rekeyed]

    @property
    def rekeys(self) -> dict[str, Rekey]:
        """The outlets that are rekey topics."""
        return {name: outlet.target for name, outlet in self.outlets.items() if isinstance(outlet.target, Rekey)}

    @property
    def streams(self) -> dict[str, Stream | Table]:
        """What the engine is given."""
        return {name: outlet.stream for name, outlet in self.outlets.items()}

    @property
    def is_stateless(self) -> bool:
        """Whether each row goes its way by itself: then offsets are all that is to be kept."""
        nodes = order_of([outlet.stream.node for outlet in self.outlets.values()])
        return not self.rekeyed and not self.rekeys and all(isinstance(n, Source) or n.is_stateless for n in nodes)

    def engine(self) -> StreamEngine:
        """Make an engine."""
        return StreamEngine(self.streams)

    def with_rekeys(self, known: Mapping[str, Rekey]) -> Plan:
        """Give the part with what is known of the app's own topics by now."""
        outlets = {
            name: replace(each, target=known[each.target.topic]) if isinstance(each.target, Rekey) else each
            for name, each in self.outlets.items()
        }
        return replace(self, outlets=outlets, rekeyed={name: known[name] for name in self.rekeyed})


def plans_of(app: str, topics: Mapping[str, Topic], rekeys: Sequence[Rekey], outlets: Sequence[Outlet]) -> list[Plan]:
    """Cut what was written into parts, writers before readers, and check them before anything is connected.

    Raises:
        DefinitionError: nothing goes anywhere, a topic feeds nothing, or a stream is fed by nothing.
        StateError: a box cannot be kept in a snapshot, a process that is a local function say.
    """
    if all(isinstance(outlet.target, Rekey) for outlet in outlets):
        raise DefinitionError(f'app "{app}": nothing is sent anywhere: say .to("topic") at the end of a stream')
    own = {rekey.topic: rekey for rekey in rekeys}
    together: list[tuple[set[str], list[Outlet]]] = []
    for outlet in outlets:
        names = {node.name for node in order_of([outlet.stream.node]) if isinstance(node, Source)}
        for name in names:
            if name not in topics and name not in own:
                raise DefinitionError(
                    f'app "{app}": stream "{name}" is fed by no topic: make it with app.topic("{name}")'
                )
        # What reads no topic of the app's own is one part: its topics are cut alike.
        apart = [each for each in together if each[0] & names or not (each[0] & own.keys() or names & own.keys())]
        for each in apart:
            together.remove(each)
        merged = set().union(names, *(each[0] for each in apart))
        together.append((merged, [*(o for each in apart for o in each[1]), outlet]))
    for name in [*topics, *own]:
        if not any(name in names for names, _ in together):
            raise DefinitionError(f'app "{app}": nothing of topic "{name}" is sent anywhere')
    plans = [_plan(app, topics, own, names, outlets, part) for names, part in together]
    for plan in plans:
        try:
            plan.engine().snapshot()
        except StateError as error:
            raise StateError(f'app "{app}": {error}') from None
    return _in_order(app, plans)


def _plan(
    app: str,
    topics: Mapping[str, Topic],
    own: Mapping[str, Rekey],
    names: set[str],
    outlets: Sequence[Outlet],
    part: Sequence[Outlet],
) -> Plan:
    read = {name: rekey for name, rekey in own.items() if name in names}
    numbered = {f"{i}": outlet for i, outlet in enumerate(outlet for outlet in outlets if outlet in part)}
    mine = {name: topic for name, topic in topics.items() if name in names}
    return Plan(next(iter(read), app), mine, numbered, read)


def _in_order(app: str, plans: Sequence[Plan]) -> list[Plan]:
    """Writers before readers."""
    done: list[Plan] = []
    left = list(plans)
    while left:
        written = {rekey.topic for plan in left for rekey in plan.rekeys.values()}
        ready = [plan for plan in left if not plan.rekeyed.keys() & written]
        if not ready:
            raise DefinitionError(f'app "{app}": what is given another key comes back to where it came from')
        done += ready
        left = [plan for plan in left if plan not in ready]
    return done
