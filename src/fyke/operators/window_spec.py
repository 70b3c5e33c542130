"""Definitions of windows and triggers -> the bytes of csrc/window_spec.h; what cannot go together is refused here."""

from __future__ import annotations

import struct
from typing import Final

from fyke.duration import format_ns
from fyke.errors import DefinitionError
from fyke.expr import Expr
from fyke.trigger import Trigger
from fyke.window import CountWindow, GlobalWindow, Hopping, Session, Sliding, Tumbling, Window
from fyke.zones import zone_changes

__all__ = ["check_together", "is_sliced", "spec_bytes", "waits"]

# The numbers are those of csrc/window_spec.h.
_GRID, _SESSION, _COUNT, _SLIDING_COUNT, _GLOBAL = range(5)
_END, _CONTINUOUS, _EVERY, _NEVER = range(4)
_PURGES: Final = 1
_CLOSES: Final = 2
_SLICES: Final = 4


def check_together(window: Window, trigger: Trigger | None, emit_rest: bool) -> None:
    """Refuse what has no meaning, or never gives a result."""
    if isinstance(window, CountWindow | Sliding):
        if trigger is not None:
            raise DefinitionError(f"{window!r}: its rows say when a result comes out, so it takes no {trigger!r}")
    elif isinstance(window, GlobalWindow):
        if trigger is not None and trigger.kind == "at_end":
            raise DefinitionError(f"{window!r} never ends: {trigger!r} would not fire; take trigger.end_of_stream()")
    elif trigger is not None and trigger.kind == "end_of_stream":
        raise DefinitionError(f"{trigger!r} is for global_window(); {window!r} is gone before the input ends")
    counts = isinstance(window, CountWindow) or (trigger is not None and trigger.kind == "count")
    if emit_rest and not counts:
        raise DefinitionError(f"{window!r}: emit_rest is for count windows and trigger.count: there is no other rest")


def waits(window: Window, trigger: Trigger | None, lateness: int) -> list[str]:
    """Say in lines when results come out, and how long a window is kept."""
    rows = f"every {trigger.every} rows" if trigger is not None and trigger.kind == "count" else "every row"
    if isinstance(window, CountWindow):
        step = window.n if window.every is None else window.every
        return [f"a result comes with every {step} rows of the key, by arrival; nothing waits for the watermark"]
    if isinstance(window, GlobalWindow):
        if trigger is None or trigger.kind == "end_of_stream":
            return ["a result comes when the input ends; a key is kept until then"]
        if trigger.kind == "continuous":
            rows = f"each {format_ns(trigger.every or 0)} of event time"
        return [f"a result comes with {rows}; a key is kept for ever"]
    match trigger.kind if trigger is not None else "at_end":
        case "continuous":
            assert trigger is not None
            when = f"with each {format_ns(trigger.every or 0)} of event time, and when the watermark reaches its end"
        case "count" | "per_update":
            when = f"with {rows} of a window"
        case _:
            when = "when the watermark reaches the end of its window"
    until = "its end"
    if lateness:
        until += f" + {format_ns(lateness)}; a late row until then brings its result out again"
    return [f"a result comes {when}", f"a window is kept until the watermark reaches {until}"]


def is_sliced(window: Window) -> bool:
    """Whether windows overlap so much that putting them together from slices is cheaper than adding rows to each."""
    return isinstance(window, Hopping) and window.size >= 4 * window.every


def spec_bytes(
    window: Window, trigger: Trigger | None, lateness: int, emit_rest: bool, gap_column: int, sliced: bool
) -> bytes:
    """The bytes that window_spec_load reads."""
    kind, size, slide, offset = _GRID, 1, 1, 0
    zone: tuple[tuple[int, int], ...] = ()
    match window:
        case Tumbling() | Hopping():
            size, offset = window.size, window.offset
            slide = window.every if isinstance(window, Hopping) else window.size
            zone = () if window.tz is None else zone_changes(window.tz)
        case Session():
            kind, size = _SESSION, 0 if isinstance(window.gap, Expr) else window.gap
        case CountWindow():
            kind, size, slide = (
                (_COUNT, window.n, 1) if window.every is None else (_SLIDING_COUNT, window.n, window.every)
            )
        case GlobalWindow():
            kind = _GLOBAL
        case _:
            raise DefinitionError(f"{window!r} is no window for aggregates")
    fires, every = _trigger(window, trigger)
    closes = emit_rest
    if kind in (_GRID, _SESSION) and not (trigger is not None and trigger.purge):
        closes |= (fires in (_END, _CONTINUOUS) and lateness > 0) or (
            trigger is not None and trigger.kind == "per_update"
        )
    flags = (_PURGES if trigger is not None and trigger.purge else 0) | (_CLOSES if closes else 0)
    flags |= _SLICES if sliced else 0
    numbers = struct.pack("<4I5qI", kind, fires, flags, gap_column, size, slide, offset, lateness, every, len(zone))
    return numbers + b"".join(struct.pack("<2q", *change) for change in zone)


def _trigger(window: Window, trigger: Trigger | None) -> tuple[int, int]:
    if isinstance(window, CountWindow):
        return _NEVER, 1
    if trigger is None:
        return (_NEVER if isinstance(window, GlobalWindow) else _END), 1
    if trigger.kind == "per_update":
        return _EVERY, 1
    fires = {"at_end": _END, "end_of_stream": _END, "continuous": _CONTINUOUS, "count": _EVERY}[trigger.kind]
    return fires, trigger.every or 1
