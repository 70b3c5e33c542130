"""The two profiles of the pattern semantics: Flink's own, and fyke's with its named deviations.

Each flag is one rule of docs/semantics.md; the code that a flag switches names the rule's letter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Which of the named deviations hold."""

    name: str
    exact_time: bool  # E: every deadline fires by itself, in order
    ordered_ties: bool  # T: completed matches are ordered by the events taken, not by a heap's accidents
    match_once: bool  # D: a match that can be read in several ways is reported once
    free_after_maximum: bool  # G: what comes after a greedy range's maximum is not held against the match
    loop_gaps: bool  # W: a gap bound guards every element of a loop, and groups
    absence_at_once: bool  # N: a branch waits for the trailing absence from the event that brought it there
    not_spares_start: bool  # R: a NOT met by a match that has taken nothing ends nothing

    @property
    def deviations(self) -> str:
        """The letters of the rules that hold."""
        flags = (self.exact_time, self.ordered_ties, self.match_once, self.free_after_maximum, self.loop_gaps)
        flags += (self.absence_at_once, self.not_spares_start)
        return "".join(letter for letter, on in zip("ETDGWNR", flags, strict=True) if on)


FLINK = Profile("flink", False, False, False, False, False, False, False)
FYKE = Profile("fyke", True, True, True, True, True, True, True)
PROFILES = {profile.name: profile for profile in (FLINK, FYKE)}
