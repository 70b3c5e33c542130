"""Summaries of values: exact while small, within their bounds beyond, and the same however the values were cut up."""

import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.operators.sketches import Distinct, Frequencies, Quantiles

DOUBLES = st.floats(allow_nan=False, width=64)


def quantiles(values):
    made = Quantiles()
    made.add(np.array(values, np.float64))
    return made


def in_parts(make, add, values, rng):
    """Values cut up at random, each part a summary of its own, and these merged in any order."""
    parts = []
    while values:
        n = rng.randint(1, len(values))
        parts.append(make())
        add(parts[-1], values[:n])
        values = values[n:]
    while len(parts) > 1:
        rng.shuffle(parts)
        parts[0].merge(parts.pop())
    return parts[0] if parts else make()


# ------------------------------------------------------------------------------------------------ quantiles


@given(st.lists(DOUBLES.filter(lambda x: abs(x) < 1e300), min_size=1, max_size=60), st.floats(0, 1))
def test_few_values_have_the_quantile_of_numpy(values, q):
    assert quantiles(values).quantile(q) == np.quantile(np.array(values), q, method="linear")


def test_no_values_have_no_quantile():
    assert Quantiles().quantile(0.5) is None


def test_nan_comes_last_and_infinities_first_and_last():
    made = quantiles([math.nan, 1.0, -math.inf, math.inf])
    assert made.quantile(0) == -math.inf
    assert made.quantile(2 / 3) == math.inf
    assert math.isnan(made.quantile(1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [Quantiles.EXACT, Quantiles.EXACT + 1, 20_000])
def test_many_values_have_quantiles_within_the_bound(seed, n):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 4, n) * rng.choice([-1.0, 1.0], n)
    made = quantiles(values)
    for q in (0, 0.01, 0.25, 0.5, 0.9, 0.99, 1):
        exact = np.quantile(values, q, method="linear")
        near = np.sort(values)[[math.floor(q * (n - 1)), math.ceil(q * (n - 1))]]
        assert abs(made.quantile(q) - exact) <= max(abs(near)) / 256
        if n <= Quantiles.EXACT:
            assert made.quantile(q) == exact


def test_infinities_zeros_and_nan_keep_their_places_among_many():
    values = [math.inf] * 1000 + [0.0] * 1000 + [-0.0] * 1000 + [-math.inf] * 1000 + [math.nan] * 10
    made = quantiles(values)
    assert [made.quantile(q) for q in (0, 0.1, 0.4, 0.6, 0.9)] == [-math.inf, -math.inf, 0, 0, math.inf]
    assert math.isnan(made.quantile(1))


@pytest.mark.parametrize("n", [10, Quantiles.EXACT, Quantiles.EXACT + 1, 9000])
def test_quantiles_do_not_depend_on_how_values_were_cut_up(n):
    rng = random.Random(n)
    values = [rng.lognormvariate(0, 3) for _ in range(n)]
    whole = quantiles(values).save()
    for _ in range(5):
        rng.shuffle(values)
        parts = in_parts(Quantiles, lambda made, part: made.add(np.array(part)), values, rng)
        assert [each.tolist() for each in parts.save()] == [each.tolist() for each in whole]


@pytest.mark.parametrize("n", [0, 5, 5000])
def test_quantiles_go_on_after_a_restore(n):
    first, second = np.arange(n) * 1.5, np.arange(700) - 350.0
    made = quantiles(first)
    back = Quantiles.load(*made.save())
    for each in (made, back):
        each.add(second)
    assert back.n == n + 700
    assert back.quantile(0.3) == made.quantile(0.3)


@pytest.mark.parametrize(
    ("keys", "counts"),
    [([2, 1], [1, 1]), ([1, 1], [1, 1]), ([1], [0]), ([2**63 - 1], [1]), ([-(2**63)], [1]), ([2**60], [5000])],
)
def test_impossible_quantiles_are_refused(keys, counts):
    with pytest.raises(ValueError, match=r"out of order|no double"):
        Quantiles.load(np.array(keys), np.array(counts))


# ------------------------------------------------------------------------------------------------ distinct


def distinct(values):
    made = Distinct()
    made.add(values)
    return made


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary() | st.booleans(), max_size=40))
def test_few_different_values_are_counted_exactly(values):
    values = [int(value) if isinstance(value, bool) else value for value in values]
    assert distinct(values).count() == len(set(values))


def test_an_empty_text_is_a_value_and_text_is_not_its_bytes_in_another_column():
    assert distinct(["", "a", ""]).count() == 2
    assert distinct([b"", b"\xff", b"\xff"]).count() == 2
    assert distinct([0.0, -0.0, math.nan, -math.nan]).count() == 2


def test_many_different_values_are_counted_within_five_standard_errors():
    for n in (4096, 20_000, 300_000):
        found = distinct(range(n)).count()
        assert abs(found - n) <= (0 if n <= 4096 else 5 * n / 64)


@pytest.mark.parametrize("n", [100, 4096, 4097, 30_000])
def test_distinct_does_not_depend_on_how_values_were_cut_up(n):
    rng = random.Random(n)
    values = [f"user-{i}" for i in range(n)]
    whole = distinct(values)
    for _ in range(3):
        rng.shuffle(values)
        parts = in_parts(Distinct, Distinct.add, values, rng)
        assert parts.save() == whole.save()
        assert parts.count() == whole.count()


def test_distinct_goes_on_after_a_restore_and_after_it_was_looked_at():
    made = distinct(range(3000))
    back = Distinct.load(made.save())
    for each in (made, back):
        each.count()
        each.add(range(2000, 9000))
    assert back.save() == made.save() == distinct(range(9000)).save()


@pytest.mark.parametrize("data", [b"", b"abc", distinct(range(10)).save()[:-1], distinct(range(5000)).save()[:40]])
def test_damaged_sketches_are_refused(data):
    with pytest.raises(ValueError, match="no theta sketch"):
        Distinct.load(data)


# ------------------------------------------------------------------------------------------------ frequencies


def frequencies(values):
    made = Frequencies()
    made.add(pa.array(values))
    return made


@given(st.lists(st.integers(0, 9), max_size=80), st.integers(1, 12))
def test_few_values_are_counted_exactly_most_frequent_first(values, k):
    counts = {value: values.count(value) for value in values}
    assert frequencies(values or [0][:0]).top(k) == sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:k]


def test_zeros_are_one_value_and_so_are_nans():
    assert frequencies([0.0, -0.0, math.nan]).top(2)[0] == (0.0, 2)
    assert frequencies([math.nan, math.nan, 1.0]).top(2)[0][1] == 2


def skewed(n, rng):
    return [rng.randint(0, 20) if rng.random() < 0.3 else rng.randint(0, 10**9) for _ in range(n)]


def test_beyond_the_bound_counts_are_too_low_by_less_than_the_bound():
    rng = random.Random(1)
    values = skewed(60_000, rng)
    for made in (
        frequencies(values),
        in_parts(Frequencies, lambda each, part: each.add(pa.array(part)), values, rng),
    ):
        found = dict(made.top(21))
        assert set(found) == set(range(21))
        for value, count in found.items():
            exact = values.count(value)
            assert exact - len(values) / Frequencies.MOST <= count <= exact


def test_frequencies_do_not_depend_on_how_values_are_cut_into_batches():
    rng = random.Random(2)
    values = skewed(9_000, rng)
    whole = frequencies(values)
    for size in (7, 37, 5000):
        made = Frequencies()
        for at in range(0, len(values), size):
            made.add(pa.array(values[at : at + size]))
        assert made.save() == whole.save()


def test_frequencies_go_on_after_a_restore():
    made = frequencies(["a", "b", "a"])
    back = Frequencies.load(*made.save())
    back.add(pa.array(["b", "b"]))
    assert back.top(1) == [("b", 3)]


@pytest.mark.parametrize(("values", "counts"), [([1, 1], [1, 1]), ([1], [0]), (list(range(5000)), [1] * 5000)])
def test_impossible_frequencies_are_refused(values, counts):
    with pytest.raises(ValueError, match="there twice"):
        Frequencies.load(values, counts)
