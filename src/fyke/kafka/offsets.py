"""The string beside a committed offset: which checkpoint belongs to it, and up to where its records are processed.

    v1:<cid>:<next>:<watermark>:<crc>            v1:17-0b9c...e4:90215:1700000000000000000:0d4a11c5

The committed offset itself is the lowest one whose record still waits in a reorder buffer, so records between it and
`next` are read once more after a restart. A commit makes results, offset and this string visible together; so the
string, and never the time of a file, decides which stored state is in force. O(1) in everything.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Final

from fyke.errors import StateError

__all__ = ["MAX_BYTES", "Committed", "new_cid", "number_of"]

MAX_BYTES: Final = 4095
"""The broker's limit of 4,096 (offset.metadata.max.bytes) counts the zero that the client ends the string with."""

START: Final = -(2**63)
END: Final = 2**63 - 1
_CID: Final = re.compile(r"(0|[1-9][0-9]{0,18})-[0-9a-f]{32}")
_V1: Final = re.compile(rf"v1:({_CID.pattern}):(0|[1-9][0-9]*):(-?[0-9]+):([0-9a-f]{{8}})")


def new_cid(number: int) -> str:
    """Name a checkpoint: a number that grows, and what no other instance can have come up with.

    >>> new_cid(17).startswith("17-")
    True
    """
    return f"{number}-{uuid.uuid4().hex}"


def number_of(cid: str) -> int:
    """Give the number in a checkpoint's name.

    Raises:
        StateError: it is no such name.
    """
    if not isinstance(cid, str) or not _CID.fullmatch(cid):
        raise StateError(f"{cid!r:.60} is no checkpoint's name: expected a number, a dash and 32 hexadecimal digits")
    return int(cid.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit says of one input partition.

    Args:
        cid: the checkpoint, as new_cid names it.
        next: the first offset that is not processed.
        watermark: of the partition, in ns; -2**63 before the first record.
        crc: the CRC-32 of the task's state in this checkpoint; 0 if it has none.

    Raises:
        StateError: a value that cannot be.

    >>> Committed("3-" + "0" * 32, 90215, 1_700_000_000_000_000_000, 0x0D4A11C5).text()
    'v1:3-00000000000000000000000000000000:90215:1700000000000000000:0d4a11c5'
    """

    cid: str
    next: int
    watermark: int
    crc: int

    def __post_init__(self) -> None:
        number_of(self.cid)
        for name, value, low, high in (
            ("next", self.next, 0, END),
            ("watermark", self.watermark, START, END),
            ("crc", self.crc, 0, 2**32 - 1),
        ):
            if not low <= value <= high:
                raise StateError(f"committed offset: {name} is {value}, allowed are {low} to {high}")

    def text(self) -> str:
        """Write the string; ASCII, and far below MAX_BYTES."""
        return f"v1:{self.cid}:{self.next}:{self.watermark}:{self.crc:08x}"

    @classmethod
    def read(cls, text: str | None, offset: int, where: str = "") -> Committed | None:
        """Read the string that was committed with an offset; None where there is none, as after a reset by hand.

        Args:
            text: what the broker gave back.
            offset: the committed offset.
            where: group, topic and partition, for the message.

        Raises:
            StateError: it is damaged, of a later version or somebody else's, or does not fit the offset.
        """
        if not text:
            return None
        found = _V1.fullmatch(text)
        if found is None:
            known = "a later version of fyke wrote it" if re.match(r"v[0-9]+:", text) else "fyke did not write it"
            raise StateError(f"{where or 'committed offset'}: metadata {text!r:.80} cannot be read: {known}")
        read = cls(found[1], int(found[3]), int(found[4]), int(found[5], 16))
        if read.next < offset:
            raise StateError(
                f"{where or 'committed offset'}: offset {offset}, but its metadata says that {read.next} is the first "
                "unprocessed one; was the offset moved by hand and its metadata kept?"
            )
        return read
