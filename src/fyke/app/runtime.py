"""The loop of an instance: read, process, commit; partitions that come and go; give up and go back.

    poll -> rows -> engine of the task -> records written        every time
    save states -> commit results and offsets -> drop old ones   when it is time, and before partitions go

The broker's committed offsets decide what is in force. After any failure of a commit all tasks go back to them: engines
are made again from the states that they name, and reading goes on from there. Not thread-safe.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from fyke.app.backends import Backend
from fyke.app.delivery import Delivery
from fyke.app.inbox import Inbox
from fyke.app.merge import Merge
from fyke.app.outlets import Tail, called, encoded
from fyke.app.plan import Plan
from fyke.app.poison import count_in_a_row, dead_letter
from fyke.app.rekey import Rekey, Sender
from fyke.app.tables import with_deletions
from fyke.app.task import NO_STATE, NOWHERE, Point, Task, crc_of, read_blob, together
from fyke.errors import DataError, StateError
from fyke.kafka.consumer import Chunk, Partition, Reader
from fyke.kafka.failures import AbortNeeded, BrokerError, ClientLost
from fyke.kafka.offsets import Committed, new_cid
from fyke.kafka.records import Poison
from fyke.operator import START
from fyke.outcome import StreamResults

__all__ = ["AppStatistics", "Limits", "PartitionStatistics", "Runtime"]

log: Final = logging.getLogger("fyke.app")


class Clock(Protocol):
    """What the loop needs of time; tests bring their own."""

    def monotonic(self) -> float: ...

    def time_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the loop.

    Attributes:
        commit_every_s: between two commits.
        within_s: for everything that a commit, an abort or an answer of the broker takes.
        settled_s: to hear what is committed, which waits for the transactions of instances that died.
        failures: the loop ends after so many commits in a row that did not work.
    """

    commit_every_s: float = 1.0
    within_s: float = 10.0
    settled_s: float = 30.0
    failures: int = 10


@dataclass(frozen=True, slots=True)
class PartitionStatistics:
    """Of an input partition: the first offset that is not processed; the watermark, ns, None before the first."""

    next: int
    watermark: int | None


@dataclass(frozen=True, slots=True)
class AppStatistics:
    """Counts of an instance since its start, and what it has now.

    Attributes:
        records: read. rows: of these, that could be read. poison: that could not. tombstones: without a value.
        written: records handed to the producer in use.
        commits: that worked. aborts: that did not, or that a lost partition asked for.
        rebalances: changes of the partitions.
        commit_s, commit_age_s: what the last commit took, and how long ago that is; None before the first.
        state_bytes: of the last state of all tasks.
        partitions: those that are ours.
    """

    records: int
    rows: int
    poison: int
    tombstones: int
    written: int
    commits: int
    aborts: int
    rebalances: int
    commit_s: float | None
    commit_age_s: float | None
    state_bytes: int
    partitions: Mapping[Partition, PartitionStatistics]


class Runtime:
    """Runs a plan; `subscribe`, then `step` again and again, then `stop` or `fail`.

    Args:
        plan: what to run.
        reader: a member of the group.
        delivery: the guarantee.
        backend: where states are kept.
        partitions: how many each topic has.
        limits: see there.
        clock: as time has it.
    """

    def __init__(
        self,
        plan: Plan,
        reader: Reader,
        delivery: Delivery,
        backend: Backend,
        *,
        partitions: int,
        limits: Limits | None = None,
        clock: Clock = time,
    ) -> None:
        self.tasks: dict[int, Task] = {}
        self._plan, self._reader, self._delivery, self._backend = plan, reader, delivery, backend
        self._partitions, self._limits, self._clock = partitions, limits or Limits(), clock
        self._readers = {name: topic.reader() for name, topic in plan.topics.items()}
        self._tails = {name: Tail(outlet.tail) for name, outlet in plan.outlets.items()}
        self._inboxes = [outlet.target for outlet in plan.outlets.values() if isinstance(outlet.target, Inbox)]
        self._rekeys = plan.rekeys
        self._is_stateless = plan.is_stateless
        self._is_paused = False
        self._here: set[Partition] = set()
        self._is_stale = self._is_over = False
        self._failures_in_a_row = 0
        self._due = clock.monotonic() + self._limits.commit_every_s
        self._records = self._rows = self._poison = self._tombstones = 0
        self._commits = self._aborts = self._rebalances = 0
        self._commit_s: float | None = None
        self._committed_at = 0.0
        self._sizes: dict[int, int] = {}

    def subscribe(self) -> None:
        """Join the group."""
        self._reader.subscribe(self._plan.inputs, self)

    # -- the loop

    def step(self, timeout_s: float) -> int:
        """Read once, waiting at most timeout_s, process, and commit if it is time; return the records read.

        Raises:
            BrokerError: what repeating does not mend. DataError: a record that cannot be read, and the policy is to
                fail; a gap. What a Python function of the streams raised.
        """
        self._hold()
        self._tables_first()
        chunks = self._reader.poll(timeout_s)
        try:
            if self._is_stale:
                self._go_back()  # what was read meanwhile is read again
                return 0
            for chunk in chunks:
                self._take(chunk)
            self._pass_time()
            if self._clock.monotonic() >= self._due:
                self.commit()
        except (AbortNeeded, ClientLost) as error:
            self._give_up(error)
        return sum(map(len, chunks))

    def _hold(self) -> None:
        """Read nothing while rows wait for who reads them; the group is answered all the same."""
        is_full = any(inbox.is_full for inbox in self._inboxes)
        if is_full:
            self._reader.pause(self._here)  # those that have come since, too
        elif self._is_paused:
            self._reader.resume(self._here)
        self._is_paused = is_full

    def _tables_first(self) -> None:
        """A task that begins reads its tables to their ends, and nothing else meanwhile."""
        for task in self.tasks.values():
            if not task.loading:
                continue
            others = [partition for partition in task.next if partition not in task.loading]
            if all(max(task.next[p], self._reader.ended.get(p, 0)) >= end for p, end in task.loading.items()):
                task.loading = {}
                self._reader.resume(others)
            else:
                self._reader.pause(others)

    def _take(self, chunk: Chunk) -> None:
        task = self.tasks.get(chunk.partition.number)
        if task is None:
            return  # of a task that waits for its other partitions; they are all read from the committed offsets then
        if task.loading and chunk.partition not in task.loading:
            self._reader.seek(chunk.partition, task.next[chunk.partition])  # handed out before it was paused
            return
        topic = chunk.partition.topic
        task.next[chunk.partition] = chunk.next
        task.heard[topic] = self._clock.monotonic()
        task.is_dirty = True
        for sender in task.senders.values():
            sender.is_idle = False
        self._records += len(chunk)
        if topic in task.merges:
            self._merge(task, topic, chunk)
            return
        records = self._readers[topic].read(chunk)
        self._rows += len(records.times)
        self._tombstones += len(records.tombstones)
        count_in_a_row(task.poison_in_a_row, self._plan.topics[topic], records)
        for each in records.poison:
            self._put_aside(each)
        rows = with_deletions(records, self._plan.topics[topic])
        if len(rows):
            self._emit(task, task.engine.push(rows, to=topic))

    def _merge(self, task: Task, topic: str, chunk: Chunk) -> None:
        """Records of the app's own: rows come out when all that write to the partition have passed their times."""
        merge = task.merges[topic]
        merge.take(chunk)
        before = merge.watermark
        ready = merge.release()
        if ready is not None:
            rows, watermarks = ready
            self._rows += len(rows)
            self._emit(task, task.engine.push_under(rows, watermarks, to=topic))
        if merge.watermark > before:
            self._emit(task, task.engine.advance(merge.watermark, topic))

    def _put_aside(self, poison: Poison) -> None:
        policy = self._plan.topics[poison.partition.topic].poisoned
        if policy.on_error == "fail":
            raise DataError(
                f"{poison.partition}: record {poison.offset} cannot be read: {poison.error}. To go on without such "
                'records say on_error="skip", or "dead_letter"'
            )
        self._poison += 1
        if policy.dead_letters is not None:
            key, value, headers = dead_letter(poison)
            self._delivery.send(policy.dead_letters, value, key, headers=headers)

    def _emit(self, task: Task, results: StreamResults) -> None:
        for name, records in results.outputs.items():
            outlet = self._plan.outlets[name]
            for _, part in records.parts:
                batch = self._tails[name].take(part) if outlet.tail else part
                if isinstance(outlet.target, Inbox):
                    outlet.target.take(batch)
                    continue
                if isinstance(outlet.target, Rekey):
                    for partition, value, headers in task.senders[name].take(batch):
                        self._delivery.send(outlet.target.topic, value, partition=partition, headers=headers)
                    continue
                if callable(outlet.target):
                    called(batch, outlet.target)
                    continue
                for record in encoded(batch, outlet.key, f"to({outlet.target!r})"):
                    stamp = record.timestamp_ms if outlet.event_time else 0
                    self._delivery.send(outlet.target, record.value, record.key, timestamp_ms=stamp)
            if name in task.senders:
                task.senders[name].reached(task.engine.reached.get(name, START))

    def _pass_time(self) -> None:
        """What silence means: after a while an input is idle, and its time may follow the wall clock."""
        now = self._clock.monotonic()
        for task in self.tasks.values() if self._rekeys else ():
            topics = self._plan.topics.values()
            silent = [t.idle is not None and (now - task.heard[t.name]) * 1e9 >= t.idle for t in topics]
            if silent and all(silent) and not task.merges:
                for sender in task.senders.values():
                    task.is_dirty |= not sender.is_idle
                    sender.is_idle = True
        for topic in self._plan.topics.values():
            if topic.idle is None:
                continue
            for task in self.tasks.values():
                if (now - task.heard[topic.name]) * 1e9 < topic.idle:
                    continue
                inputs = task.engine.statistics().inputs
                if len(inputs) > 1 and not inputs[topic.name].is_idle:
                    self._emit(task, task.engine.idle(topic.name))
                    task.is_dirty = True
                if topic.delay is not None:
                    wanted = self._clock.time_ns() - topic.delay
                    if wanted > task.watermark(topic.name):
                        self._emit(task, task.engine.advance(wanted, topic.name))
                        task.is_dirty = True

    def flush(self) -> None:
        """End the input of all tasks: everything open comes out, later records are late."""
        for task in self.tasks.values():
            self._emit(task, task.engine.flush())
            task.is_dirty = True

    # -- commit, give up

    def commit(self) -> None:
        """Save the states that have changed, and commit them with results and offsets.

        Raises:
            AbortNeeded, ClientLost: say give up. StateError: a state cannot be kept.
        """
        begun = self._clock.monotonic()
        self._due = begun + self._limits.commit_every_s
        dirty = [task for task in self.tasks.values() if task.is_dirty]
        if not dirty:
            return
        points: dict[int, Point] = {}
        offsets = []
        for task in dirty:
            for name, sender in task.senders.items():
                for partition, headers in sender.words():
                    self._delivery.send(self._rekeys[name].topic, None, partition=partition, headers=headers)
            cid = new_cid(task.point.number + 1)
            if self._is_stateless:
                points[task.number] = Point(cid, NO_STATE)
            else:
                blob = task.blob(self._partitions)
                points[task.number] = Point(cid, crc_of(blob))
                self._sizes[task.number] = len(blob)
                self._backend.save(task.number, cid, blob)
            offsets += task.offsets(points[task.number])
        self._delivery.commit(offsets, self._reader, self._limits.within_s)
        for inbox in self._inboxes:
            inbox.committed()
        self._commits += 1
        self._committed_at = self._clock.monotonic()
        self._commit_s = self._committed_at - begun
        self._failures_in_a_row = 0
        for task in dirty:
            task.point, task.is_dirty = points[task.number], False
            assert task.point.cid is not None
            if not self._is_stateless:
                self._backend.drop(task.number, task.point.cid)

    def _give_up(self, error: BrokerError) -> None:
        """Take back what was sent since the last commit; all tasks go back to it."""
        self._aborts += 1
        for inbox in self._inboxes:
            inbox.given_up()
        self._failures_in_a_row += 1
        if self._failures_in_a_row > self._limits.failures:
            raise error
        log.warning("going back to the last commit: %s", error)
        try:
            if isinstance(error, ClientLost):
                raise error
            self._delivery.abort(self._limits.within_s)
        except ClientLost:
            self._delivery.renew(self._limits.within_s)
        self._is_stale = True

    def _go_back(self) -> None:
        """Make all tasks again from what is committed, and read on from there."""
        positions = self._load(list(self.tasks))
        for partition, offset in positions.items():
            self._reader.seek(partition, offset)
        self._is_stale = False

    # -- partitions come and go; called within poll

    def assigned(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Take over partitions; see Listener."""
        self._rebalances += 1
        before = set(self._here)
        self._here |= set(partitions)
        complete = [
            number
            for number, of_it in together(list(self._here)).items()
            if len(of_it) == len(self._plan.inputs) and number not in self.tasks
        ]
        positions = self._load(complete)
        if any(partition in before for partition in positions):
            self._is_stale = True  # some were read from a place of no meaning while others were missing
        waiting = [partition for partition in partitions if partition not in positions]
        return positions | {partition: self._reader.beginning(partition) for partition in waiting}

    def revoked(self, partitions: Collection[Partition]) -> None:
        """Commit, and let go of partitions; see Listener."""
        self._rebalances += 1
        if not self._is_over and not self._is_stale:
            try:
                self.commit()
            except (AbortNeeded, ClientLost) as error:
                self._give_up(error)
        self._forget(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        """Drop partitions that are another's; nothing of them may be committed, so the others go back, too."""
        self._rebalances += 1
        if not self._is_over:
            self._give_up(AbortNeeded(f"{', '.join(map(str, partitions))}: lost to another instance"))
        self._forget(partitions)

    def _forget(self, partitions: Collection[Partition]) -> None:
        self._here -= set(partitions)
        for number in together(list(partitions)):
            self.tasks.pop(number, None)
            self._sizes.pop(number, None)
            self._backend.forget(number)

    def _load(self, numbers: Collection[int]) -> dict[Partition, int]:
        """Make the tasks of these numbers from what is committed; give where to read on."""
        wanted = [Partition(topic, number) for number in numbers for topic in self._plan.inputs]
        answers = self._reader.committed(wanted, self._limits.settled_s)
        positions: dict[Partition, int] = {}
        for number, partitions in together(wanted).items():
            task = self._task(number, {partition: answers[partition] for partition in partitions})
            self.tasks[number] = task
            positions |= task.next
        return positions

    def _task(self, number: int, answers: Mapping[Partition, tuple[int, str | None] | None]) -> Task:
        now = self._clock.monotonic()
        known = {
            partition: None if answer is None else Committed.read(answer[1], answer[0], str(partition))
            for partition, answer in answers.items()
        }
        points = {None if each is None else Point(each.cid, each.crc) for each in known.values()}
        if len(points) > 1:
            said = ", ".join(f"{p} {each.cid if each else 'none'}" for p, each in known.items())
            raise StateError(f"the inputs of task {number} were committed with different checkpoints: {said}")
        point = points.pop()
        if point is None:  # never committed, or by hand, with an offset alone
            starts = {
                partition: self._reader.beginning(partition) if answer is None else answer[0]
                for partition, answer in answers.items()
            }
            merges = {topic: Merge(rekey) for topic, rekey in self._plan.rekeyed.items()}
            senders = {name: Sender(rekey, number) for name, rekey in self._rekeys.items()}
            task = Task(number, self._plan.engine(), starts, NOWHERE, now, merges, senders)
            tables = {p: at for p, at in starts.items() if p.topic in self._plan.topics and self._is_table(p.topic)}
            if len(tables) < len(starts):
                ends = {p: self._reader.ends(p, self._limits.within_s)[1] for p in tables}
                task.loading = {p: end for p, end in ends.items() if end > tables[p]}
            return task
        assert point.cid is not None
        at = {p: each.next for p, each in known.items() if each is not None}
        if self._is_stateless and point.crc == NO_STATE:
            return Task(number, self._plan.engine(), at, point, now)
        blob = self._backend.load(number, point.cid)
        state = read_blob(blob, point, number, self._partitions, self._plan)
        self._sizes[number] = len(blob)
        task = Task(number, state.engine, at, point, now, state.merges, state.senders)
        task.loading = dict(state.loading)
        return task

    def _is_table(self, topic: str) -> bool:
        return self._plan.topics[topic].table_key is not None

    # -- the end

    def stop(self) -> None:
        """Commit what is done, and leave the group."""
        try:
            self.commit()
        except (AbortNeeded, ClientLost) as error:
            self._give_up(error)
        self._is_over = True
        self._close()

    def fail(self) -> None:
        """Take back what is not committed, and leave the group."""
        self._is_over = True
        try:
            self._delivery.abort(self._limits.within_s)
        except BrokerError as error:
            log.warning("the last transaction is left open: %s", error)
        self._close()

    def _close(self) -> None:
        closers: list[Callable[[], None]] = [self._reader.close, self._delivery.close, self._backend.close]
        for close in closers:
            try:
                close()
            except BrokerError as error:
                log.warning("closing: %s", error)

    def reached(self, ends: Mapping[Partition, int]) -> bool:
        """Whether all partitions that are ours have been processed up to these offsets; there is at least one."""
        if self._is_stale or not self.tasks:
            return False
        at = {partition: n for task in self.tasks.values() for partition, n in task.next.items()}
        return all(max(n, self._reader.ended.get(p, 0)) >= ends.get(p, 0) for p, n in at.items())

    def known_end(self, partition: Partition) -> int | None:
        """Give the end of a partition's log as the client last heard of it; asks nobody."""
        return self._reader.known_end(partition)

    def statistics(self) -> AppStatistics:
        """Give the counts of now."""
        partitions = {}
        for task in self.tasks.values():
            inputs = task.engine.statistics().inputs
            for partition, n in task.next.items():
                partitions[partition] = PartitionStatistics(n, inputs[partition.topic].watermark)
        return AppStatistics(
            self._records,
            self._rows,
            self._poison,
            self._tombstones,
            self._delivery.sent().records,
            self._commits,
            self._aborts,
            self._rebalances,
            self._commit_s,
            None if self._commit_s is None else self._clock.monotonic() - self._committed_at,
            sum(self._sizes.values()),
            partitions,
        )
