"""Records that cannot be read: as dead letters, and when there are too many of them."""

from __future__ import annotations

from fyke.app.topics import Topic
from fyke.errors import DataError
from fyke.kafka.producer import Headers
from fyke.kafka.records import Poison, Records

__all__ = ["count_in_a_row", "dead_letter"]


def dead_letter(poison: Poison) -> tuple[bytes | None, bytes | None, Headers]:
    """Give key, value and headers of a dead letter: the record as it was, with error and origin in its headers."""
    about = {
        "fyke.error": poison.error,
        "fyke.topic": poison.partition.topic,
        "fyke.partition": str(poison.partition.number),
        "fyke.offset": str(poison.offset),
        "fyke.timestamp_ms": str(poison.timestamp_ms),
    }
    return poison.key, poison.value, [*poison.headers, *((name, text.encode()) for name, text in about.items())]


def count_in_a_row(counts: dict[str, int], topic: Topic, records: Records) -> None:
    """Count the poison records after the last good one of a partition; `counts` has those before, by topic.

    Raises:
        DataError: there are more one after the other than the policy allows.
    """
    most = topic.poisoned.in_a_row
    if most is None:
        return
    good = records.offsets.tolist()
    run, at = counts.get(topic.name, 0), 0
    for poison in records.poison:
        began = at
        while at < len(good) and good[at] < poison.offset:
            at += 1
        run = 1 if at > began else run + 1
        if run > most:
            raise DataError(
                f"{records.partition}: more than {most:,} records in a row cannot be read, the last at offset "
                f"{poison.offset}: {poison.error}. Is the format right? The bound is errors_in_a_row="
            )
    counts[topic.name] = 0 if at < len(good) else run
