"""Stand-ins for librdkafka's clients that answer as a script says, and a clock that only moves when slept on."""

from confluent_kafka import KafkaError, KafkaException

TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "it took too long", retriable=True)
ABORT = KafkaError(KafkaError.ILLEGAL_GENERATION, "the group has gone on", txn_requires_abort=True)
FENCED = KafkaError(KafkaError._FENCED, "another one has started", fatal=True)


class FakeClock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Scripted:
    """Answers each method with the next entry of its script, {method: [answers]}, then with None for ever.

    A KafkaError or an exception is raised, a function called, all else returned. `calls` has the methods' names and
    arguments in order.
    """

    def __init__(self, **script):
        self.script = {name: list(answers) for name, answers in script.items()}
        self.calls = []
        self.settings = None

    def made(self, settings):
        """What a class of clients is asked for."""
        self.settings = settings
        return self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments, **named):
            self.calls.append((name, *arguments, *([named] if named else [])))
            answers = self.script.get(name)
            answer = answers.pop(0) if answers else None
            if isinstance(answer, KafkaError):
                raise KafkaException(answer)
            if isinstance(answer, BaseException):
                raise answer
            return answer(*arguments, **named) if callable(answer) else answer

        return call

    def names(self):
        return [call[0] for call in self.calls]


class Record:
    """A record, or an error, as a consumer hands it out."""

    def __init__(self, topic, partition, offset, value=b"", error=None, key=None, timestamp=(1, 0), headers=None):
        self._fields = (topic, partition, offset, value, error, key, timestamp, headers)

    topic = property(lambda self: lambda: self._fields[0])
    partition = property(lambda self: lambda: self._fields[1])
    offset = property(lambda self: lambda: self._fields[2])
    value = property(lambda self: lambda: self._fields[3])
    error = property(lambda self: lambda: self._fields[4])
    key = property(lambda self: lambda: self._fields[5])
    timestamp = property(lambda self: lambda: self._fields[6])
    headers = property(lambda self: lambda: self._fields[7])
