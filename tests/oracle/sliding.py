"""The reference of a window for each element: those of its key from a length of time before it up to its own time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .javalong import MIN
from .window_definition import Element
from .windows import watermark_of


@dataclass(frozen=True)
class Slid:
    """The window of one element.

    Attributes:
        element: whose window it is; the result has its time.
        elements: what is in it, in order of arrival; elements of equal time are in each other's.
        at: place in the input of the watermark that has passed the element.
    """

    element: Element
    elements: tuple[Element, ...]
    at: int


def run_sliding(items: Iterable[dict[str, Any]], before: int) -> tuple[list[Slid], list[int]]:
    """Give the windows in order of time and arrival, and the places of late elements (t <= watermark)."""
    watermark = MIN
    taken: list[Element] = []
    marks: list[tuple[int, int]] = []
    late = []
    for at, item in enumerate(items):
        if "watermark" in item:
            watermark = max(watermark, watermark_of(item))
            marks.append((watermark, at))
        elif item["t"] <= watermark:
            late.append(at)
        else:
            taken.append(Element(at, item["t"], item["key"], row=item["row"]))
    found = []
    for element in sorted(taken, key=lambda e: (e.t, e.id)):
        passed = next((at for reached, at in marks if reached >= element.t), None)
        if passed is not None:
            own = [e for e in taken if e.key == element.key and element.t - before <= e.t <= element.t]
            found.append(Slid(element, tuple(own), passed))
    return found, late
