"""What is wrong with an app, seen from outside: asked of the brokers alone, so it works while instances are down.

`gather` asks, `judge` looks at the answers. What the group committed says enough: each offset carries the watermark of
its partition, so the one that holds time back has a name, though no instance is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from fyke.duration import format_ns
from fyke.errors import DefinitionError, StateError
from fyke.kafka.admin import Admin, Group
from fyke.kafka.consumer import Partition
from fyke.kafka.failures import BrokerError
from fyke.kafka.offsets import Committed
from fyke.operator import END, START

__all__ = ["Facts", "Finding", "gather", "judge"]

Level: TypeAlias = Literal["ok", "warning", "problem"]

SHORT_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at: how it is, what it is about, and what to do if it is not well."""

    level: Level
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the brokers say.

    Attributes:
        inputs: the number of partitions by topic; None: there is no such topic.
        outputs: the same, of topics that are written.
        group: who is in it.
        committed: offset and metadata by input partition; None: nothing was committed.
        beginnings: the first offset of each input partition.
        ends: the last stable offset and the end of each partition, inputs and outputs.
        stuck: partitions whose last stable offset did not move while it was looked at for `watched_s`.
        watched_s: see there.
        replicas: by topic, inputs and outputs.
        settings: of topics, by name. broker: of a broker; empty where one may not ask.
        transaction_timeout_ms: ours; None: no transactions.
        now_ns: since the epoch.
    """

    inputs: Mapping[str, int | None]
    outputs: Mapping[str, int | None]
    group: Group
    committed: Mapping[Partition, tuple[int, str | None] | None]
    beginnings: Mapping[Partition, int]
    ends: Mapping[Partition, tuple[int, int]]
    stuck: frozenset[Partition]
    watched_s: float
    replicas: Mapping[str, int]
    settings: Mapping[str, Mapping[str, str]]
    broker: Mapping[str, str]
    transaction_timeout_ms: int | None
    now_ns: int


def gather(
    admin: Admin,
    group: str,
    inputs: list[str],
    outputs: list[str],
    transaction_timeout_ms: int | None,
    watch_s: float = 0.0,
) -> Facts:
    """Ask the brokers.

    Args:
        watch_s: how long to look at open transactions before they are called hanging; longer than the transaction
            timeout of whoever writes.

    Raises:
        BrokerError: no answer.
    """
    counts = {topic: _partitions(admin, topic) for topic in [*inputs, *outputs]}
    there = [topic for topic, n in counts.items() if n]
    partitions = {t: [Partition(t, number) for number in range(counts[t] or 0)] for t in there}
    read = [p for topic in inputs for p in partitions.get(topic, [])]
    everything = [p for of_topic in partitions.values() for p in of_topic]
    ends = admin.stable_ends(everything)
    stuck = frozenset(p for p, (stable, end) in ends.items() if stable < end)
    if stuck and watch_s > 0:
        time.sleep(watch_s)
        again = admin.stable_ends(stuck)
        stuck = frozenset(p for p in stuck if again[p][0] == ends[p][0] and again[p][0] < again[p][1])
        ends = {**ends, **again}
    return Facts(
        inputs={topic: counts[topic] for topic in inputs},
        outputs={topic: counts[topic] for topic in outputs},
        group=admin.group(group),
        committed=admin.committed(group, read) if read else {},
        beginnings=admin.offsets(read, "earliest") if read else {},
        ends=ends,
        stuck=stuck if watch_s > 0 else frozenset(),
        watched_s=watch_s,
        replicas={topic: admin.replicas(topic) for topic in there},
        settings={topic: _allowed(partial(admin.topic_settings, topic)) for topic in there},
        broker=_allowed(admin.broker_settings),
        transaction_timeout_ms=transaction_timeout_ms,
        now_ns=time.time_ns(),
    )


def _partitions(admin: Admin, topic: str) -> int | None:
    try:
        return admin.partitions([topic])[topic]
    except DefinitionError:
        return None


def _allowed(ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What asking gives; nothing where it is not allowed, which is no fault of the app."""
    try:
        return ask()
    except BrokerError:
        return {}


def judge(facts: Facts) -> list[Finding]:
    """Look at all of it; problems first."""
    found = [*_topics(facts), *_group(facts), *_offsets(facts), *_time(facts), *_transactions(facts), *_settings(facts)]
    order = {"problem": 0, "warning": 1, "ok": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def _topics(facts: Facts) -> Iterator[Finding]:
    missing = [t for t, n in {**facts.inputs, **facts.outputs}.items() if not n]
    for topic in missing:
        yield Finding("problem", f"topic {topic}", "there is no such topic, or we may not see it: make it")
    counts = {topic: n for topic, n in facts.inputs.items() if n}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{topic} {n}" for topic, n in counts.items())
        yield Finding("problem", "inputs", f"they must have equally many partitions, and have: {said}")
    if not missing:
        yield Finding("ok", "topics", f"all {len(facts.inputs) + len(facts.outputs)} are there")


def _group(facts: Facts) -> Iterator[Finding]:
    group = facts.group
    if not group.members:
        yield Finding("warning", "group", f"no instance is running (group {group.state})")
        return
    owned = {p: name for name, partitions in group.members.items() for p in partitions}
    wanted = {Partition(t, i) for t, n in facts.inputs.items() for i in range(n or 0)}
    if group.state != "stable":
        yield Finding("warning", "group", f"it is {group.state}: partitions are being handed out; ask again")
    elif wanted - owned.keys():
        some = ", ".join(map(str, sorted(wanted - owned.keys())[:5]))
        yield Finding("problem", "group", f"{len(wanted - owned.keys())} partitions are nobody's: {some}")
    else:
        idle = sum(not partitions for partitions in group.members.values())
        more = f", {idle} of them without a partition: there are more instances than partitions" if idle else ""
        yield Finding("ok", "group", f"{len(group.members)} instances{more}")


def _offsets(facts: Facts) -> Iterator[Finding]:
    lags: dict[Partition, int] = {}
    for partition, answer in facts.committed.items():
        stable, _ = facts.ends[partition]
        beginning = facts.beginnings[partition]
        if answer is None:
            lags[partition] = stable - beginning
            continue
        offset, text = answer
        try:
            known = Committed.read(text, offset, str(partition))
        except StateError as error:
            yield Finding("problem", f"{partition}", str(error))
            continue
        if offset < beginning:
            yield Finding(
                "problem",
                f"{partition}",
                f"offset {offset} is committed, but the log begins at {beginning}: {beginning - offset:,} records are "
                'gone unread. Raise the retention; to go on say on_offset_gap="earliest"',
            )
        lags[partition] = max(0, stable - (known.next if known else offset))
    if lags:
        worst = max(lags, key=lambda p: lags[p])
        text = f"{sum(lags.values()):,} records wait in all, most in {worst}: {lags[worst]:,}"
        yield Finding("ok" if not lags[worst] else "warning" if not facts.group.members else "ok", "lag", text)


def _time(facts: Facts) -> Iterator[Finding]:
    watermarks: dict[Partition, int] = {}
    for partition, answer in facts.committed.items():
        if answer is not None:
            try:
                known = Committed.read(answer[1], answer[0])
            except StateError:
                continue  # said above
            if known is not None:
                watermarks[partition] = known.watermark
    for number in sorted({p.number for p in watermarks}):
        of_task = {p: w for p, w in watermarks.items() if p.number == number}
        if len(facts.inputs) < 2 or len(of_task) < 2:
            continue
        slowest, fastest = min(of_task, key=lambda p: of_task[p]), max(of_task, key=lambda p: of_task[p])
        if of_task[slowest] == START < of_task[fastest]:
            text = f"it had no record yet and holds task {number} back; say idle= for its topic if that can be"
            yield Finding("warning", f"{slowest}", text)
        elif of_task[fastest] < END and of_task[fastest] - of_task[slowest] > 60 * 10**9:
            text = f"it holds task {number} back: {format_ns(of_task[fastest] - of_task[slowest])} behind {fastest}"
            yield Finding("warning", f"{slowest}", text)
    known_ones = {p: w for p, w in watermarks.items() if START < w < END}
    if known_ones:
        slowest = min(known_ones, key=lambda p: known_ones[p])
        behind = (facts.now_ns - known_ones[slowest]) / 1e9
        yield Finding("ok", "event time", f"{slowest} is the furthest behind the clock: {behind:,.0f} s, as committed")


def _transactions(facts: Facts) -> Iterator[Finding]:
    open_ones = [p for p, (stable, end) in facts.ends.items() if stable < end]
    for partition in sorted(facts.stuck):
        stable, end = facts.ends[partition]
        yield Finding(
            "problem",
            f"{partition}",
            f"a transaction hangs: the last stable offset has been {stable} for {facts.watched_s:g} s, the log ends at "
            f"{end}, and readers of committed records wait. Find who wrote there (kafka-transactions.sh find-hanging)",
        )
    if not facts.stuck:
        said = f"open in {len(open_ones)} partitions" if open_ones else "none is open"
        yield Finding("ok", "transactions", said)


def _settings(facts: Facts) -> Iterator[Finding]:
    highest = int(facts.broker.get("transaction.max.timeout.ms", 2**31))
    if facts.transaction_timeout_ms is not None and facts.transaction_timeout_ms > highest:
        text = f"transaction_timeout is {facts.transaction_timeout_ms} ms, the brokers allow {highest}"
        yield Finding("problem", "transaction.max.timeout.ms", text)
    kept = int(facts.broker.get("offsets.retention.minutes", 10**9)) * 60_000
    if kept < SHORT_MS:
        text = f"offsets of a group without instances are forgotten after {kept // 60_000} minutes, state with them"
        yield Finding("warning", "offsets.retention.minutes", text)
    for topic, replicas in facts.replicas.items():
        settings = facts.settings.get(topic, {})
        least = int(settings.get("min.insync.replicas", 1))
        if replicas < 2:
            yield Finding("warning", f"topic {topic}", "one replica: it is lost with its broker")
        elif least < 2:
            text = f"min.insync.replicas={least}: a commit can be lost with one broker; 2 where there are 3 replicas"
            yield Finding("warning", f"topic {topic}", text)
        elif least >= replicas:
            text = f"min.insync.replicas={least} of {replicas} replicas: one broker away, and nothing can be written"
            yield Finding("warning", f"topic {topic}", text)
    for topic in facts.inputs:
        settings = facts.settings.get(topic, {})
        retention = int(settings.get("retention.ms", -1))
        if 0 <= retention < SHORT_MS and "compact" not in settings.get("cleanup.policy", ""):
            text = f"records are kept for {format_ns(retention * 10**6)}: an app that is down for longer loses some"
            yield Finding("warning", f"topic {topic}", text)
