"""The pattern as written: stages with their quantifiers, and everything that is refused when it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .expressions import Condition, condition

LOOPING = "looping"  # one_or_more, times_or_more: no maximum
TIMES = "times"  # times(n), times(n, m)
SINGLE = "single"


class Refused(Exception):
    """The pattern is refused when it is written."""


@dataclass
class Stage:
    """One stage: a condition, or a group of stages, with its place and quantifier."""

    name: str
    contiguity: str
    where: Condition
    group: list[Stage] | None
    kind: str  # SINGLE, TIMES or LOOPING
    least: int  # elements at least; an optional stage may also have none
    most: int
    optional: bool
    greedy: bool
    inner: str  # relaxed, strict or combinations
    until: Condition | None
    gap: int | None  # within(..., PREVIOUS_AND_CURRENT) on the stage
    loop_gap: int | None  # the duration given to the quantifier
    previous: Stage | None = None  # the stage written before it at the same level
    number: int = 0  # its place in the order written, depth first

    @property
    def negative(self) -> bool:
        """Whether the stage is a NOT."""
        return self.contiguity in ("not_next", "not_followed_by")

    @property
    def bound(self) -> int | None:
        """The gap bound that rule W gives to a loop or a group: the smaller of the two that can be written."""
        given = [gap for gap in (self.gap, self.loop_gap) if gap is not None]
        return min(given) if given else None


@dataclass(frozen=True)
class Skip:
    """The strategy after a match."""

    kind: str
    stage: str | None
    throw: bool


@dataclass
class Definition:
    """A whole pattern."""

    stages: list[Stage]
    within: int | None
    skip: Skip


def define(spec: dict[str, Any]) -> Definition:
    """Read the pattern of a corpus case.

    Raises:
        Refused: a stage is written in a way that has no meaning.
    """
    counter = iter(range(10**6))
    stages = _stages(spec["stages"], counter)
    skip = spec.get("skip") or {"kind": "no_skip"}
    definition = Definition(
        stages,
        spec.get("within"),
        Skip(skip["kind"], skip.get("stage"), bool(skip.get("throw"))),
    )
    _check_names(stages)
    if definition.skip.stage is not None and definition.skip.stage not in [s.name for s in stages if s.group is None]:
        raise Refused(f"skip to {definition.skip.stage!r}: no such stage at the top level")
    if _loops_for_ever(stages):
        raise Refused("a loop around a group that can be empty")
    return definition


def _stages(specs: list[dict[str, Any]], counter: Any) -> list[Stage]:
    stages: list[Stage] = []
    for spec in specs:
        number = next(counter)
        previous = stages[-1] if stages else None
        group = _stages(spec["group"]["stages"], counter) if spec.get("group") else None
        stage = Stage(
            name="GroupPattern" if group is not None else spec["name"],  # Flink's name for every group
            contiguity=spec["contiguity"],
            where=condition(spec.get("where")),
            group=group,
            kind=SINGLE,
            least=1,
            most=1,
            optional=False,
            greedy=False,
            inner="relaxed",
            until=None,
            gap=spec.get("within"),
            loop_gap=None,
            previous=previous,
            number=number,
        )
        if stage.negative and previous is not None and previous.optional:
            raise Refused(f"{stage.name!r}: a NOT right after an optional stage")
        _quantify(stage, spec.get("quantifier") or {})
        if spec.get("until") is not None:
            if stage.kind != LOOPING:
                raise Refused(f"{stage.name!r}: until is for one_or_more and times_or_more")
            stage.until = condition(spec["until"])
        stages.append(stage)
    return stages


def _quantify(stage: Stage, spec: dict[str, Any]) -> None:
    kind = spec.get("kind", "one")
    if kind != "one":
        if stage.negative:
            raise Refused(f"{stage.name!r}: a NOT has no quantifier")
        least = 1 if kind == "one_or_more" else spec["min"]
        most = least if kind != "times" or spec.get("max") is None else spec["max"]
        if kind == "times" and least == 0 and most != 0:
            stage.optional, least = True, 1
        if least <= 0 or most < least:
            raise Refused(f"{stage.name!r}: times({spec})")
        stage.kind = TIMES if kind == "times" else LOOPING
        stage.least, stage.most = least, most
        stage.loop_gap = spec.get("within")
    stage.inner = spec.get("inner", "relaxed")
    if stage.inner != "relaxed" and stage.kind == SINGLE:
        raise Refused(f"{stage.name!r}: {stage.inner} is for loops")
    if spec.get("optional"):
        if stage.optional or stage.negative:
            raise Refused(f"{stage.name!r}: cannot be optional (again)")
        if stage.previous is not None and stage.previous.greedy:
            raise Refused(f"{stage.name!r}: optional right after a greedy stage")
        stage.optional = True
    if spec.get("greedy"):
        if stage.kind == SINGLE or stage.group is not None or stage.inner == "combinations":
            raise Refused(f"{stage.name!r}: greedy is for loops of one stage without combinations")
        stage.greedy = True


def _walk(stages: list[Stage]) -> list[Stage]:
    return [s for stage in stages for s in (stage, *_walk(stage.group or []))]


def _check_names(stages: list[Stage]) -> None:
    names = [stage.name for stage in _walk(stages) if stage.group is None]
    if len(names) != len(set(names)):
        raise Refused("stage names must be unique, groups included")


def can_be_empty(stage: Stage) -> bool:
    """Whether a match can do without taking anything in this stage."""
    if stage.negative or stage.optional:
        return True
    return stage.group is not None and all(can_be_empty(part) for part in stage.group)


def _loops_for_ever(stages: list[Stage]) -> bool:
    for stage in stages:
        if stage.group is not None:
            if stage.kind == LOOPING and all(can_be_empty(part) for part in stage.group):
                return True
            if _loops_for_ever(stage.group):
                return True
    return False
