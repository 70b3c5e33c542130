"""Random patterns, in the JSON format of the corpora, and event streams that match them often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

TYPES = ("a", "b", "c")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
AGGREGATES = ("first", "last", "sum", "count", "min", "max", "avg")


@dataclass
class Scope:
    """What has been written so far: names are given out in order, conditions may refer to earlier stages."""

    names: list[str] = field(default_factory=list)
    taking: list[str] = field(default_factory=list)

    def name(self) -> str:
        """Give out the next stage name."""
        self.names.append(f"s{len(self.names) + 1}")
        return self.names[-1]


def of_type(kind: str) -> Json:
    """Make the condition that an event is of a type."""
    return {"op": "eq", "field": "type", "value": kind}


@st.composite
def comparisons(draw: st.DrawFn, stages: list[str]) -> Json:
    """Compare v with a number, or with what earlier stages hold."""
    op = draw(st.sampled_from(COMPARISONS))
    if not stages or draw(st.booleans()):
        return {"op": op, "field": "v", "value": draw(st.integers(0, 3))}
    aggregate: Json = {
        "stage": draw(st.sampled_from(stages)),
        "agg": draw(st.sampled_from(AGGREGATES)),
        "field": "v",
    }
    if draw(st.booleans()):
        aggregate["empty"] = draw(st.integers(0, 2))
    if draw(st.booleans()):
        return {"op": op, "field": "v", "ref": aggregate}
    sum_of_both = {"add": [aggregate, {"field": "v"}]}
    return {"op": op, "left": sum_of_both, "right": draw(st.integers(0, 5))}


@st.composite
def conditions(draw: st.DrawFn, stages: list[str]) -> Json | None:
    """A type most of the time, sometimes two, any, or a comparison besides."""
    shape = draw(st.integers(0, 11))
    if shape == 0:
        return None
    if shape == 1:
        kinds = draw(st.lists(st.sampled_from(TYPES), min_size=2, max_size=2, unique=True))
        return {"op": "in", "field": "type", "values": sorted(kinds)}
    kind = of_type(draw(st.sampled_from(TYPES)))
    if shape <= 8:
        return kind
    compared = draw(comparisons(stages))
    if shape == 9:
        compared = {"op": "not", "arg": compared}
    return {"op": draw(st.sampled_from(["and", "and", "or"])), "args": [kind, compared]}


@st.composite
def quantifiers(draw: st.DrawFn, group: bool, may_be_optional: bool) -> Json:
    """Any quantifier; greedy where it is allowed."""
    kind = draw(st.sampled_from(["one", "one", "one_or_more", "times", "times_or_more"]))
    made: Json = {"kind": kind, "optional": False, "greedy": False, "inner": "relaxed", "min": 1, "max": 1}
    if kind != "one":
        made["inner"] = draw(st.sampled_from(["relaxed", "relaxed", "strict", "combinations"]))
        made["max"] = None
        if kind == "times":
            made["min"] = draw(st.integers(0 if may_be_optional else 1, 2))
            made["max"] = made["min"] + draw(st.integers(0 if made["min"] else 1, 2))
        elif kind == "times_or_more":
            made["min"] = draw(st.integers(1, 2))
        if not group and made["inner"] != "combinations":
            made["greedy"] = draw(st.booleans())
        if draw(st.integers(0, 5)) == 0:
            made["within"] = draw(st.integers(1, 6))
    if may_be_optional and made["min"] != 0:
        made["optional"] = draw(st.integers(0, 3)) == 0
    return made


@st.composite
def chains(draw: st.DrawFn, scope: Scope, depth: int, longest: int) -> list[Json]:
    """A sequence of stages at one level."""
    stages: list[Json] = []
    length = draw(st.integers(1, longest))
    before: Json | None = None  # the quantifier of the stage before; None after a NOT
    for place in range(length):
        contiguity = "begin"
        if place:
            contiguity = draw(st.sampled_from(["next", "followed_by", "followed_by", "followed_by_any"]))
            follows_optional = before is None or before["optional"] or before["min"] == 0
            if not follows_optional and (place < length - 1 or depth == 0) and draw(st.integers(0, 5)) == 0:
                contiguity = draw(st.sampled_from(["not_next", "not_followed_by"]))
        stage: Json = {"name": None, "contiguity": contiguity, "until": None, "within": None}
        if contiguity.startswith("not"):
            stage["name"] = scope.name()
            stage["where"] = draw(conditions(scope.taking))
            stage["quantifier"] = {"kind": "one", "optional": False, "greedy": False, "inner": "relaxed"}
            before = None
        else:
            group = depth < 2 and draw(st.integers(0, 4)) == 0
            quantifier = draw(quantifiers(group, before is None or not before["greedy"]))
            if group:
                stage["group"] = {"stages": draw(chains(scope, depth + 1, 2))}
            else:
                stage["name"] = scope.name()
                own = [stage["name"]] if quantifier["kind"] != "one" else []
                stage["where"] = draw(conditions(scope.taking + own))
                scope.taking.append(stage["name"])
            stage["quantifier"] = before = quantifier
            if quantifier["kind"].endswith("or_more") and draw(st.integers(0, 4)) == 0:
                stage["until"] = draw(conditions(scope.taking)) or of_type("c")
        if place and draw(st.integers(0, 6)) == 0:
            stage["within"] = draw(st.integers(1, 6))
        stages.append(stage)
    return stages


@st.composite
def patterns(draw: st.DrawFn) -> Json:
    """A whole pattern. Some are refused: both sides must say so."""
    scope = Scope()
    stages = draw(chains(scope, 0, 4))
    trailing = stages[-1]["contiguity"] == "not_followed_by" and stages[-1]["within"] is None
    within = draw(st.integers(6, 12)) if trailing or draw(st.booleans()) else None
    kinds = ["no_skip", "no_skip", "to_next", "past_last_event"]
    top = [stage["name"] for stage in stages if stage["name"] and not stage["contiguity"].startswith("not")]
    skip: Json = {"kind": draw(st.sampled_from([*kinds, "to_first", "to_last"] if top else kinds))}
    if skip["kind"] in ("to_first", "to_last"):
        skip |= {"stage": draw(st.sampled_from(top)), "throw": draw(st.integers(0, 7)) == 0}
    return {"stages": stages, "within": within, "skip": skip}


@st.composite
def streams(draw: st.DrawFn, longest: int = 14) -> list[Json]:
    """Events in order of time, several at the same time now and then."""
    steps = draw(st.sampled_from([(1,), (0, 1, 2), (0, 0, 1), (1, 2, 5), (1, 1, 9)]))
    kinds = draw(st.sampled_from([TYPES, TYPES, TYPES[:2]]))
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(kinds), st.integers(0, 3), st.sampled_from(steps)), min_size=1, max_size=longest
        )
    )
    time, events = 0, []
    for position, (kind, v, step) in enumerate(rows):
        time += step
        events.append({"t": time, "type": kind, "v": v, "id": position})
    return events


@st.composite
def cases(draw: st.DrawFn) -> Json:
    """A pattern and a stream."""
    return {"id": "random", "pattern": draw(patterns()), "events": draw(streams())}
