"""Joins as values: what they say, and what they refuse."""

import datetime as dt
import json

import pytest

from fyke import DefinitionError, join


def test_an_interval_is_written_with_signed_durations():
    assert join.interval("-5m", "1h") == join.Interval(-300_000_000_000, 3_600_000_000_000)
    assert join.interval(dt.timedelta(seconds=-1), 0, lower_inclusive=False).bounds == (-999_999_999, 0)
    assert hash(join.interval("-5m", 0)) == hash(join.interval("-300s", 0))


def test_a_lower_bound_above_the_upper_one_is_refused():
    with pytest.raises(DefinitionError, match="lower=3s is above upper=2s"):
        join.interval("3s", "2s")


def test_an_empty_interval_is_not_refused():
    lower, upper = join.Interval(0, 0, lower_inclusive=False, upper_inclusive=False).bounds
    assert lower > upper


def test_exclusive_bounds_at_the_ends_of_time_stay_in_range():
    most = 2**63 - 1
    assert join.Interval(most, most, lower_inclusive=False).bounds == (most, most)
    assert join.Interval(-most, -most, upper_inclusive=False).bounds == (-most, -most)


@pytest.mark.parametrize("bounds", [(0.5, 1), (None, 1), (True, 1), (-(2**63), 0), ("x", 0)])
def test_a_bound_is_a_length_of_time(bounds):
    with pytest.raises(DefinitionError):
        join.Interval(*bounds)


@pytest.mark.parametrize("tolerance", [-1, 1.5, True, "-5m", 5])
def test_a_tolerance_is_not_negative_and_has_a_unit(tolerance):
    with pytest.raises(DefinitionError):
        join.asof(tolerance)


def test_a_zero_tolerance_needs_no_unit():
    assert join.asof(0) == join.AsOf(0)


@pytest.mark.parametrize("made", [join.interval("-5m", "5m", upper_inclusive=False), join.asof(), join.asof("3s")])
def test_a_join_goes_to_json_and_back(made):
    assert join.from_json(json.loads(json.dumps(join.to_json(made)))) == made
    assert eval(repr(made), {"join": join}) == made


@pytest.mark.parametrize(
    "node", [{}, {"kind": "hash"}, {"kind": "asof", "lower": 1}, {"kind": "interval", "lower": 1}, 3]
)
def test_json_of_something_else_is_refused(node):
    with pytest.raises(DefinitionError):
        join.from_json(node)


@pytest.mark.parametrize("how", ["cross", None, "INNER", ["left"]])
def test_how_is_one_of_four(how):
    with pytest.raises(DefinitionError, match="inner, left, right, outer"):
        join.check_how(how)
