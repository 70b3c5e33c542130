"""Windows and triggers as values: what is refused and in which words, how they are written, JSON and back."""

import datetime as dt

import pytest

import fyke
from fyke import DefinitionError, ExpressionError, call, col, prev, ref, trigger, window

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

WINDOWS = [
    fyke.tumbling("1m"),
    fyke.tumbling("1h", offset="15m"),
    fyke.tumbling("1h", offset="-15m"),
    fyke.tumbling("7d", tz="Europe/Zurich", offset="1d"),
    fyke.hopping("10m", "1m"),
    fyke.hopping("3s", "5s", offset="-2s"),
    fyke.hopping("7d", "1d", tz="America/New_York"),
    fyke.session("30m"),
    fyke.session(col.pause),
    fyke.count_window(100),
    fyke.count_window(100, every=10),
    fyke.global_window(),
    fyke.sliding("5m"),
    fyke.sliding("0s"),
]
TRIGGERS = [
    trigger.at_end(),
    trigger.at_end(purge=True),
    trigger.continuous("10s"),
    trigger.count(5, purge=True),
    trigger.per_update(),
    trigger.end_of_stream(),
]


@pytest.mark.parametrize("value", WINDOWS, ids=repr)
def test_a_window_is_written_as_the_code_that_makes_it(value):
    assert eval(repr(value), vars(window) | {"col": col}) == value


@pytest.mark.parametrize("value", WINDOWS, ids=repr)
def test_a_window_goes_to_json_and_back(value):
    back = window.from_json(window.to_json(value))
    assert back == value
    assert hash(back) == hash(value)


@pytest.mark.parametrize("value", TRIGGERS, ids=repr)
def test_a_trigger_is_written_as_the_code_that_makes_it_and_goes_to_json_and_back(value):
    assert eval(repr(value), {"trigger": trigger}) == value
    assert trigger.from_json(trigger.to_json(value)) == value


def test_different_windows_are_different():
    assert len(set(WINDOWS)) == len(WINDOWS)
    assert len(set(TRIGGERS)) == len(TRIGGERS)
    assert fyke.session(col.a) != fyke.session(col.b) != fyke.session("1s")


def test_lengths_of_time_are_texts_timedeltas_and_never_bare_numbers():
    assert fyke.tumbling("1h").size == fyke.tumbling(dt.timedelta(hours=1)).size == HOUR
    assert fyke.tumbling("1h", offset=dt.timedelta(minutes=-15)).offset == -15 * 60 * SECOND
    with pytest.raises(DefinitionError, match="the duration 5 has no unit"):
        fyke.tumbling(5)
    with pytest.raises(DefinitionError, match="the duration 5 has no unit"):
        fyke.tumbling("1h", offset=5)


def test_a_frozen_value_cannot_be_changed():
    with pytest.raises(AttributeError):
        fyke.tumbling("1h").size = 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fyke.tumbling("0s"), "tumbling: size is a length of time above 0"),
        (lambda: fyke.tumbling("-5s"), "is not a duration"),
        (lambda: fyke.tumbling("10s", offset="10s"), "the offset 10s is not shorter than size=10s: take 0s"),
        (lambda: fyke.tumbling("10s", offset="-12s"), "the offset -12s is not shorter than size=10s: take 8s"),
        (lambda: fyke.hopping("10s", "5s", offset="5s"), "not shorter than every=5s"),
        (lambda: fyke.hopping("10s", "0s"), "hopping: every is a length of time above 0"),
        (lambda: fyke.tumbling("1h", tz="Europe/Zurich"), "size is a number of whole days, not 1h: hours do"),
        (lambda: fyke.hopping("36h", "1d", tz="UTC"), "with a time zone the size is a number of whole days, not 1d12h"),
        (lambda: fyke.tumbling("1d", tz="Europe/Zuerich"), "there is no time zone 'Europe/Zuerich'"),
        (lambda: fyke.tumbling("1d", tz="../../etc/passwd"), "there is no time zone"),
        (lambda: fyke.tumbling("1d", tz=5), "tz is the name of a time zone"),
        (lambda: fyke.session("0s"), "session: gap is a length of time above 0"),
        (lambda: fyke.session(prev.t), r"session\(prev.t\): it can read only the columns of its own row"),
        (lambda: fyke.session(ref("a").gap), "it can read only the columns of its own row"),
        (lambda: fyke.count_window(0), "n is a number of rows from 1"),
        (lambda: fyke.count_window(True), "n is a number of rows from 1"),
        (lambda: fyke.count_window(5, every=0), "every is a number of rows from 1"),
        (lambda: fyke.sliding(5), "the duration 5 has no unit"),
        (lambda: window.Sliding(-1), "sliding: -1 is not a length of time"),
        (lambda: window.from_json({"kind": "round"}), "not the JSON of a window"),
        (lambda: window.from_json({"kind": "tumbling"}), "not the JSON of a window"),
        (lambda: window.from_json({"kind": "tumbling", "size": 1.5, "offset": 0, "tz": None}), "above 0, in ns"),
        (lambda: trigger.continuous("0s"), "trigger continuous: an interval above 0"),
        (lambda: trigger.count(0), "trigger count: a number of rows from 1"),
        (lambda: trigger.Trigger("at_end", 5), "trigger at_end: it takes no number, got 5"),
        (lambda: trigger.Trigger("sometimes"), "'sometimes' is not one of at_end, continuous"),
        (lambda: trigger.at_end(purge=1), "purge is True or False, not 1"),
        (lambda: trigger.from_json({"kind": "count"}), "a number of rows from 1"),
        (lambda: trigger.from_json({"kind": "count", "n": 1}), "not the JSON of a trigger"),
    ],
)
def test_what_is_wrong_is_refused_where_it_is_written(make, words):
    with pytest.raises(DefinitionError, match=words):
        make()


def test_a_gap_with_a_local_function_has_no_json():
    with pytest.raises(ExpressionError, match="cannot be written as JSON"):
        window.to_json(fyke.session(call(lambda row: row.pause)))


def test_code_in_the_json_of_a_gap_is_imported_only_on_request():
    node = window.to_json(fyke.session(call("math:isnan", arity=1)))
    with pytest.raises(ExpressionError, match="pass callables=True"):
        window.from_json(node)
    assert window.from_json(node, callables=True) == fyke.session(call("math:isnan", arity=1))
