"""A short notation for cases: patterns, events and what they give, as text.

A case is one line ``PATTERN ; EVENTS ; OPTIONS`` and lines with its results:

    a:a ->b:b{+} ->c:c ; a b b c
        a1 b1 b2 c1
        a1 b1 c1

Pattern: stages separated by blanks, each OP NAME:CONDITION{QUANTIFIER}~UNTIL%GAP

    OP          first stage: none; > next, -> followed_by, => followed_by_any, !> not_next, !-> not_followed_by
    CONDITION   a (type is a), a/b (type is one of), * (any), each also with [v OP VALUE]: a[v>2], b[v==a], b[v<sum(a)]
                (VALUE: a number; a stage: its last v; first|sum|count|min|max|avg(stage))
    QUANTIFIER  n times, n,m times, n, or more, + one or more; then ? optional, g greedy, s consecutive,
                c combinations, wN gap bound in the loop
    UNTIL       like CONDITION;  GAP  bound on the gap to the previous event
    group       OP( stages ){QUANTIFIER}~UNTIL%GAP, with blanks inside the brackets

Events: TYPE@T=V separated by blanks; T defaults to the position from 1, V to 0.
Options: within=N  skip=to_next|past_last_event|to_first:STAGE|to_last:STAGE (and :throw)

Results, one a line: the events of a match in the order taken, a1 the first event of type a; then, if it is to be
checked, where it was emitted: @b2 on that event, @<b2 by the time that passed before it, @end at the end of the input.
``timeout a1 t=10 @<b2`` is a timed-out partial match; ``error @b2`` a runtime error, ``refused`` a pattern that is
refused. ``none`` says that there is nothing.
"""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

OPERATORS = {
    "": "begin",
    ">": "next",
    "->": "followed_by",
    "=>": "followed_by_any",
    "!>": "not_next",
    "!->": "not_followed_by",
}
COMPARISONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}

CONDITION = r"[\w/*]+(?:\[v[^\]]*\])?"
TAIL = rf"(?:\{{([^}}]*)\}})?(?:~({CONDITION}))?(?:%(\d+))?"
STAGE = re.compile(rf"(!->|!>|->|=>|>|)(\w+):({CONDITION}){TAIL}")
GROUP_BEGIN = re.compile(r"(->|=>|>|)\(")
GROUP_END = re.compile(rf"\){TAIL}")
QUANTIFIER = re.compile(r"(\+|\d+,\d+|\d+,|\d+|)([?gsc]*)(?:w(\d+))?")
EVENT = re.compile(r"([a-z]+)(?:@(-?\d+))?(?:=(-?\d+))?")


def case(text: str) -> Json:
    """Read the line of a case: the input part of a corpus case, its id the line itself."""
    pattern_text, events_text, *rest = (part.strip() for part in text.split(";"))
    options = dict(option.split("=", 1) for part in rest for option in part.split())
    pattern = {"stages": stages(pattern_text), "within": None, "skip": {"kind": "no_skip"}}
    if "within" in options:
        pattern["within"] = int(options.pop("within"))
    if "skip" in options:
        kind, *target = options.pop("skip").split(":")
        pattern["skip"] = {"kind": kind}
        if target:
            pattern["skip"] |= {"stage": target[0], "throw": target[1:] == ["throw"]}
    if options:
        raise ValueError(f"{text}: unknown options {options}")
    return {"id": text, "pattern": pattern, "events": events(events_text)}


def stages(text: str) -> list[Json]:
    """Read the stages of a pattern."""
    levels: list[list[Json]] = [[]]
    for token in text.split():
        if opening := GROUP_BEGIN.fullmatch(token):
            levels[-1].append({"name": None, "contiguity": OPERATORS[opening[1]], "group": {"stages": []}})
            levels.append([])
            continue
        if closing := GROUP_END.fullmatch(token):
            inner = levels.pop()
            stage = levels[-1][-1]
            stage["group"]["stages"] = inner
            quantified, until, gap = closing.groups()
        elif written := STAGE.fullmatch(token):
            operator, name, where, quantified, until, gap = written.groups()
            stage = {"name": name, "contiguity": OPERATORS[operator], "where": condition(where)}
            levels[-1].append(stage)
        else:
            raise ValueError(f"{text}: cannot read {token!r}")
        stage["quantifier"] = quantifier(quantified or "")
        stage["until"] = condition(until) if until else None
        stage["within"] = int(gap) if gap else None
    (whole,) = levels
    return whole


def condition(text: str) -> Json | None:
    """Read a condition."""
    types, _, comparison = text.partition("[")
    parts: list[Json] = []
    if types != "*":
        one = "/" not in types
        parts.append(
            {"op": "eq", "field": "type", "value": types}
            if one
            else {"op": "in", "field": "type", "values": types.split("/")}
        )
    if comparison:
        written = re.fullmatch(r"v(==|!=|<=|>=|<|>)(.+)\]", comparison)
        assert written, text
        parts.append({"op": COMPARISONS[written[1]], "left": {"field": "v"}, "right": value(written[2])})
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"op": "and", "args": parts}


def value(text: str) -> Any:
    """Read what v is compared with."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    written = re.fullmatch(r"(?:(first|last|sum|count|min|max|avg)\()?(\w+)\)?", text)
    assert written, text
    return {"stage": written[2], "agg": written[1] or "last", "field": "v"}


def quantifier(text: str) -> Json:
    """Read what stands in braces."""
    written = QUANTIFIER.fullmatch(text)
    assert written, text
    count, flags, gap = written.groups()
    read: Json = {"kind": "one", "min": 1, "max": 1}
    if count == "+":
        read = {"kind": "one_or_more", "min": 1, "max": None}
    elif count.endswith(","):
        read = {"kind": "times_or_more", "min": int(count[:-1]), "max": None}
    elif count:
        least, _, most = count.partition(",")
        read = {"kind": "times", "min": int(least), "max": int(most or least)}
    read["optional"] = "?" in flags
    read["greedy"] = "g" in flags
    read["inner"] = "strict" if "s" in flags else "combinations" if "c" in flags else "relaxed"
    if gap:
        read["within"] = int(gap)
    return read


def events(text: str) -> list[Json]:
    """Read the events."""
    found = []
    for position, token in enumerate(text.split()):
        written = EVENT.fullmatch(token)
        assert written, token
        kind, time, v = written.groups()
        found.append({"t": int(time or position + 1), "type": kind, "v": int(v or 0), "id": position})
    return found


def labels(rows: list[Json]) -> dict[str, int]:
    """Name the events: the type, and a number that counts its events."""
    counts: dict[str, int] = {}
    named = {}
    for row in rows:
        counts[row["type"]] = counts.get(row["type"], 0) + 1
        named[f"{row['type']}{counts[row['type']]}"] = row["id"]
    return named


def disagreements(results: list[str], given: Json, outcome: Any) -> list[str]:
    """Compare written results with an outcome; an empty list if they agree.

    What a line does not state (the place) is not compared.
    """
    named = labels(given["events"])
    actual = describe(given, outcome)
    wanted = [] if results == ["none"] else [" ".join(line.split()) for line in results]
    left = list(actual)
    wrong = []
    for line in wanted:
        for name in re.findall(r"(?<![=\w])[a-z]+\d+", line):
            if name not in named:
                raise ValueError(f"{line!r} names {name}, which is no event of: {given['id']}")
        found = next((text for text in left if text == line or ("@" not in line and text.split(" @")[0] == line)), None)
        if found is None:
            wrong.append(f"missing: {line}")
        else:
            left.remove(found)
    return wrong + [f"too many: {line}" for line in left]


def describe(given: Json, outcome: Any) -> list[str]:
    """Write an outcome as result lines."""
    if outcome.error_kind == "compile":
        return ["refused"]
    names = {position: name for name, position in labels(given["events"]).items()}

    def place(position: int | None) -> str:
        return "@end" if position is None else f"@<{names[position]}"

    def taken(match: dict[str, list[int]]) -> str:
        return " ".join(names[i] for i in sorted(i for ids in match.values() for i in ids))

    lines = [
        f"{taken(match)} {f'@{names[at]}' if kind == 'event' else place(at)}"
        for match, (kind, at) in zip(outcome.matches, outcome.match_at, strict=True)
    ]
    lines += [f"timeout {taken(t['partial'])} t={t['t']} {place(t['at'])}" for t in outcome.timeouts]
    if outcome.error_kind == "runtime":
        lines.append("error " + ("@end" if outcome.error_at is None else f"@{names[outcome.error_at]}"))
    return lines
