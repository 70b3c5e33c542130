"""Parts of an app with what only the brokers know: how inputs are cut, and that the app's own topics are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fyke.app.changelog import SETTINGS, changelog_of
from fyke.app.plan import Plan
from fyke.app.rekey import Rekey
from fyke.errors import DefinitionError
from fyke.kafka.admin import Admin
from fyke.kafka.consumer import Partition

__all__ = ["Part", "prepared"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part that can be run.

    Attributes:
        number: 0 is the one that reads the user's topics.
        plan: what it runs.
        partitions: how many each of its inputs has.
    """

    number: int
    plan: Plan
    partitions: int

    @property
    def inputs(self) -> list[Partition]:
        """All partitions of its inputs."""
        return [Partition(topic, number) for topic in self.plan.inputs for number in range(self.partitions)]


def prepared(admin: Admin, plans: Sequence[Plan], has_changelog: bool) -> list[Part]:
    """Look up how the inputs are cut, and make the topics that are the app's own.

    Args:
        admin: of the cluster.
        plans: writers before readers.
        has_changelog: whether states are kept in topics.

    Raises:
        DefinitionError: a topic is missing, or inputs of one task are not cut alike. BrokerError: no answer.
    """
    known: dict[str, Rekey] = {}
    parts = []
    for number, plan in enumerate(plans):
        partitions = _equal(admin.partitions(plan.topics) | {name: known[name].partitions for name in plan.rekeyed})
        for rekey in plan.rekeys.values():
            cut = replace(rekey, partitions=rekey.partitions or partitions, origins=partitions)
            known[rekey.topic] = cut
            _make(admin, rekey.topic, cut.partitions, {"cleanup.policy": "delete"})
        if has_changelog:
            _make(admin, changelog_of(plan.group), partitions, SETTINGS)
        parts.append(Part(number, plan.with_rekeys(known), partitions))
    return parts


def _make(admin: Admin, topic: str, partitions: int, settings: Mapping[str, str]) -> None:
    if not admin.make(topic, partitions, settings):
        there = admin.partitions([topic])[topic]
        if there != partitions:
            raise DefinitionError(f"{topic} has {there} partitions and must have {partitions}, for as many tasks")


def _equal(counts: Mapping[str, int]) -> int:
    """The number of partitions, which is the same for all inputs: a task has partition p of each."""
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{topic} {n}" for topic, n in counts.items())
        raise DefinitionError(f"inputs must have equally many partitions, cut by one partitioner; they have: {said}")
    return next(iter(counts.values()))
