"""A short notation for cases of windows and joins, as text.

A case is one line ``SPEC ; INPUT``, what it gives stands in the lines after it:

    tumbling 10 late 5 ; a@1 w9 a@2 w14
        a[0,10){0}#1 a[0,10){0,2}#2

Spec: a window, then options; or a join.

    tumbling 10+3        size 10, offset 3             hopping 10/5-1    size 10, every 5, offset -1
    session 10           gap 10                        session v         an element's v is its gap
    count 3, count 3/2   of 3 elements, every 2        global
    late 5, late max     allowed lateness; max: the largest long
    trigger event|continuous N|count N|update|end [purge]
    rest                 emit_rest: what a count trigger or a count window holds at the end comes out
    interval [-2..3)     r.t - l.t from -2 to below 3  join WINDOW, cogroup WINDOW

Input: ``a@5=2`` an element of key a at time 5 with v = 2 (if not given: its place, from 1); ``w9`` a watermark,
``winf`` the last one. In joins ``La@5`` is an element of the left side and ``Rw9`` a watermark of the right. Items are
named by their place, from 0.

Results, in the order in which they come: ``a[0,10){0,2}#3`` key, window, elements, and the item that made it come;
then, if it is to be checked, ``r1`` the revision, ``!`` final or ``?`` not final, ``@9`` its time. A ``+`` before it:
it tells a window's last contents when the window is deleted. Flink has no such results, so they count only where one is
written. ``(0,3)#3`` is a pair, ``({0},{})#3`` one of cogroup's. ``late{4}``, ``no_window{2}`` (windows), ``dropped{5}``
(joins of windows), ``error#2``, ``refused``, ``nothing``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

Json = dict[str, Any]

LARGEST = (1 << 63) - 1
TRIGGERS = {
    "event": "event_time",
    "continuous": "continuous_event_time",
    "count": "count",
    "update": "per_update",
    "end": "end_of_stream",
}
INTERVAL = re.compile(r"([\[(])(-?\d+)\.\.(-?\d+)([\])])")
SIZES = re.compile(r"(\d+)(?:/(\d+))?([+-]\d+)?")
ITEM = re.compile(r"([LR]?)(?:w(inf|-?\d+)|([a-z]+)@(-?\d+)(?:=(-?\d+))?)")
RESULT = re.compile(
    r"(\+?)([a-z]+)(?:\[(-?\d+),(-?\d+)\))?\{([\d,]*)\}#(\d+)(?:r(\d+))?([!?]?)(?:@(-?\d+|inf))?"
    r"|\((\d+|\{[\d,]*\}),(\d+|\{[\d,]*\})\)#(\d+)(?:@(-?\d+|inf))?"
)
SIDE_OUTPUT = re.compile(r"(late|no_window|dropped)\{([\d,]+)\}")


def case(text: str) -> Json:
    """Read the line of a case: the input part of a corpus case, its id the line itself."""
    spec, _, items = text.partition(";")
    read: Json = {"id": text, "allowed_lateness": None, "trigger": None}
    words = spec.split()
    if words[0] == "interval":
        written = INTERVAL.fullmatch(words[1])
        assert written, text
        opening, lower, upper, closing = written.groups()
        bounds = {"lower": int(lower), "upper": int(upper)}
        inclusive = {"lower_inclusive": opening == "[", "upper_inclusive": closing == "]"}
        read["join"] = {"kind": "interval"} | bounds | inclusive
    elif words[0] in ("join", "cogroup"):
        kind = {"join": "window", "cogroup": "cogroup"}[words.pop(0)]
        read["join"] = {"kind": kind, "window": window(words)}
        options(words, read)
    else:
        read["window"] = window(words)
        options(words, read)
    read["input"] = [item(token, place) for place, token in enumerate(items.split())]
    return read


def window(words: list[str]) -> Json:
    """Read a window from the first words, and take them away."""
    kind = words.pop(0)
    if kind == "global":
        return {"kind": kind}
    size = words.pop(0)
    if kind == "session":
        return {"kind": "session_dynamic"} if size == "v" else {"kind": kind, "gap": int(size)}
    written = SIZES.fullmatch(size)
    assert written, size
    first, second, offset = written.groups()
    if kind == "count" and second:
        return {"kind": "count_sliding", "count": int(first), "slide": int(second)}
    if kind == "count":
        return {"kind": kind, "count": int(first)}
    read = {"kind": kind, "size": int(first), "offset": int(offset or 0)}
    return read | ({"slide": int(second)} if second else {})


def options(words: list[str], read: Json) -> None:
    """Read what follows a window."""
    while words:
        word = words.pop(0)
        if word == "late":
            bound = words.pop(0)
            read["allowed_lateness"] = LARGEST if bound == "max" else int(bound)
        elif word == "rest":
            read["emit_rest"] = True
        elif word == "trigger":
            kind = words.pop(0)
            read["trigger"] = {"kind": TRIGGERS[kind]}
            if kind in ("count", "continuous"):
                read["trigger"]["n" if kind == "count" else "interval"] = int(words.pop(0))
            read["trigger"]["purge"] = bool(words) and words[0] == "purge" and bool(words.pop(0))
        else:
            raise ValueError(f"{read['id']}: cannot read {word!r}")


def item(token: str, place: int) -> Json:
    """Read one item of the input."""
    written = ITEM.fullmatch(token)
    assert written, token
    side, watermark, key, time, v = written.groups()
    read: Json = {"side": side.lower()} if side else {}
    if watermark:
        return read | {"watermark": watermark if watermark == "inf" else int(watermark)}
    return read | {"t": int(time), "key": key, "v": int(v or place + 1)}


def disagreements(lines: list[str], outcome: Any, ordered: bool) -> list[str]:
    """Compare written results with an outcome; an empty list if they agree.

    The outcome has `rows` (dicts as in the corpora; revision, final, time and closing where they are checked),
    `failed`, `error_at`, and its side outputs.
    """
    tokens = [token for line in lines for token in line.split()]
    side = {name: [int(i) for i in ids.split(",")] for name, ids in SIDE_OUTPUT.findall(" ".join(tokens))}
    wanted = [token for token in tokens if RESULT.fullmatch(token)]
    errors = [token for token in tokens if token.startswith("error") or token == "refused"]
    known = len(side) + len(wanted) + len(errors) + tokens.count("nothing")
    assert known == len(tokens), f"cannot read all of {tokens}"
    closing = any(token.startswith("+") for token in wanted)
    got = [row for row in outcome.rows if closing or not row.get("closing")]
    wrong = []
    told = [shown(row, token) for row, token in zip(got, wanted, strict=False)]
    if ordered:
        equal = told == wanted and len(got) == len(wanted)
    else:
        equal = Counter(map(bare, wanted)) == Counter(shown(row, "") for row in got)
    if not equal:
        wrong.append(f"wanted {' '.join(wanted)}\n   got {' '.join(map(full, got))}")
    for name in ("late", "no_window", "dropped"):
        if side.get(name, []) != (getattr(outcome, name, None) or []):
            wrong.append(f"{name}: wanted {side.get(name, [])}, got {getattr(outcome, name, None)}")
    failed = [f"error#{outcome.error_at}" if outcome.error_at is not None else "refused"] if outcome.failed else []
    return wrong if failed == errors else [*wrong, f"wanted {errors}, got {failed}"]


def bare(token: str) -> str:
    """Leave the details out of a written result."""
    written = RESULT.fullmatch(token)
    assert written
    return token[len(written[1] or "") : written.end(6) if written[2] else written.end(12)]


def shown(row: Json, like: str) -> str:
    """Write a result with the details that another one has."""
    if "l" in row:
        left, right = (f"{{{','.join(map(str, x))}}}" if isinstance(x, list) else str(x) for x in (row["l"], row["r"]))
        return f"({left},{right})#{row['at']}" + (f"@{moment(row['ts'])}" if "@" in like else "")
    bounds = "" if row["start"] is None else f"[{row['start']},{row['end']})"
    text = "+" if like.startswith("+") and row.get("closing") else ""
    text += f"{row['key']}{bounds}{{{','.join(map(str, row['ids']))}}}#{row['at']}"
    written = RESULT.fullmatch(like)
    _, _, _, _, _, _, revision, final, time, *_ = written.groups() if written else (None,) * 13
    text += f"r{row['revision']}" if revision else ""
    text += ("!" if row["final"] else "?") if final else ""
    return text + (f"@{moment(row['time'])}" if time else "")


def full(row: Json) -> str:
    """Write a result with all its details."""
    return shown(row, "(0,0)#0@0" if "l" in row else "+a{0}#0r0!@0" if "revision" in row else "a{0}#0")


def moment(time: int) -> str:
    """Write a time; the largest long is the end of the input."""
    return "inf" if time == LARGEST else str(time)
