"""The string beside a committed offset: what is written is read again, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fyke.errors import StateError
from fyke.kafka.offsets import MAX_BYTES, Committed, new_cid, number_of

INT64 = st.integers(-(2**63), 2**63 - 1)
COMMITTED = st.builds(
    Committed,
    cid=st.builds(new_cid, st.integers(0, 10**18)),
    next=st.integers(0, 2**63 - 1),
    watermark=INT64,
    crc=st.integers(0, 2**32 - 1),
)
GOOD = f"v1:7-{'a' * 32}:20:-5:0000beef"


@given(COMMITTED, st.data())
def test_what_is_written_is_read(committed, data):
    offset = data.draw(st.integers(0, committed.next))
    assert Committed.read(committed.text(), offset) == committed
    assert len(committed.text().encode("ascii")) <= MAX_BYTES


@pytest.mark.parametrize("text", ["", None])
def test_an_offset_without_metadata_has_no_checkpoint(text):
    """As a tool leaves it that resets the offsets of a group."""
    assert Committed.read(text, 5) is None


def test_the_parts_are_read_as_they_stand():
    assert Committed.read(GOOD, 20) == Committed("7-" + "a" * 32, 20, -5, 0xBEEF)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v2" + GOOD[2:], "a later version of fyke wrote it"),
        ("written by hand", "fyke did not write it"),
        (GOOD + "\n", "cannot be read"),
        (GOOD[:-1], "cannot be read"),
        (GOOD.upper(), "fyke did not write it"),
        (GOOD.replace(":20:", ":-1:"), "cannot be read"),
        (GOOD.replace(":20:", ":020:"), "cannot be read"),
        (GOOD.replace(":20:", f":{2**63}:"), "next is 9223372036854775808, allowed are 0 to"),
        (GOOD.replace(":-5:", f":{2**63}:"), "watermark is 9223372036854775808"),
    ],
)
def test_anything_else_is_an_error_that_quotes_it(text, said):
    with pytest.raises(StateError, match=said):
        Committed.read(text, 0, where="group g, topic t/0")


@given(st.text(max_size=60) | st.text("v1:0-9abcdef", max_size=80))
def test_no_text_is_read_as_anything_but_itself(text):
    try:
        read = Committed.read(text, 0)
    except StateError:
        return
    assert read is None or int(read.text().split(":")[2]) == int(text.split(":")[2])


def test_metadata_behind_its_offset_is_an_error():
    """An offset moved forward by hand, its metadata kept: restoring the old state there would be a silent gap."""
    with pytest.raises(StateError, match="g t/0: offset 21, .* 20 is the first unprocessed one"):
        Committed.read(GOOD, 21, where="g t/0")


def test_checkpoints_are_named_by_a_number_and_no_two_alike():
    assert number_of(new_cid(41)) == 41
    assert len({new_cid(1) for _ in range(100)}) == 100
    for wrong in ("41", "41-", "x-" + "0" * 32, "-1-" + "0" * 32, "../../etc/passwd", None):
        with pytest.raises(StateError, match="no checkpoint's name"):
            number_of(wrong)
