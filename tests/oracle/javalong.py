"""What profile flink needs of Java: 64-bit integers that wrap, a remainder towards zero, the order of a hash set."""

from __future__ import annotations

from collections.abc import Iterable

MIN, MAX = -(1 << 63), (1 << 63) - 1
"""The smallest and the largest long: no watermark yet, and the last watermark."""

_WORD = 1 << 64


def wrapped(number: int) -> int:
    """Return what a long holds of the number."""
    return (number - MIN) % _WORD + MIN


def remainder(number: int, divisor: int) -> int:
    """Return Java's %: of the quotient rounded towards zero."""
    rest = number % divisor
    return rest - divisor if rest and number < 0 else rest


def hash_set_order(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put windows, given in the order in which they are added, into the order in which a HashSet yields them.

    Buckets are a power of two, doubled when they are more than three quarters full; in a bucket the order is that of
    adding. A window's hash mixes the bits of start + end (SplitMix64's finalizer); HashMap folds its upper half in.
    """
    added = list(dict.fromkeys(windows))
    buckets = 16
    while 4 * len(added) > 3 * buckets:
        buckets *= 2

    def bucket(window: tuple[int, int]) -> int:
        bits = sum(window) % _WORD
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            bits = (bits ^ bits >> shift) * factor % _WORD
        bits = (bits ^ bits >> 31) % (1 << 32)
        return (bits ^ bits >> 16) % buckets

    return sorted(added, key=bucket)
