"""Rows as JSON text and back: what JSON lacks is tagged, and what cannot be written says so."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fyke import StateError
from fyke.rowjson import dump_row, load_row

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=30))]))
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
NAMES = st.text() | st.sampled_from(["$bytes", "$dict", "$", "$date"])
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v) | st.lists(v).map(tuple) | st.dictionaries(NAMES, v) | st.dictionaries(SCALARS, v),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(NAMES, VALUES))
def test_a_row_comes_back_as_it_was(row: dict[str, Any]) -> None:
    """With the types that JSON has no words for."""
    assert load_row(dump_row(row)) == row


@pytest.mark.parametrize(
    "value",
    [
        {"$bytes": "MQ=="},
        {"$datetime": "2024-01-01"},
        {"$uuid": 1},
        {"$date": "x"},
        {"one": 1},
        {"$": {"$bytes": 1}},
        {"$$bytes": "MQ=="},
    ],
)
def test_data_that_looks_like_a_tag_comes_back_as_it_was(value: Any) -> None:
    """A mapping of the user's with one key is no tag of ours, whatever the key."""
    assert load_row(dump_row({"x": value})) == {"x": value}


def test_numbers_that_are_not_numbers_survive() -> None:
    """NaN and the infinities, as Python's JSON writes them."""
    row = load_row(dump_row({"a": math.nan, "b": math.inf, "c": -0.0}))
    assert math.isnan(row["a"])
    assert row["b"] == math.inf
    assert math.copysign(1, row["c"]) == -1


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.datetime64("2024-01-01T00:00:00.000000001"), np.datetime64("2024-01-01T00:00:00.000000001")),
        (np.timedelta64(5, "ns"), np.timedelta64(5, "ns")),
        (bytearray(b"x"), b"x"),
        ({"b", "a"}, {"a", "b"}),
        (frozenset({1}), frozenset({1})),
        (dt.time(1, 2), dt.time(1, 2)),
        (pd.Timestamp(1), pd.Timestamp(1)),
        (pd.Timestamp(1, tz="Europe/Zurich"), pd.Timestamp(1, tz="Europe/Zurich")),
        (pd.Timedelta(1), pd.Timedelta(1)),
    ],
)
def test_numpy_and_near_types_come_back_as_pythons(value: Any, back: Any) -> None:
    """The type may be the plainer one; the value is the same."""
    assert load_row(dump_row({"x": value})) == {"x": back}


def test_the_second_of_two_equal_times_stays_the_second() -> None:
    """When clocks are put back; and what pandas calls no time stays one."""
    again = dt.datetime(2024, 10, 27, 2, 30, fold=1)
    row = load_row(dump_row({"at": again, "t": again.time(), "never": pd.NaT}))
    assert (row["at"].fold, row["t"].fold, row["never"]) == (1, 1, pd.NaT)


def test_text_of_the_dump_is_plain_json() -> None:
    """Other tools can read it."""
    text = dump_row({"at": dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "n": 1})
    assert json.loads(text) == {"at": {"$datetime": "2024-01-02T00:00:00+00:00"}, "n": 1}


@pytest.mark.parametrize("value", [object(), 1j, test_text_of_the_dump_is_plain_json])
def test_what_has_no_json_form_is_named(value: Any) -> None:
    """With its row."""
    with pytest.raises(StateError, match="cannot be written into a snapshot"):
        dump_row({"x": value})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[1]", "1", "null", '{"x": {"$datetime": "yesterday"}}', '{"x": {"$bytes": 5}}', '{"x": {"$uuid": 1}}',
        '{"x": {"$decimal": "x"}}', '{"x": {"$timedelta": ["a"]}}', '{"x": {"$date": null}}', '{"$what": 1}',
        '{"x": {"$timedelta": [1e99]}}', '{"x": {"$dict": [[[], 1]]}}', '{"x": {"$set": [[]]}}', '{"x": {"$dict": 1}}',
        '{"x": {"$bytes": "?"}}', '{"x": {"$numpy": []}}', '{"x": {"$numpy": ["i8", 1]}}',
        '{"x": {"$numpy": ["?!", 1]}}', '{"x": {"$pandas": ["eval", 1, null]}}', '{"x": {"$datetime": []}}',
        '{"x": {"$pandas": ["Timestamp", 1, "?"]}}',
    ],
)  # fmt: skip
def test_a_damaged_row_is_an_error_of_ours(text: str) -> None:
    """Whatever stands in it."""
    with pytest.raises(StateError, match="snapshot"):
        load_row(text)
