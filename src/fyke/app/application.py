"""App: the public face. Topics in, streams, topics out; `run` until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import logging
import operator
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pyarrow as pa

from fyke.app.backends import Backend, StoreBackend
from fyke.app.changelog import Changelog, changelog_of
from fyke.app.delivery import AtLeastOnce, Delivery, ExactlyOnce, Guarantee
from fyke.app.doctor import Finding, gather, judge
from fyke.app.endpoints import Endpoints, address_of
from fyke.app.flow import Flow
from fyke.app.inbox import Inbox
from fyke.app.monitor import Monitor, Status, Watchdog
from fyke.app.outlets import Function, Outlet, outlet_of
from fyke.app.parts import Part, prepared
from fyke.app.plan import Plan, plans_of
from fyke.app.rekey import Rekey, rekey_of
from fyke.app.runtime import AppStatistics, Limits, Runtime
from fyke.app.topics import OnError, Poisoned, Topic, format_of
from fyke.duration import DurationLike, to_ns
from fyke.errors import DefinitionError, FykeError
from fyke.expr import col
from fyke.kafka.admin import Admin
from fyke.kafka.consumer import OnGap, Partition, Reader, Start
from fyke.kafka.identity import Instance
from fyke.kafka.producer import Producer
from fyke.kafka.records import Unit
from fyke.kafka.settings import Protocol, Settings, admin_settings, consumer_settings, producer_settings
from fyke.kafka.transaction import TransactionalProducer
from fyke.state import open_store
from fyke.state.local import LocalStore

__all__ = ["App"]

log: Final = logging.getLogger("fyke.app")
POLL_S: Final = 0.1


class App:
    """An application on Kafka. Every instance that is started with the same name shares the work with the others.

    Args:
        name: of the application, and of its group.
        brokers: host:port, several with commas between them.
        guarantee: "exactly_once": results, offsets and state are one transaction; or "at_least_once".
        state: where states are kept: "local": in the folder, and partitions cannot move to another one; or a folder,
            file or URL that all instances share, as fyke.state.open_store takes it; or "changelog": in a topic,
            NAME-changelog, compacted, which is made.
        folder: of this instance alone: who it is, and local state. None: fyke-state/NAME where it is started.
        instance: who this instance is, where a deployment has stable names (a pod's, say) rather than folders.
        commit_every: how long results wait at most to be committed.
        transaction_timeout: after which the broker aborts what an instance that died has left open.
        group_protocol: "classic", or "consumer" (KIP-848, Kafka 4.0 or later).
        member: the name of a static member: a restart within the session moves nothing.
        start: where to begin with a partition of which nothing was committed: "earliest" or "latest".
        on_offset_gap: where unread records are gone: "fail", "earliest" or "latest".
        http: "host:port" where /health, /ready, /metrics and /status are answered while it runs; None: nowhere.
        watchdog: the process ends, with status 70 and the stacks of all threads, when the loop has stood still for so
            long; None: it does not. Longer than anything takes that the loop calls.
        settings: of librdkafka's clients, TLS and SASL among them; "consumer." and "producer." before a name limit it.

    Raises:
        DefinitionError: one of them is wrong.

    >>> import pyarrow as pa
    >>> from fyke import col
    >>> app = App("alerts", brokers="localhost:9092")
    >>> payments = app.topic("payments", schema={"card": pa.string(), "amount": pa.float64()})
    >>> payments.filter(col.amount > 500).to("large", key="card")
    >>> app
    App('alerts': payments -> large, exactly_once)
    """

    def __init__(
        self,
        name: str,
        *,
        brokers: str,
        guarantee: Guarantee = "exactly_once",
        state: str = "local",
        folder: str | os.PathLike[str] | None = None,
        instance: str | None = None,
        commit_every: DurationLike = "1s",
        transaction_timeout: DurationLike = "15s",
        group_protocol: Protocol = "classic",
        member: str | None = None,
        start: Start = "earliest",
        on_offset_gap: OnGap = "fail",
        http: str | None = None,
        watchdog: DurationLike | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        for what, given, allowed in (
            ("guarantee", guarantee, ("exactly_once", "at_least_once")),
            ("group_protocol", group_protocol, ("classic", "consumer")),
            ("start", start, ("earliest", "latest")),
            ("on_offset_gap", on_offset_gap, ("fail", "earliest", "latest")),
        ):
            if given not in allowed:
                raise DefinitionError(f"{what}={given!r}: expected one of {', '.join(allowed)}")
        Instance.open(name, None, instance)  # raises what is wrong with the names
        self.name = name
        self.guarantee: Guarantee = guarantee
        self._brokers, self._state, self._instance = brokers, state, instance
        self._folder = Path("fyke-state", name) if folder is None else Path(folder)
        self._commit_every_s = to_ns(commit_every) / 1e9
        self._transaction_timeout_ms = to_ns(transaction_timeout) // 1_000_000
        self._protocol, self._member, self._start, self._on_gap = group_protocol, member, start, on_offset_gap
        self._user = dict(settings or {})
        self._http = None if http is None else address_of(http)
        self._watchdog_s = None if watchdog is None else to_ns(watchdog) / 1e9
        self._monitor = Monitor(name)
        self._topics: dict[str, Topic] = {}
        self._outlets: list[Outlet] = []
        self._rekeys: list[Rekey] = []
        self._stopping = threading.Event()
        self.http_port: int | None = None  # the one in use, where `http` says 0
        self._running: Runtime | None = None
        producer_settings(brokers, name, user=self._user)  # raises what is not the user's to set

    # -- what it does

    def topic(
        self,
        name: str,
        *,
        value: Any = "json",
        schema: pa.Schema | Mapping[str, pa.DataType] | None = None,
        time: str | None = None,
        unit: Unit | None = None,
        columns: Mapping[str, str] | None = None,
        out_of_order: DurationLike = 0,
        idle: DurationLike | None = None,
        advance: str | None = None,
        delay: DurationLike | None = None,
        on_error: OnError = "fail",
        dead_letters: str | None = None,
        errors_in_a_row: int | None = 1000,
    ) -> Flow:
        """Read a topic.

        Args:
            name: the topic's, and the stream's.
            value: what the values are: "json", "text", "raw", a function of bytes that gives a mapping, or a
                fyke.kafka Format.
            schema: the columns of "json", or of what a function gives.
            time: the column of the event time; None: the record's own time, which then is a column `timestamp`.
            unit: of a numeric time column: "s", "ms", "us" or "ns".
            columns: other parts of records as columns, {"card": "key:text"}: "key", "key:text", "partition", "offset",
                "timestamp", "topic", "header:<name>".
            out_of_order: the bound of disorder within a partition.
            idle: a partition without records for so long holds up no other input of its task; None: it does.
            advance: "wall_clock": while a partition is idle its watermark follows the clock, `delay` behind it: what
                then arrives with an earlier time is late.
            delay: see there.
            on_error: what becomes of a record that cannot be read: "fail", "skip" (and count), or "dead_letter".
            dead_letters: the topic for these: the record as it was, with error and origin in its headers.
            errors_in_a_row: stop after more than so many one after the other in a partition.

        Raises:
            DefinitionError: one of them is wrong, or the topic is read already.
        """
        if name in self._topics:
            raise DefinitionError(f'topic "{name}" is read already: use the stream that app.topic gave once more')
        poisoned = Poisoned(on_error, dead_letters, errors_in_a_row)
        made = self._topics[name] = Topic.of(
            name,
            format_of(value, schema, f'topic "{name}"'),
            time=time,
            unit=unit,
            columns=columns,
            out_of_order=out_of_order,
            idle=idle,
            advance=advance,
            delay=delay,
            poisoned=poisoned,
        )
        return Flow(self, made.stream())

    def table(
        self,
        name: str,
        *,
        key: str,
        value: Any = "json",
        schema: pa.Schema | Mapping[str, pa.DataType] | None = None,
        idle: DurationLike | None = "1s",
        on_error: OnError = "fail",
        dead_letters: str | None = None,
        errors_in_a_row: int | None = 1000,
    ) -> Flow:
        """Read a compacted topic as a table: the last record of each key; one without a value deletes it.

        A task that has no state yet reads its partition of the table to the end before it reads its other inputs; then
        the table is as it is when a row arrives. Keys must be cut into partitions as those of the other inputs.

        Args:
            name: the topic's, and the stream's.
            key: the column for the record's key, which is text.
            value, schema: as for `topic`; a record whose columns are all null deletes its key, too.
            idle: after so long without records the table holds nothing up.
            on_error, dead_letters, errors_in_a_row: as for `topic`.

        Raises:
            DefinitionError: one of them is wrong, or the topic is read already.
        """
        if name in self._topics:
            raise DefinitionError(f'topic "{name}" is read already: use the stream that app.topic gave once more')
        made = self._topics[name] = Topic.of(
            name,
            format_of(value, schema, f'table "{name}"'),
            time=None,
            unit=None,
            columns=None,
            out_of_order=0,
            idle=idle,
            advance=None,
            delay=None,
            poisoned=Poisoned(on_error, dead_letters, errors_in_a_row),
            table_key=key,
        )
        is_deleted = functools.reduce(operator.and_, (col[each].is_null() for each in made.format.schema.names))
        return Flow(self, made.stream().table(key, delete=is_deleted))

    def send(
        self,
        stream: Any,
        target: str | Function,
        *,
        key: str | Sequence[str] | None = None,
        event_time: bool = False,
    ) -> None:
        """Send the rows of a stream to a topic or a function; `stream.to(...)` says the same. See Flow.to."""
        inner = stream.inner if isinstance(stream, Flow) else stream
        self._outlets.append(outlet_of(inner, target, key, event_time))

    def rekey(self, stream: Any, *keys: str, name: str | None = None, partitions: int | None = None) -> Flow:
        """Give the rows of a stream another key; `stream.rekey(...)` says the same. See Flow.rekey."""
        made = rekey_of(self.name, stream.inner if isinstance(stream, Flow) else stream, keys, name, partitions)
        if any(each.topic == made.topic for each in self._rekeys):
            raise DefinitionError(f"rekey: there is {made.topic} already: give this one a name= of its own")
        self._rekeys.append(made)
        self._outlets.append(Outlet(made.source, (), made, ()))
        return Flow(self, made.stream())

    # -- running

    def run(self, *, since: Any = None, until: str | None = None, flush: bool = False) -> AppStatistics:
        """Run until SIGTERM, SIGINT, `stop` or an error; what is done is committed before it returns.

        Args:
            since: begin there and with no state, whatever was committed: "earliest", "latest", a datetime, or offsets
                by (topic, partition); no instance may run then.
            until: "end": up to the records that are there now, in the partitions that this instance gets.
            flush: at that end, let everything open come out, as at the end of a log; later records are late then.

        Raises:
            DefinitionError: the app or a topic is not as it should be. StateError: a state is damaged or not here.
            DataError: a record, or a gap in the offsets. BrokerError: what repeating did not mend. Whatever a Python
                function of the streams raised. Nothing after the last commit has been done then.
        """
        self._begin()
        return self._run(self._outlets, since, until, flush)

    async def matches(
        self,
        stream: Any = None,
        *,
        waiting: int = 10_000,
        since: Any = None,
        until: str | None = None,
        flush: bool = False,
    ) -> AsyncIterator[dict[str, Any]]:
        """Run, and give the rows of a stream one by one once they are committed: `async for row in app.matches(hits)`.

        The app runs on a thread; leaving the loop, or cancelling its task, stops it in order, and what stops it comes
        out of the loop. Rows that were committed and not taken before the process ends are not given again: what must
        not be missed goes to a topic.

        Args:
            stream: of this app. None: the one that is sent somewhere, where there is one.
            waiting: while so many rows wait to be taken, no more records are read.
            since, until, flush: as for `run`.

        Raises:
            DefinitionError: no stream is said, and there is not one that is sent somewhere. As for `run`.
        """
        if stream is None:
            sent = [outlet for outlet in self._outlets if not isinstance(outlet.target, Rekey)]
            streams = list(dict.fromkeys(outlet.stream for outlet in sent))
            if len(streams) != 1 or sent[0].tail:
                raise DefinitionError(f'app "{self.name}": say of which stream: app.matches(stream)')
            stream = streams[0]
        loop = asyncio.get_running_loop()
        inbox = Inbox(loop, waiting)
        outlets = [*self._outlets, outlet_of(stream.inner if isinstance(stream, Flow) else stream, inbox, None)]
        self._begin()
        running = loop.run_in_executor(None, self._run_for, inbox, outlets, since, until, flush)
        try:
            async for row in inbox.rows():
                yield row
        finally:
            self.stop()
            await asyncio.wait([running])
        running.result()

    def _run_for(self, inbox: Inbox, *arguments: Any) -> None:
        try:
            self._run(*arguments)
        finally:
            inbox.end()

    def _begin(self) -> None:
        if self._running is not None:
            raise FykeError(f'app "{self.name}" runs already')
        self._stopping.clear()

    def _run(self, outlets: Sequence[Outlet], since: Any, until: str | None, flush: bool) -> AppStatistics:
        if until not in (None, "end"):
            raise DefinitionError(f'until={until!r}: expected "end", or None')
        if flush and until is None:
            raise DefinitionError('flush=True needs until="end"')
        admin = Admin(admin_settings(self._brokers, self.name, self._user))
        parts = prepared(admin, plans_of(self.name, self._topics, self._rekeys, outlets), self._state == "changelog")
        if since is not None:
            for part in parts:
                admin.reset(part.plan.group, _offsets(admin, part.inputs, since if part.plan.topics else "latest"))
        with self._open_instance() as instance, _on_signals(self.stop), contextlib.ExitStack() as around:
            self._monitor = monitor = Monitor(self.name)
            if self._watchdog_s is not None:
                around.enter_context(Watchdog(monitor, self._watchdog_s))
            if self._http is not None:
                self.http_port = around.enter_context(Endpoints(self._http, monitor)).port
            if until is not None:  # one part after the other: what one writes is all there when the next begins
                given = [self._run_part(part, instance, admin, monitor, flush) for part in parts]
                return given[0]
            return self._run_parts(parts, instance, monitor)

    def _run_parts(self, parts: Sequence[Part], instance: Instance, monitor: Monitor) -> AppStatistics:
        """Run all parts, the first in this thread; the end of one is the end of all."""
        failures: list[BaseException] = []

        def beside(part: Part) -> None:
            try:
                self._run_part(part, instance, None, monitor, False)
            except BaseException as error:
                failures.append(error)
            self._stopping.set()

        threads = [threading.Thread(target=beside, args=(part,), name=part.plan.group) for part in parts[1:]]
        for thread in threads:
            thread.start()
        try:
            statistics = self._run_part(parts[0], instance, None, monitor, False)
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
        return statistics

    def _run_part(
        self, part: Part, instance: Instance, until: Admin | None, monitor: Monitor, flush: bool
    ) -> AppStatistics:
        """Run a part; until: who says where the inputs end now, if that is the end."""
        ends = None if until is None else until.offsets(part.inputs, "latest")
        runtime = self._made(part, instance)
        if part.number == 0:
            self._running = runtime
        try:
            runtime.subscribe()
            while not self._stopping.is_set():
                runtime.step(POLL_S)
                if part.number == 0:
                    monitor.turned(runtime)
                if ends is not None and runtime.reached(ends):
                    if flush:
                        runtime.flush()
                    break
            statistics = runtime.statistics()
            runtime.stop()
        except BaseException as error:
            log.error("%s stops: %s: %s", part.plan.group, type(error).__name__, error)
            runtime.fail()
            raise
        finally:
            if part.number == 0:
                self._running = None
        return statistics

    def stop(self) -> None:
        """Let `run` come to its end: finish, commit, leave the group. From any thread."""
        self._stopping.set()

    def status(self) -> Status | None:
        """Give what the run under way says of itself, a second old at most; None: nothing yet. From any thread."""
        return None if self._running is None else self._monitor.status

    def statistics(self) -> AppStatistics | None:
        """Give the counts in `status`."""
        status = self.status()
        return None if status is None else status.statistics

    def reset(self, since: Any = "earliest") -> None:
        """Forget state and offsets: the next instance begins there, as if the app had never run.

        What was written stays where it is. No instance may run.

        Args:
            since: "earliest", "latest", a datetime, or offsets by (topic, partition).

        Raises:
            BrokerError: an instance runs, or no broker answers.
        """
        admin = Admin(admin_settings(self._brokers, self.name, self._user))
        counts = admin.partitions(self._topics)
        everything = [Partition(topic, number) for topic, n in counts.items() for number in range(n)]
        admin.reset(self.name, _offsets(admin, everything, since))

    def examine(self, watch_s: float = 0.0) -> list[Finding]:
        """Ask the brokers how the app is: its topics, group, offsets, event time, open transactions, settings.

        Args:
            watch_s: how long to look at open transactions, to tell those that hang.

        Raises:
            BrokerError: no broker answers.
        """
        admin = Admin(admin_settings(self._brokers, self.name, self._user))
        written = {outlet.target for outlet in self._outlets if isinstance(outlet.target, str)}
        written |= {t.poisoned.dead_letters for t in self._topics.values() if t.poisoned.dead_letters is not None}
        timeout = self._transaction_timeout_ms if self.guarantee == "exactly_once" else None
        return judge(gather(admin, self.name, list(self._topics), sorted(written), timeout, watch_s))

    def explain(self) -> str:
        """Draw what each task runs."""
        return "\n".join(plan.engine().explain() for plan in self.plans())

    def plans(self) -> list[Plan]:
        """Give what each instance runs, checked: parts, which are more than one where rows get another key.

        Raises:
            DefinitionError, StateError: see run.
        """
        return plans_of(self.name, self._topics, self._rekeys, self._outlets)

    # -- what it is made of

    def _consumer(self, plan: Plan) -> Settings:
        assignor = "together" if len(plan.inputs) > 1 else "balanced"
        made = consumer_settings(
            self._brokers,
            plan.group,
            protocol=self._protocol,
            assignor=assignor,  # type: ignore[arg-type]
            member=self._member,
            user=self._user,
        )
        return Settings({**made, "enable.partition.eof": True})

    def _open_instance(self) -> Instance:
        is_alone = self._state == "local" or self._instance is None
        return Instance.open(self.name, self._folder if is_alone else None, self._instance)

    def _made(self, part: Part, instance: Instance) -> Runtime:
        timeout_s = self._transaction_timeout_ms / 1000
        limits = Limits(self._commit_every_s, settled_s=15 + timeout_s)
        start: Start = self._start if part.plan.topics else "earliest"
        reader = Reader(self._consumer(part.plan), start=start, on_gap=self._on_gap)
        delivery: Delivery
        if self.guarantee == "exactly_once":
            ours = producer_settings(
                self._brokers,
                self.name,
                transactional_id=instance.transactional_id(part.number),
                transaction_timeout_ms=self._transaction_timeout_ms,
                user=self._user,
            )
            delivery = ExactlyOnce(lambda: TransactionalProducer(ours), limits.settled_s)
        else:
            plain = producer_settings(self._brokers, self.name, user=self._user)
            delivery = AtLeastOnce(lambda: Producer(plain))
        backend = self._backend(part, delivery)
        return Runtime(part.plan, reader, delivery, backend, partitions=part.partitions, limits=limits)

    def _backend(self, part: Part, delivery: Delivery) -> Backend:
        if self._state == "changelog":
            admin = Admin(admin_settings(self._brokers, self.name, self._user))
            alone = consumer_settings(self._brokers, f"{part.plan.group}-restore", user=self._user)
            return Changelog(
                changelog_of(part.plan.group),
                delivery,
                lambda: Reader(Settings({**alone, "enable.partition.eof": True})),
                lambda partition: admin.offsets([partition], "latest")[partition],
            )
        of_part = f"part-{part.number}-" if part.number else ""
        if self._state == "local":
            # A folder each: a store has one writer.
            return StoreBackend(open_store(str(self._folder / f"{of_part}state")), is_shared=False)
        store = open_store(self._state)
        if isinstance(store, LocalStore):
            store = LocalStore(self._state, is_shared=True)
        return StoreBackend(store, is_shared=True, part=of_part)

    def __repr__(self) -> str:
        sent = [outlet.target for outlet in self._outlets if not isinstance(outlet.target, Rekey)]
        targets = ", ".join(str(getattr(target, "__name__", target)) for target in sent)
        return f"App({self.name!r}: {', '.join(self._topics)} -> {targets or 'nowhere'}, {self.guarantee})"


def _offsets(admin: Admin, partitions: Sequence[Partition], since: Any) -> Mapping[Partition, int]:
    if isinstance(since, dt.datetime):
        since = int(since.timestamp() * 1000)
    if isinstance(since, str | int):
        return admin.offsets(partitions, since)
    if not isinstance(since, Mapping):
        raise DefinitionError(f'since={since!r:.60}: expected "earliest", "latest", a datetime or offsets by partition')
    given = {Partition(*place): int(offset) for place, offset in since.items()}
    missing = [each for each in partitions if each not in given]
    if missing:
        raise DefinitionError(f"since=: no offset for {missing[0]}")
    return given


@contextlib.contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and the first SIGINT end the run in order; only the main thread can be told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def heard(number: int, _: FrameType | None) -> None:
        stop()
        signal.signal(number, before[number])  # a second one does what it always does

    for number in (int(signal.SIGTERM), int(signal.SIGINT)):
        before[number] = signal.signal(number, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
