"""Two versions of a pattern on one log: what counts as the same match, as a changed one, and as gained or lost."""

import pyarrow as pa
import pytest

import fyke
from fyke import DefinitionError, backtest, begin, col

VALUES = [("a", 1), ("b", 1), ("a", 5), ("b", 9), ("a", 8), ("b", 2)]
ROWS = [{"ts": n, "k": k, "x": x} for n, (k, x) in enumerate(VALUES)]
OLD = begin("low", col.x < 2).followed_by("high", col.x > 4).by("k")


def compare(new, old=OLD, rows=ROWS, **options):
    return backtest(rows, old, new, time="ts", unit="s", **options)


def changes(found):
    return [(each.change, str(each.old or ""), str(each.new or "")) for each in found.differences]


def test_equal_versions_differ_in_nothing():
    found = compare(OLD)
    assert (found.rows, found.old, found.new, found.same, found.differences) == (6, 2, 2, 2, ())


def test_other_names_of_stages_make_no_difference():
    found = compare(begin("small", col.x < 2).followed_by("big", col.x > 4).by("k"))
    assert (found.same, found.differences) == (2, ())


def test_other_events_after_the_same_beginning_are_a_change():
    found = compare(begin("low", col.x < 2).followed_by("high", col.x > 6).by("k"))
    assert (found.old, found.new, found.same) == (2, 2, 1)
    assert changes(found) == [("changed", "low@0 high@2", "low@0 high@4")]


def test_other_stages_of_the_same_events_are_a_change():
    one = begin("all", col.x > 0).times(2).consecutive()
    two = begin("one", col.x > 0).next("two", col.x > 0)
    found = backtest([{"ts": 1, "x": 1}, {"ts": 2, "x": 1}], one, two, time="ts", unit="s")
    assert changes(found) == [("changed", "all@0,1", "one@0 two@1")]


def test_what_only_one_version_finds_is_gained_or_lost():
    more = begin("low", col.x < 3).followed_by_any("high", col.x > 4).by("k")
    assert changes(compare(more)) == [("gained", "", "low@0 high@4")]
    assert changes(compare(OLD, more)) == [("lost", "low@0 high@4", "")]
    assert [compare(more).count(change) for change in ("gained", "lost", "changed")] == [1, 0, 0]


def test_the_same_events_of_other_keys_are_gained_and_lost():
    found = compare(begin("low", col.x < 2).followed_by("high", col.x > 8), begin("low", (col.x < 2) & (col.k == "b"))
                    .followed_by("high", col.x > 8).by("k"))  # fmt: skip
    assert {each.change for each in found.differences} == {"gained", "lost"}


def test_partitions_and_batches_are_those_of_a_replay():
    new = begin("low", col.x < 2).followed_by("high", col.x > 6).by("k")
    whole = compare(new, partition="k")
    assert changes(compare(new, partition="k", batch_size=1)) == changes(whole) == changes(compare(new))


def test_differences_are_a_table_of_typed_columns():
    table = compare(begin("low", col.x < 2).followed_by("high", col.x > 6).by("k")).to_arrow()
    assert table.schema.field("key").type == pa.string()
    assert table.drop_columns("start").to_pylist()[0]["new_events"] == "low@0 high@4"
    assert table["old_end"].cast(pa.int64()).to_pylist() == [2_000_000_000]
    assert compare(OLD).to_arrow().num_rows == 0


def test_only_patterns_are_compared():
    with pytest.raises(DefinitionError, match="expected two patterns"):
        compare("OLD")
    with pytest.raises(DefinitionError, match="compares matches"):
        compare(OLD, timeouts=True)


def test_it_is_part_of_the_package():
    assert fyke.backtest is backtest
