"""Random windows, triggers and inputs, in the JSON format of the corpora; elements have columns of several types."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

END: Json = {"watermark": "inf"}


@st.composite
def windows(draw: st.DrawFn, kinds: tuple[str, ...] = ()) -> Json:
    """A window of any kind, or one of those given; sizes from 1, offsets below zero too, gaps between windows."""
    every = ("tumbling", "hopping", "session", "session_dynamic", "count", "count_sliding", "global")
    kind = draw(st.sampled_from(kinds or every))
    size = draw(st.integers(1, 10))
    slide = draw(st.integers(1, 8)) if kind == "hopping" else size
    match kind:
        case "tumbling" | "hopping":
            grid = {"size": size, "offset": draw(st.integers(1 - slide, slide - 1))}
            return {"kind": kind} | grid | ({"slide": slide} if kind == "hopping" else {})
        case "session":
            return {"kind": kind, "gap": draw(st.integers(1, 6))}
        case "count":
            return {"kind": kind, "count": draw(st.integers(1, 4))}
        case "count_sliding":
            return {"kind": kind, "count": draw(st.integers(1, 4)), "slide": draw(st.integers(1, 4))}
        case "session_dynamic":
            return {"kind": kind, "column": "gap"}
    return {"kind": kind}


@st.composite
def triggers(draw: st.DrawFn, kind: str) -> Json | None:
    """A trigger that goes with the kind of window, or None."""
    if kind.startswith("count") or draw(st.integers(0, 3)) == 0:
        return None
    own = "end_of_stream" if kind == "global" else "event_time"
    chosen = draw(st.sampled_from([own, "continuous_event_time", "count", "per_update"]))
    made: Json = {"kind": chosen, "purge": draw(st.booleans())}
    if chosen == "count":
        made["n"] = draw(st.integers(1, 4))
    if chosen == "continuous_event_time":
        made["interval"] = draw(st.integers(1, 9))
    return made


def rests(window: Json, trigger: Json | None) -> bool:
    """Whether there can be a rest to emit."""
    return str(window["kind"]).startswith("count") or (trigger is not None and trigger["kind"] == "count")


NUMBERS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**53 + 1, -(2**62), 2**63 - 1]))
FLOATS = st.one_of(
    st.none(),
    st.sampled_from([0.1, -0.1, 1.0, 1e16, -1e16, 1e-300, 1e300]),
    st.integers(-4, 4).map(float),
    st.sampled_from([math.inf, -math.inf, math.nan]),
)
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "B", "ä", "\U0001f41f"]))


@st.composite
def rows(draw: st.DrawFn) -> Json:
    """The columns of an element beside its key: numbers near what they cannot hold, special floats, nulls."""
    return {"v": draw(NUMBERS), "x": draw(FLOATS), "s": draw(TEXTS), "gap": draw(st.integers(1, 6))}


@st.composite
def inputs(draw: st.DrawFn, keys: str = "ab", longest: int = 40) -> list[Json]:
    """Elements in some disorder, some between two others; watermarks near those before, some of which jump."""
    jitter = draw(st.sampled_from([0, 2, 8, 20]))
    now, items = draw(st.sampled_from([0, -30])), []
    n = draw(st.integers(0, longest))  # left to itself, Hypothesis makes short lists
    one = st.tuples(st.integers(0, 9), st.integers(0, jitter), st.integers(0, 3))
    for shape, back, step in draw(st.lists(one, min_size=n, max_size=n)):
        now += step if shape % 2 else 2 * step
        if shape < 7:
            key = keys[shape % len(keys)]
            before = [item["t"] for item in items if item.get("key") == key][-2:]
            t = sum(before) // 2 if shape > 4 and len(before) == 2 else now - back  # sessions that one element joins
            items.append({"t": t, "key": key, "row": draw(rows())})
        else:
            items.append({"watermark": now - back + (12 if shape == 9 else 0)})
    return [*items, END] if draw(st.booleans()) else items


@st.composite
def cases(draw: st.DrawFn) -> Json:
    """A window, its trigger, a lateness and an input."""
    window = draw(windows())
    trigger = draw(triggers(window["kind"]))
    lateness = draw(st.sampled_from([0, 0, 1, 5, 30, 2**63 - 1]))
    rest = rests(window, trigger) and draw(st.booleans())
    given: Json = {"window": window, "trigger": trigger, "allowed_lateness": lateness, "emit_rest": rest}
    return given | {"input": draw(inputs())}
