"""Random joins and inputs of two sides, in the JSON format of the corpora."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.property.window_strategies import rests, triggers, windows

Json = dict[str, Any]

HOWS = ("inner", "left", "right", "outer")
END = [{"side": "l", "watermark": "inf"}, {"side": "r", "watermark": "inf"}]


@st.composite
def intervals(draw: st.DrawFn) -> Json:
    """An interval, some of them empty."""
    lower = draw(st.integers(-6, 6))
    inclusive = {f"{bound}_inclusive": draw(st.sampled_from([True, True, False])) for bound in ("lower", "upper")}
    upper = lower + draw(st.integers(0, 6))
    return {"kind": "interval", "lower": lower, "upper": upper, "how": draw(st.sampled_from(HOWS))} | inclusive


@st.composite
def asofs(draw: st.DrawFn) -> Json:
    """An as-of join, with and without rows that delete."""
    tolerance = draw(st.one_of(st.none(), st.integers(0, 8)))
    how, delete = draw(st.sampled_from(["inner", "left"])), draw(st.booleans())
    return {"kind": "asof", "tolerance": tolerance, "how": how, "delete": delete}


@st.composite
def windowed(draw: st.DrawFn) -> Json:
    """A join by window, as pairs or groups, with all that goes with windows: a case without its input."""
    window = draw(windows(("tumbling", "hopping", "hopping", "session", "session", "count", "count_sliding", "global")))
    trigger = draw(triggers(window["kind"]))
    join = {"kind": draw(st.sampled_from(["window", "cogroup"])), "window": window, "how": draw(st.sampled_from(HOWS))}
    lateness = draw(st.sampled_from([0, 0, 3, 20, 2**63 - 1]))
    rest = rests(window, trigger) and draw(st.booleans())
    return {"join": join, "trigger": trigger, "allowed_lateness": lateness, "emit_rest": rest}


@st.composite
def inputs(draw: st.DrawFn, keys: str = "ab", longest: int = 40) -> list[Json]:
    """Elements and watermarks of both sides: times that rise and jitter, watermarks near the elements before."""
    jitter = draw(st.integers(0, 8))
    now, items = draw(st.sampled_from([0, -20])), []
    n = draw(st.integers(0, longest))  # left to itself, Hypothesis makes short lists
    one = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(-2, 2))
    shapes = draw(st.lists(one, min_size=n, max_size=n))
    for shape, place, off in shapes:
        now += max(0, off)
        side = "lr"[shape % 2]
        if shape < 6:
            t = now - (place if place <= jitter else 0)
            items.append({"side": side, "t": t, "key": keys[place % len(keys)], "v": place - 3})
        elif shape < 8:
            items.append({"side": side, "watermark": now + off - jitter})
        else:
            items += [{"side": each, "watermark": now + off - jitter} for each in "lr"]
    return [*items, *END] if draw(st.booleans()) else items
