"""Durations to nanoseconds and back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke import DefinitionError
from fyke.duration import format_ns, to_ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10ns", 10),
        ("5us", 5_000),
        ("250ms", 250_000_000),
        ("1s", 1_000_000_000),
        ("10m", 600_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1h 30m", 5_400_000_000_000),
        ("2d", 172_800_000_000_000),
        ("1w", 604_800_000_000_000),
        ("0s", 0),
    ],
)
def test_text_is_read_with_its_units(text: str, ns: int) -> None:
    """Units from nanoseconds to weeks, alone or one after the other."""
    assert to_ns(text) == ns


def test_a_timedelta_is_exact_to_the_microsecond() -> None:
    """Days, seconds and microseconds are added as integers, not as floats."""
    assert to_ns(timedelta(days=10_000, microseconds=1)) == 864_000_000_000_001_000


def test_an_integer_needs_its_unit() -> None:
    """Nobody remembers the unit of a bare number."""
    assert to_ns(3, "ms") == 3_000_000
    with pytest.raises(DefinitionError, match='the duration 3 has no unit: write for example "3s"'):
        to_ns(3)


@pytest.mark.parametrize(
    "value", ["", "ten minutes", "10", "m10", "-5s", "1.5h", "10 q", None, True, 1.5, timedelta(seconds=-1)]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """The error says what to write."""
    with pytest.raises(DefinitionError, match=r"is not a duration|is negative"):
        to_ns(value)  # type: ignore[arg-type]


def test_a_unit_belongs_to_an_integer() -> None:
    """A second unit beside a text would be ignored, so it is refused; so is an unknown one."""
    with pytest.raises(DefinitionError, match="a unit goes with an integer"):
        to_ns("10m", "s")
    with pytest.raises(DefinitionError, match="unit 'min' is not one of"):
        to_ns(10, "min")


def test_the_longest_duration_is_int64_nanoseconds() -> None:
    """One nanosecond more is an error, not a wrap-around."""
    assert to_ns(2**63 - 1, "ns") == 2**63 - 1
    with pytest.raises(DefinitionError, match="too long"):
        to_ns(2**63, "ns")


@given(st.integers(0, 2**63 - 1))
def test_what_is_written_is_read_back(ns: int) -> None:
    """format_ns and to_ns are inverse."""
    assert to_ns(format_ns(ns)) == ns


def test_a_negative_duration_is_written_with_a_sign() -> None:
    """Differences of times may be negative in an error text."""
    assert format_ns(-90_000_000_000) == "-1m30s"
