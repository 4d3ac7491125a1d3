"""What every worker of the exactly-once workload shares: commands on stdin, what came of them on stdout, one JSON line each.

A worker is one client with a producer, a consumer or both, as its role has it. It ends itself (`"die": true`) after anything
that leaves its client in an unknown state; whoever drives it starts another one. Times are CLOCK_MONOTONIC in nanoseconds, which
all processes of a machine share. Records are `VALUE|SOURCE|padding` in digits; SOURCE is empty but for what was made from
another record.

An adapter (see confluent.py, kafka_python.py) has:
    send(topic, partition, bytes)    queues a record of the open transaction, or of none
    flush() -> [offset or None]      waits for all records since the last call, in order; Failed when one did not make it
    init, begin, commit, abort, send_offsets({(topic, partition): offset})
    assign([(topic, partition, offset)]), end_offset(topic, partition), subscribe(topic), rewind()
    consume(max, seconds) -> list    what came, in order: records (topic, partition, offset, bytes) and rebalances (time,
                                     "assigned" or "revoked", [(topic, partition)])
    deadline                         when to give up, as far as that can be told the library
    commit_offsets({(topic, partition): offset}), position_at_end(topic, partition, end) -> bool
"""
import json
import os
import sys
import time


PATIENCE_S = 20  # for an operation; some steps can only be waited for without end, and the runner ends those


class Failed(Exception):
    """A record was not acknowledged; `offsets` are those of its batch that were, in order, None for the others."""

    def __init__(self, why, offsets):
        super().__init__(why)
        self.offsets = offsets


class Worker:
    def __init__(self, make):
        self.settings = json.loads(sys.argv[1])
        self.role = self.settings["role"]
        self.keys = [tuple(key) for key in self.settings["keys"]]
        self.numbers = {key: number for number, key in enumerate(self.keys)}
        self.make = make
        self.id = 0
        self.positions = {}

    def say(self, line):
        line["id"] = self.id
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def note(self, kind):
        self.say({"type": kind, "time": time.monotonic_ns()})

    def run(self):
        begin = time.monotonic_ns()
        try:
            self.client = self.make(self.settings)
            if self.settings.get("transactional_id"):
                self.client.init()
            if self.settings.get("subscribe"):
                self.client.subscribe(self.settings["subscribe"])
        except Exception as error:
            self.end("info", begin, [], error, die=True)
            return
        self.end("ok", begin, [])
        for line in sys.stdin:
            command = json.loads(line)
            self.id = command["id"]
            begin = time.monotonic_ns()
            steps = []
            self.client.deadline = time.monotonic() + PATIENCE_S
            try:
                outcome = getattr(self, command["f"])(command, steps)
                self.end(outcome, begin, steps)
            except Unfit as error:
                self.end(error.outcome, begin, steps, error, die=True)
                return
            except Exception as error:
                self.end("info", begin, steps, error, die=True)
                return

    def end(self, outcome, begin, steps, error=None, die=False):
        line = {"type": outcome, "begin": begin, "time": time.monotonic_ns(), "value": steps}
        if error is not None:
            line["error"] = f"{type(error).__name__}: {error}"[:300]
        if die:
            line["die"] = True
        self.say(line)

    # ---- single steps

    def take(self, found, steps):
        """Notes what a poll brought, and gives back the records that are still this member's."""
        now, records = time.monotonic_ns(), []
        for event in found:
            if len(event) == 3:
                at, kind, partitions = event
                steps.append([kind, at, [self.numbers[place] for place in partitions if place in self.numbers]])
                records = [record for record in records if record[:2] not in partitions]
                for place in partitions:
                    self.positions.pop(place, None)
                continue
            topic, partition, offset, data = event
            value, source, _ = data.split(b"|", 2)
            if not steps or steps[-1][0] != "poll" or steps[-1][1] != now:
                steps.append(["poll", now, {}])
            by_key = steps[-1][2].setdefault(self.numbers[topic, partition], [])
            by_key.append([offset, int(value)] + ([int(source)] if source else []))
            records.append(event)
        return records

    def queue(self, key, value, source=None):
        topic, partition = self.keys[key]
        text = f"{value}|{'' if source is None else source}|{'x' * (value % 61)}"
        self.client.send(topic, partition, text.encode())

    def flush(self, sent, steps):
        """Waits for the records of `sent` (key, value, source) and notes their offsets; False when one failed."""
        complete, offsets = True, []
        try:
            offsets = self.client.flush()
        except Failed as failure:
            complete, offsets = False, failure.offsets
        offsets += [None] * (len(sent) - len(offsets))
        for (key, value, source), offset in zip(sent, offsets):
            step = ["send", key, value, offset]
            steps.append(step + [source] if source is not None else step)
        sent.clear()
        return complete

    # ---- operations of clients without transactions

    def send(self, command, steps):
        sent = [(key, value, None) for key, value in command["value"]]
        try:
            for key, value, _ in sent:
                self.queue(key, value)
        except Exception:
            self.flush(sent, steps)
            raise
        return "ok" if self.flush(sent, steps) else "info"

    def assign(self, command, steps):
        chosen = []
        for key, where in command["value"]:
            topic, partition = self.keys[key]
            if where == "beginning":
                offset = 0
            elif where == "tail":
                offset = max(0, self.client.end_offset(topic, partition) - 40)
            else:
                offset = where
            chosen.append((key, topic, partition, offset))
        self.client.assign([place[1:] for place in chosen])
        for key, _, _, offset in chosen:
            steps.append(["start", key, offset])
        return "ok"

    def poll(self, command, steps):
        if self.settings.get("subscribe") and self.positions:
            positions = dict(self.positions)
            try:
                self.client.commit_offsets(positions)
                done = [[self.numbers[partition], offset] for partition, offset in positions.items()]
                steps.append(["committed", time.monotonic_ns(), done])
            except Exception:
                pass  # the group has moved on, or the broker is away: what was not committed comes again
            self.positions.clear()
        found = self.client.consume(command["max"], command["seconds"])
        for topic, partition, offset, _ in self.take(found, steps):
            self.positions[topic, partition] = offset + 1
        return "ok"

    def read_all(self, command, steps):
        """The last read: everything from the beginning up to the given ends."""
        ends = {self.keys[key]: end for key, end in command["value"]}
        self.client.assign([(topic, partition, 0) for topic, partition in ends])
        self.say({"type": "part", "value": [["start", key, 0] for key, _ in command["value"]]})
        left = dict(ends)
        while left:
            found = self.client.consume(500, 0.5)
            part = []
            self.take(found, part)
            if part:
                self.say({"type": "part", "value": part})
            for partition in [place for place in left if self.client.position_at_end(*place, left[place])]:
                del left[partition]
        return "ok"

    # ---- transactions

    def txn(self, command, steps):
        sent = []
        sound = self.attempt(self.client.begin, steps)
        for step in command["value"] if sound else []:
            if step[0] == "send":
                sent.append((step[1], step[2], None))
                sound = self.attempt(lambda: self.queue(step[1], step[2]), steps)
            elif step[0] == "poll":
                self.take(self.client.consume(step[1], 0.02), steps)
            else:
                sound = self.flush(sent, steps)
                self.note("waiting")
                time.sleep(step[1] / 1000)
            if not sound:
                break
        sound = self.flush(sent, steps) and sound
        return self.finish(sound and command["commit"], command, steps)

    def pipe(self, command, steps):
        """Takes records, makes one of each in the output, and commits both ends at once."""
        found = self.client.consume(command["max"], 0.1)
        rebalanced = any(len(event) == 3 for event in found)
        records = self.take(found, steps)
        if rebalanced:
            # What was polled may belong to another member by now.
            self.client.rewind()
            return "fail"
        if not records:
            return "ok"
        made = []
        for next_value, (topic, partition, _, data) in enumerate(records, command["first"]):
            made.append((command["outputs"][str(self.numbers[topic, partition])], next_value, int(data.split(b"|", 1)[0])))
        # Should this process die, it is still known what it may have sent.
        planned = [["send", key, value, None, source] for key, value, source in made]
        self.say({"type": "planned", "value": planned})
        sound = self.attempt(self.client.begin, steps)
        sent = []
        for record in made if sound else []:
            sent.append(record)
            sound = sound and self.attempt(lambda: self.queue(*record), steps)
        sound = self.flush(sent, steps) and sound
        ends = {(topic, partition): offset + 1 for topic, partition, offset, _ in records}
        sound = sound and self.attempt(lambda: self.client.send_offsets(ends), steps)
        if sound and command.get("wait"):
            self.note("waiting")
            time.sleep(command["wait"] / 1000)
        outcome = self.finish(sound and command["commit"], command, steps)
        if outcome != "ok":
            self.client.rewind()
        return outcome

    def attempt(self, action, steps):
        """Whether a step before the end of a transaction was taken."""
        try:
            action()
            return True
        except Exception as error:
            steps.append(["error", f"{type(error).__name__}: {error}"[:200]])
            return False

    def finish(self, commit, command, steps):
        if command.get("leave"):
            self.end("fail", time.monotonic_ns(), steps, die=True)
            os._exit(9)
        if commit:
            # From here on nobody but the log knows what became of it.
            self.note("committing")
            self.client.commit()
            return "ok"
        try:
            self.client.abort()
        except Exception as error:
            raise Unfit("fail", f"abort: {error}") from error
        return "fail"


class Unfit(Exception):
    """The outcome is known, but the client is of no use any more."""

    def __init__(self, outcome, why):
        super().__init__(why)
        self.outcome = outcome
