"""A broker in memory, with what exactly-once rests on: transactions, last stable offsets, producer epochs, generations.

Its clients answer as librdkafka's do, as far as Reader and Producer ask them. Every call passes `Cluster.at`, where a
test can let the instance crash, or let an answer be lost, before or after the call has had its effect. Time is a
FakeClock; transactions time out by it. What it promises is what test_transactions.py shows of the real one:

- a reader of committed records sees nothing past the first open transaction, and nothing of aborted ones;
- offsets sent into a transaction are there with its commit; asking for them while it is open times out;
- a producer that starts with an id fences the earlier ones and aborts what they left open;
- offsets with the metadata of an earlier generation, or of who is no member any more, are refused.

Groups are cooperative: a partition is taken away from one member before another has it, together with those of the same
number of other topics.
"""

from __future__ import annotations

from collections import defaultdict

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.kafka.fakes import FakeClock, Record

TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True)
FENCED = KafkaError(KafkaError._FENCED, "another one has started", fatal=True)
STALE = KafkaError(KafkaError.ILLEGAL_GENERATION, "the group has gone on", txn_requires_abort=True)
UNKNOWN = KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "no member", txn_requires_abort=True)
EOF = KafkaError(KafkaError._PARTITION_EOF, "the end")
STATE = KafkaError(KafkaError._STATE, "not in this state")


class Crash(BaseException):
    """The instance is gone, at once."""


class Clock(FakeClock):
    """Both clocks are one."""

    def time_ns(self):
        return int(self.now * 1e9)


class Entry:
    """A record in a log, or what marks the end of a transaction there."""

    def __init__(self, value, key, headers, transaction, is_marker=False, timestamp=0):
        self.timestamp = timestamp
        self.value, self.key, self.headers = value, key, headers
        self.transaction, self.is_marker = transaction, is_marker


class Transaction:
    """What a producer writes between two commits."""

    def __init__(self, deadline):
        self.state = "open"
        self.deadline = deadline
        self.places = set()
        self.offsets = {}
        self.group = None


class Log(list):
    """Entries of a partition."""

    @property
    def stable(self):
        """The offset that committed records are read up to."""
        return next((i for i, entry in enumerate(self) if is_open(entry)), len(self))


def is_open(entry):
    return entry.transaction is not None and entry.transaction.state == "open"


class Group:
    """Members and what they have."""

    def __init__(self):
        self.generation = 0
        self.members = {}  # name -> Consumer
        self.owners = {}  # partition number -> member that has it
        self.offsets = {}
        self.joined = 0

    def target(self, numbers):
        """Who is to have which number: as now where that is fair, so that little moves."""
        names = sorted(self.members)
        if not names:
            return {}
        most = -(-numbers // len(names))
        wanted, load = {}, defaultdict(int)
        for number in range(numbers):
            owner = self.owners.get(number)
            if owner in self.members and load[owner] < most:
                wanted[number] = owner
                load[owner] += 1
        for number in range(numbers):
            if number not in wanted:
                name = min(names, key=lambda each: load[each])
                wanted[number] = name
                load[name] += 1
        return wanted


class Cluster:
    """All there is.

    Args:
        topics: names mapped to numbers of partitions.
        clock: the time of transactions.
    """

    def __init__(self, topics, clock=None):
        self.clock = clock or Clock()
        self.logs = {(name, p): Log() for name, n in topics.items() for p in range(n)}
        self.numbers = dict(topics)
        self.groups = defaultdict(Group)
        self.epochs = defaultdict(int)
        self.open = {}  # transactional id -> Transaction
        self.at = lambda client, what, when: None

    # -- what happens without a client's doing

    def tick(self):
        """Abort what has timed out; its producer is fenced."""
        for name, transaction in list(self.open.items()):
            if transaction.state == "open" and self.clock.now >= transaction.deadline:
                self.epochs[name] += 1
                self.end(name, "aborted")

    def end(self, name, state):
        transaction = self.open.pop(name)
        transaction.state = state
        for place in sorted(transaction.places):
            self.logs[place].append(Entry(None, None, None, transaction, is_marker=True))
        if state == "committed" and transaction.group is not None:
            self.groups[transaction.group].offsets |= transaction.offsets

    def expire(self, group, member):
        """The session of a member is over."""
        found = self.groups[group]
        if found.members.pop(member, None) is not None:
            found.owners = {n: owner for n, owner in found.owners.items() if owner != member}
            found.generation += 1

    def write(self, topic, partition, value, key=None):
        self.logs[topic, partition].append(Entry(value, key, None, None))

    def committed(self, topic):
        """What readers of committed records see of a topic, partition by partition."""
        seen = []
        for p in range(self.numbers[topic]):
            log = self.logs[topic, p]
            seen += [e.value for e in log[: log.stable] if is_visible(e)]
        return seen


def is_visible(entry):
    return not entry.is_marker and (entry.transaction is None or entry.transaction.state == "committed")


def raised(error):
    return KafkaException(error)


class Consumer:
    """As Reader asks it. `most`: how many records consume gives at once."""

    def __init__(self, cluster, settings, most=lambda: 50):
        self.cluster, self.most = cluster, most
        self.group_name = settings["group.id"]
        self.group = cluster.groups[self.group_name]
        self.topics, self.callbacks = [], {}
        self.name, self.generation = None, -1
        self.positions = {}
        self.tells_ends = settings.get("enable.partition.eof", False)
        self.told = {}
        self.paused = set()

    # -- the group

    def subscribe(self, topics, on_assign, on_revoke, on_lost):
        self.topics = topics
        self.callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}

    def _join(self):
        self.group.joined += 1
        self.name = f"member-{self.group.joined}"
        self.group.members[self.name] = self
        self.group.generation += 1

    def _settle(self):
        """What a poll does for the group before it hands out records."""
        if not self.topics:
            return
        if self.name not in self.group.members:
            if self.name is not None and self.positions:
                self.callbacks["lost"](self, self._places(sorted({p for _, p in self.positions})))
            self._join()
        self.generation = self.group.generation
        target = self.group.target(self.cluster.numbers[self.topics[0]])
        mine = [n for n, owner in self.group.owners.items() if owner == self.name]
        leaving = sorted(n for n in mine if target[n] != self.name)
        if leaving:
            self.callbacks["revoke"](self, self._places(leaving))
            if self.name not in self.group.members:
                return  # it slept too long at that
            for number in leaving:
                del self.group.owners[number]
            self.group.generation += 1
            self.generation = self.group.generation
        coming = sorted(n for n, owner in target.items() if owner == self.name and n not in self.group.owners)
        if coming:
            self.group.owners |= dict.fromkeys(coming, self.name)
            self.callbacks["assign"](self, self._places(coming))

    def _places(self, numbers):
        return [TopicPartition(topic, number) for number in numbers for topic in self.topics]

    def consumer_group_metadata(self):
        self.cluster.at(self, "consumer_group_metadata", "before")
        generation = self.generation if self.name is not None else -1
        name = self.name or ""
        head = b"CGMDv2:" + generation.to_bytes(4, "little", signed=True)
        return head + self.group_name.encode() + bytes(1) + name.encode() + bytes(2)

    def assign(self, places):
        self.positions = {(each.topic, each.partition): each.offset for each in places}

    def incremental_assign(self, places):
        self.positions |= {(each.topic, each.partition): each.offset for each in places}

    def incremental_unassign(self, places):
        for each in places:
            self.positions.pop((each.topic, each.partition), None)

    # -- records

    def poll(self, timeout):
        self.cluster.tick()
        self.cluster.at(self, "poll", "before")
        self._settle()
        found = self._read(1)
        if not found:
            self.cluster.clock.now += timeout
        return found[0] if found else None

    def consume(self, n, timeout):
        return self._read(min(n, self.most()))

    def _read(self, n):
        found = []
        for place in sorted(self.positions.keys() - self.paused):
            log = self.cluster.logs[place]
            stable = log.stable
            while len(found) < n and self.positions[place] < stable:
                offset = self.positions[place]
                self.positions[place] = offset + 1
                if is_visible(log[offset]):
                    entry = log[offset]
                    found.append(Record(*place, offset, entry.value, key=entry.key, headers=entry.headers))
            if self.tells_ends and len(found) < n and self.told.get(place) != stable:
                self.told[place] = stable
                found.append(Record(*place, stable, error=EOF))
        return found

    def seek(self, place):
        if (place.topic, place.partition) not in self.positions:
            raise raised(STATE)
        self.positions[place.topic, place.partition] = place.offset

    def pause(self, places):
        self.paused |= {(each.topic, each.partition) for each in places}

    def resume(self, places):
        self.paused -= {(each.topic, each.partition) for each in places}

    def get_watermark_offsets(self, place, timeout):
        return 0, self.cluster.logs[place.topic, place.partition].stable

    def committed(self, places, timeout):
        self.cluster.tick()
        self.cluster.at(self, "committed", "before")
        asked = {(e.topic, e.partition) for e in places}
        if any(t.group == self.group_name and asked & t.offsets.keys() for t in self.cluster.open.values()):
            raise raised(TIMED_OUT)
        known = [self.group.offsets.get((e.topic, e.partition), (-1001, "")) for e in places]
        return [TopicPartition(e.topic, e.partition, *at) for e, at in zip(places, known, strict=True)]

    def commit(self, offsets, asynchronous):
        self.cluster.at(self, "commit", "before")
        if self.name not in self.group.members:
            raise raised(UNKNOWN)
        if self.generation != self.group.generation:
            raise raised(STALE)
        self.group.offsets |= {(e.topic, e.partition): (e.offset, e.metadata) for e in offsets}
        self.cluster.at(self, "commit", "after")
        return offsets

    def close(self):
        if self.name in self.group.members:
            mine = sorted(n for n, owner in self.group.owners.items() if owner == self.name)
            if mine:
                self.callbacks["revoke"](self, self._places(mine))
            self.cluster.expire(self.group_name, self.name)
        self.name = None


class Producer:
    """As Producer and TransactionalProducer ask it."""

    def __init__(self, cluster, settings):
        self.cluster = cluster
        self.name = settings.get("transactional.id")
        self.timeout = settings.get("transaction.timeout.ms", 15_000) / 1000
        self.epoch = None
        self.outcome = None

    def _check(self):
        self.cluster.tick()
        if self.name is not None and self.epoch != self.cluster.epochs[self.name]:
            raise raised(FENCED)

    def init_transactions(self, timeout):
        self.cluster.at(self, "init_transactions", "before")
        self.cluster.epochs[self.name] += 1
        if self.name in self.cluster.open:
            self.cluster.end(self.name, "aborted")
        self.epoch = self.cluster.epochs[self.name]
        self.cluster.at(self, "init_transactions", "after")

    def begin_transaction(self):
        self._check()
        self.cluster.open[self.name] = Transaction(self.cluster.clock.now + self.timeout)
        self.outcome = None

    def produce(self, topic, value, key=None, partition=-1, timestamp=0, headers=None):
        self.cluster.at(self, "produce", "before")
        self._check()
        transaction = None
        n = self.cluster.numbers[topic]
        place = (topic, partition if partition >= 0 else sum(key or b"") % n)
        if self.name is not None:
            transaction = self.cluster.open[self.name]
            transaction.places.add(place)
        self.cluster.logs[place].append(Entry(value, key, headers, transaction, timestamp=timestamp))
        self.cluster.at(self, "produce", "after")

    def poll(self, timeout):
        return 0

    def flush(self, timeout):
        self.cluster.at(self, "flush", "before")
        return 0

    def purge(self):
        pass

    def send_offsets_to_transaction(self, offsets, metadata, timeout):
        self.cluster.at(self, "send_offsets", "before")
        self._check()
        generation = int.from_bytes(metadata[7:11], "little", signed=True)
        group_name, member, *_ = metadata[11:].decode().split("\0")
        group = self.cluster.groups[group_name]
        if member not in group.members:
            raise raised(UNKNOWN)
        if generation != group.generation:
            raise raised(STALE)
        transaction = self.cluster.open[self.name]
        transaction.group = group_name
        transaction.offsets |= {(e.topic, e.partition): (e.offset, e.metadata) for e in offsets}
        self.cluster.at(self, "send_offsets", "after")

    def commit_transaction(self, timeout):
        self._end("commit_transaction", "committed")

    def abort_transaction(self, timeout):
        self._end("abort_transaction", "aborted")

    def _end(self, what, state):
        self.cluster.at(self, what, "before")
        self._check()
        if self.outcome != state:  # else it is the same call again
            self.cluster.end(self.name, state)
            self.outcome = state
        self.cluster.at(self, what, "after")
