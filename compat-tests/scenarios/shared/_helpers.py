"""A client's worker, as _serve.py describes it, and what the scenarios that use it share."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _common import *  # noqa: F401,F403
from _common import BOOTSTRAP, PATIENCE_S, Program, equal, unique, until
import subprocess

END = "end"


class Refused(Exception):
    """What a worker answered with `error`."""

    def __init__(self, answer):
        super().__init__(answer)
        self.fenced = answer.startswith("error fenced ")


class Worker:
    def __init__(self):
        self.program = Program(*sys.argv[2:], BOOTSTRAP, stdin=subprocess.PIPE, stderr=None)

    def tell(self, *words):
        print(*words, file=self.program.process.stdin, flush=True)

    def wait_for(self, *beginnings):
        return self.program.wait_for(lambda line: line.split(" ", 1)[0] in beginnings)

    def ask(self, *words):
        """The words of the answer; an error is raised."""
        self.tell(*words)
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

    def topic(self, partitions):
        name = unique("topic")
        self.ask("topic", name, partitions)
        return name

    def transactional(self, name, identity, timeout_ms=30000):
        self.ask("producer", name, identity, timeout_ms)

    def send(self, name, topic, partitions):
        """Sends the values of each partition (a list of lists), and waits until they are in the log."""
        self.queue(name, topic, partitions)
        self.ask("flush", name)

    def queue(self, name, topic, partitions):
        for partition, values in enumerate(partitions):
            if values:
                self.ask("send", name, topic, partition, *values)

    def poll(self, name, count, ms=PATIENCE_S * 1000):
        """The values of `count` records by partition; fewer when `ms` have gone by."""
        values = {}
        for record in self.ask("poll", name, count, ms):
            partition, value = record.split(":")
            values.setdefault(int(partition), []).append(value)
        return values

    def finish(self, topic, partitions):
        """Writes a last record into each partition, after which no consumer has to wait for more."""
        self.ask("producer", "last", "-", 0)
        self.send("last", topic, [[END]] * partitions)

    def read(self, topic, partitions, isolation="committed"):
        """Everything up to the last record of each partition that `finish` wrote, as a list of lists."""
        name = unique("reader")
        self.ask("consumer", name, topic, partitions, isolation)
        found = [[] for _ in range(partitions)]

        def ended():
            # One at a time: a record that follows another's end is none that may be asked for.
            for partition, values in self.poll(name, 1).items():
                found[partition].extend(values)
            return all(values[-1:] == [END] for values in found)

        until(ended, f"the end of {topic}: {found}", pause_s=0)
        return [values[:-1] for values in found]


class Transform:
    """A worker that carries out `transform` with a transactional id and a group, restarted where its library asks for that."""

    def __init__(self, source, target, group, identity):
        self.words = ("transform", source, target, group, identity)
        self.worker = Worker()

    def start(self, stall="-"):
        self.worker.tell(*self.words, stall)
        return self

    def wait_for_stall(self):
        self._wait_for("stalled", lambda _: True)

    def wait_for_records(self, count):
        """Until so many records are in transactions that were committed from now on."""
        left = [count]

        def enough(line):
            left[0] -= int(line.split()[1])
            return left[0] <= 0

        self._wait_for("committed", enough)

    def _wait_for(self, word, wanted):
        while True:
            line = self.worker.wait_for(word, "error")
            if line.startswith("error"):
                print("started again after:", line, flush=True)
                self.start()
            elif wanted(line):
                return

    def kill(self):
        self.worker.program.kill()


def numbered(partitions, first, count):
    """Values that say where and when they were written, `count` for each of `partitions`."""
    return [[f"p{partition}n{number}" for number in range(first, first + count)] for partition in range(partitions)]


def transformed(partitions):
    return [[value + "!" for value in values] for values in partitions]
