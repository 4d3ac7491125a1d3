"""What every Python scenario shares: the broker's address, unused names, subprocesses, the last line."""
import itertools
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
PYTHON = (sys.executable, "-u")
PATIENCE_S = 40  # how long anything that must happen may take on a busy machine
_run = f"{os.getpid()}-{random.randrange(1 << 32):08x}"
_numbers = itertools.count(1)
_children = []


def unique(name):
    """A topic or group name that nobody else uses."""
    return f"{name}-{_run}-{next(_numbers)}"


def until(condition, what, pause_s=0.1):
    """Calls `condition` until it gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {PATIENCE_S} s: {what}")
        time.sleep(pause_s)


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r:.400}, got {actual!r:.400}"


def say(line):
    """Prints a line with one write: what workers log to the same pipe must not get into the middle of it."""
    sys.stdout.flush()
    os.write(1, f"{line}\n".encode())


def skip(reason):
    """Ends the scenario as skipped; the runner prints the reason."""
    say(reason)
    os._exit(77)


def absent(reason):
    """Ends the scenario as one that this client library has no way to play."""
    for child in _children:
        child.kill()
    say(reason)
    os._exit(78)


def done():
    """The last call of every scenario: without it a scenario has not passed."""
    for child in _children:
        child.kill()
    say("OK")
    os._exit(0)  # no client may hold the end up with its own farewell


def broker(order):
    """Has the matrix "kill" the scenario's own broker, as kill -9 does, or "start" it again; returns when that is done."""
    say(f"broker: {order}")
    answer = sys.stdin.readline().strip()
    if answer != "done":
        skip(answer or "only the matrix can kill and start a broker")


class Program:
    """A program beside this one, whose printed lines are collected."""

    def __init__(self, *command, **streams):
        streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT} | streams
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)
        self.lines = []
        self._unread = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        _children.append(self)

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._unread.put(self.lines[-1])

    def wait_for(self, wanted, meanwhile=lambda: None):
        """The next line for which `wanted` is true; calls `meanwhile` twice a second until then."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                line = self._unread.get(timeout=0.5)
            except queue.Empty:
                if self.process.poll() is not None and self._unread.empty():
                    break
                meanwhile()
                continue
            if wanted(line):
                return line
        raise AssertionError("the wanted line did not come; printed: " + "\n".join(self.lines[-20:]))

    def has_news(self):
        """Whether `wait_for` would come to something at once: a line, or the end."""
        return not self._unread.empty() or self.process.poll() is not None

    def wait(self):
        """Waits for the end, which must be a success."""
        status = self.process.wait(timeout=PATIENCE_S)
        assert status == 0, f"exit {status}: " + "\n".join(self.lines[-20:])
        return self.lines

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()


def program(name):
    """Starts a program of ../programs as it stands, with nothing changed but the address."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs", name)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for written in ("localhost:9092", "172.31.36.132:9092"):
        text = text.replace(written, BOOTSTRAP)
    return Program(*PYTHON, "-c", text)


class Member:
    """A consumer of a group in a process of its own, run by the client's _member.py."""

    def __init__(self, directory, **settings):
        import json

        path = os.path.join(directory, "_member.py")
        self.program = Program(*PYTHON, path, BOOTSTRAP, json.dumps(settings))
        self.partitions = []
        self.values = []
        self.assignments = 0
        self.program_read = 0

    def update(self):
        """Takes in what the member has printed since the last call."""
        lines = self.program.lines
        while self.program_read < len(lines):
            word, _, rest = lines[self.program_read].partition(" ")
            self.program_read += 1
            if word == "assigned":
                self.partitions = sorted(int(index) for index in rest.split())
                self.assignments += 1
            elif word == "value":
                self.values.append(rest)
        return self

    def owns(self, count):
        return len(self.update().partitions) == count

    def leave(self):
        self.program.process.send_signal(signal.SIGTERM)
        self.program.process.wait(timeout=PATIENCE_S)


def shared_out(members, partitions):
    """True when the members together own each of `partitions` exactly once and nobody is idle without need."""
    owned = [sorted(member.update().partitions) for member in members]
    fair = all(owned) or len(members) > partitions
    return fair and sorted(sum(owned, [])) == list(range(partitions))
