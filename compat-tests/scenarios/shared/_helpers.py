"""A client's worker, as _serve.py describes it, and what the scenarios that use it share."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _common import *  # noqa: F401,F403
from _common import BOOTSTRAP, PATIENCE_S, Program, absent, equal, say, unique, until
from _serve import decoded, encoded
import collections
import subprocess
import time

END = "end"
POLL_MS = 200  # how long a member polls at a time
STUCK_S = 3  # a poll that takes longer waits for what others must do; longer than any worker's own patience
HUNG_S = 8  # without any progress: then somebody ends the process and starts another
Record = collections.namedtuple("Record", "partition offset timestamp key value headers")


class Refused(Exception):
    """What a worker answered with `error`."""

    def __init__(self, answer):
        super().__init__(answer)
        self.kind = answer.split()[1]
        self.fenced = self.kind == "fenced"


class Worker:
    def __init__(self):
        self.program = Program(*sys.argv[2:], BOOTSTRAP, stdin=subprocess.PIPE, stderr=None)
        self.queued = 0  # commands whose answers nobody has read

    def tell(self, *words):
        print(*words, file=self.program.process.stdin, flush=True)

    def wait_for(self, *beginnings):
        wanted = (*beginnings, "unsupported")
        line = self.program.wait_for(lambda line: line.split(" ", 1)[0] in wanted)
        if line.startswith("unsupported "):
            absent(line.removeprefix("unsupported "))
        return line

    def ask(self, *words):
        """The words of the answer; an error is raised."""
        while self.queued:
            self.queued -= 1
            self.answer()
        self.tell(*words)
        return self.answer()

    def answer(self):
        answer = self.wait_for("ok", "error")
        if answer != "ok" and not answer.startswith("ok "):
            raise Refused(answer)
        return answer.split()[1:]

    def refuses(self, *words):
        """The error that must be the answer."""
        try:
            answer = self.ask(*words)
        except Refused as error:
            return error
        raise AssertionError(f"{words} was answered with {answer}")

    def topic(self, partitions=1, **configs):
        name = unique("topic")
        self.ask("topic", name, partitions, *(f"{key.replace('_', '.')}={value}" for key, value in configs.items()))
        return name

    def producer(self, **options):
        """A new producer's name."""
        name = unique("producer")
        self.ask("producer", name, *words(options))
        return name

    def transactional(self, name, identity, timeout_ms=30000):
        self.ask("producer", name, f"id={identity}", f"transaction_timeout_ms={timeout_ms}")

    def consumer(self, topic, partitions=1, **options):
        """A new consumer's name."""
        name = unique("consumer")
        self.ask("consumer", name, topic, partitions, *words(options))
        return name

    def write(self, name, topic, partition, *values, headers=(), **options):
        """Sends values (bytes, text or None) with the same key, timestamp and headers, and waits until they are in the log."""
        if "key" in options:
            options["key"] = encoded(options["key"])
        pairs = (f"header={encoded(title)}:{encoded(value)}" for title, value in headers)
        self.ask("send", name, topic, partition, *words(options), *pairs, *map(encoded, values))
        self.ask("flush", name)

    def records(self, name, count):
        """The next `count` records in full, in order within each partition."""
        found = [record(word) for word in self.ask("records", name, count, PATIENCE_S * 1000)]
        equal(len(found), count)
        return found

    def nothing_more(self, name):
        equal(self.poll(name, 1, ms=500), {})

    def number(self, *words):
        """The number that is the answer."""
        [answer] = self.ask(*words)
        return int(answer)

    def send(self, name, topic, partitions):
        """Sends the values of each partition (a list of lists), and waits until they are in the log."""
        self.queue(name, topic, partitions)
        self.ask("flush", name)

    def queue(self, name, topic, partitions):
        """Has the values sent, and goes on at once: there are libraries that do not even take a record without a broker."""
        for partition, values in enumerate(partitions):
            if values:
                self.tell("send", name, topic, partition, *values)
                self.queued += 1

    def poll(self, name, count, ms=PATIENCE_S * 1000):
        """The values of `count` records by partition; fewer when `ms` have gone by."""
        return by_partition(self.ask("poll", name, count, ms))

    def await_records(self, name, count, transform):
        """Polls until `count` records have come, while `transform` is started again where it has to be."""
        seen, progress, patience_s = 0, time.monotonic(), HUNG_S

        def enough():
            nonlocal seen, progress, patience_s
            transform.revive()
            found = sum(map(len, self.poll(name, count - seen, ms=500).values()))
            if found:
                seen, progress = seen + found, time.monotonic()
            elif time.monotonic() - progress > patience_s:
                transform.replace(patience_s)
                # On a busy machine a new process may need longer than that to get anywhere.
                progress, patience_s = time.monotonic(), 2 * patience_s
            return seen == count

        until(enough, f"{count} records", pause_s=0)

    def finish(self, topic, partitions):
        """Writes a last record into each partition, after which no consumer has to wait for more."""
        self.send(self.producer(), topic, [[END]] * partitions)

    def read(self, topic, partitions, isolation="committed"):
        """Everything up to the last record of each partition that `finish` wrote, as a list of lists."""
        name = self.consumer(topic, partitions, isolation=isolation)
        found = [[] for _ in range(partitions)]

        def ended():
            # One at a time: a record that follows another's end is none that may be asked for.
            for partition, values in self.poll(name, 1).items():
                found[partition].extend(values)
            return all(values[-1:] == [END] for values in found)

        until(ended, f"the end of {topic}: {found}", pause_s=0)
        return [values[:-1] for values in found]


class Member:
    """A member of a group, alone in a worker of its own, so that it can be killed and frozen."""

    def __init__(self, topic, group, **options):
        self.worker, self.values, self.partitions = Worker(), [], []
        self.worker.ask("member", "member", group, topic, *words(options))

    def poll(self, count=100, ms=POLL_MS):
        """Lets the library work and takes what there is; returns the member itself."""
        self.start_poll(count, ms)
        return self.polled()

    def start_poll(self, count=100, ms=POLL_MS):
        self.worker.tell("poll", "member", count, ms)

    def polled(self):
        for values in by_partition(self.worker.answer()).values():
            self.values.extend(values)
        self.partitions = [int(word) for word in self.worker.ask("assignment", "member")]
        return self

    def kill(self):
        self.worker.program.kill()


def poll_all(members):
    """At the same time, and those that have answered again while another has not: there are libraries whose poll takes as long
    as a rebalance, which waits until each member has heard of it and polls."""
    begun, answered = {}, set()

    def begin(members):
        for member in members:
            member.start_poll()
            begun[member] = time.monotonic()

    def all_answered():
        for member in [member for member in begun if member.worker.program.has_news()]:
            del begun[member]
            answered.add(member.polled())
        if begun and time.monotonic() - min(begun.values()) > STUCK_S:
            begin([member for member in members if member not in begun])
        return not begun and len(answered) == len(members)

    begin(members)
    until(all_answered, "all polls answered", pause_s=0.01)
    return members


def share(members, partitions):
    """Polls all until each has some of the partitions and all are given out once."""

    def shared():
        owned = [member.partitions for member in poll_all(members)]
        return all(owned) and sorted(sum(owned, [])) == list(range(partitions))

    until(shared, f"{len(members)} members have {partitions} partitions", pause_s=0)


def read_together(members, count):
    """Polls all until their values together are `count` different ones."""
    read = lambda: {value for member in poll_all(members) for value in member.values}
    return until(lambda: len(read()) >= count and read(), f"{count} values read", pause_s=0)


class Transform:
    """A worker that carries out `transform` with a transactional id and a group, started again where its library asks for it."""

    def __init__(self, source, target, group, identity):
        self.words = ("transform", source, target, group, identity)
        self.worker = Worker()
        self.lines_read = 0

    def start(self, stall="-"):
        self.worker.tell(*self.words, stall)
        return self

    def wait_for_stall(self):
        line = self.worker.wait_for("stalled", "error")
        equal(line, "stalled")

    def revive(self):
        """What its supervisor would do: a transform that has ended with an error begins anew, with the same names."""
        lines = self.worker.program.lines
        while self.lines_read < len(lines):
            line = lines[self.lines_read]
            self.lines_read += 1
            if line.startswith("error "):
                say(f"note: begun anew after {line}")
                self.start()

    def replace(self, hung_s):
        say(f"note: the library hung for {hung_s} s; its process was killed and another one started")
        self.kill()
        self.worker, self.lines_read = Worker(), 0
        self.start()

    def kill(self):
        self.worker.program.kill()


def words(options):
    return [f"{name}={value}" for name, value in options.items()]


def record(word):
    partition, offset, timestamp, *texts = word.split(":")
    key, value, *rest = map(decoded, texts)
    headers = list(zip((name.decode() for name in rest[::2]), rest[1::2], strict=True))
    return Record(int(partition), int(offset), int(timestamp), key, value, headers)


def by_partition(answer):
    """The values that a `poll` has answered with."""
    values = {}
    for record in answer:
        partition, value = record.split(":")
        values.setdefault(int(partition), []).append(decoded(value).decode())
    return values


def numbered(partitions, first, count):
    """Values that say where and when they were written, `count` for each of `partitions`."""
    return [[f"p{partition}n{number}" for number in range(first, first + count)] for partition in range(partitions)]


def transformed(partitions):
    return [[value + "!" for value in values] for values in partitions]


def together(*parts):
    """What the parts (lists of lists) hold by partition, one after the other."""
    return [sum(values, []) for values in zip(*parts, strict=True)]


def exactly(found, expected):
    """That each partition holds what it should, nothing lost, doubled or out of order."""
    for partition, (values, wanted) in enumerate(zip(found, expected, strict=True)):
        lost, foreign = [value for value in wanted if value not in values], [value for value in values if value not in wanted]
        assert values == wanted, f"partition {partition}: lost {lost}, foreign {foreign}, all: {values}"
