"""The loop of a worker: a small program in a client's own language through which shared/*.py use that client.

A worker is called as `WORKER HOST:PORT`, reads commands line by line, carries each out with the client, and answers each with
`ok WORDS...` or with `error KIND NAME MESSAGE`: KIND is `fenced` for the error by which the library says that a newer producer
has taken the transactional id over, else `other`; NAME is the library's own. Other lines that it prints are ignored.

    topic NAME PARTITIONS               makes a topic
    producer NAME ID|- TIMEOUT_MS       an idempotent producer; with a transactional id: and initialises its transactions
    begin|commit|abort NAME
    send NAME TOPIC PARTITION VALUE...  queues records
    flush NAME                          waits for them; an error if one of those since the last flush failed
    consumer NAME TOPIC PARTITIONS committed|uncommitted
                                        reads partitions 0 to PARTITIONS - 1 from their start with that isolation level
    poll NAME COUNT MS                  answers with COUNT records as PARTITION:VALUE, with fewer once MS have gone by
    transform IN OUT GROUP ID STALL     for ever: what the group reads from IN goes to the same partition of OUT with a `!`, its
                                        offsets in the same transaction, MAX_RECORDS at a time; prints `committed COUNT` after
                                        each transaction. Answers only with the error that leaves the library no way but to
                                        begin with a new producer and a new consumer.
                                        The first transaction that holds the value STALL is held when all of it is sent:
                                        prints `stalled`, reads `commit` or `abort`, and goes on accordingly
"""
import sys

MAX_RECORDS = 10
SESSION_TIMEOUT_MS = 3000


class Stall:
    """Holds a transaction once."""

    def __init__(self, value):
        self.value = value

    def asked_to_abort(self, values):
        if self.value not in values:
            return False
        self.value = None
        print("stalled", flush=True)
        return sys.stdin.readline().strip() == "abort"


def serve(library, fenced):
    """Answers commands with the methods of `library`; `fenced` tells the error that means so."""
    for line in sys.stdin:
        command, *words = line.split()
        try:
            answer = getattr(library, command)(*words)
        except Exception as error:
            kind = "fenced" if fenced(error) else "other"
            print("error", kind, type(error).__name__, " ".join(str(error).split()), flush=True)
        else:
            print("ok", *(answer or ()), flush=True)
