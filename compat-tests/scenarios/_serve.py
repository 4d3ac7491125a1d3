"""The loop of a worker: a small program in a client's own language through which shared/*.py use that client.

A worker is called as `WORKER HOST:PORT`, reads commands line by line (a line may have 2 MB), carries each out with the client
before it reads the next one, and answers with one line. Other lines that it prints are ignored, so is what it says on stderr.

    ok WORDS...                 done
    error KIND NAME MESSAGE     the library (or the broker, through it) refused. KIND is what the library lets its user know:
                                `fenced` a newer producer has the transactional id, `too_large` the record is larger than the
                                topic takes, `unknown_topic` there is no such topic or partition, `topic_exists`,
                                `stale_member` the member's generation is over, `other`. NAME is the library's own.
    unsupported REASON          the library has no way to do that at all, whoever uses it. The scenario ends as *not in this
                                library* and counts as no pass. A worker that lacks a command answers with an error instead.

A word that is `OPTION=VALUE` is an option; one that the worker does not know is an error, not ignored. TEXT is UTF-8 with
percent encoding of everything but letters, digits and `-_.!~*'()` (encodeURIComponent); `-` alone is null, `.` alone the empty
text. NAME is the worker's name for a producer or consumer. PARTITION and OFFSET are numbers.

Producing:
    producer NAME OPTION...     id=ID               transactional, its transactions are initialised before the answer
                                transaction_timeout_ms=MS
                                idempotence=on      must be idempotent; without it: as the library does by default
                                acks=0|1|all        0 and 1 imply that it is not idempotent
                                codec=none|gzip|snappy|lz4|zstd
                                patience_ms=MS      a record may take that long, unknown topics included (default: 30000)
    send NAME TOPIC PARTITION|- OPTION... VALUE...
                                queues records, `-`: the library's own partitioner chooses. Each VALUE is a TEXT. Options, for
                                all of these records: key=TEXT, timestamp=MS, header=TEXT:TEXT (name and value, may be repeated)
    flush NAME                  waits for them; an error if one of those since the last flush failed (the first error)
    begin|commit|abort NAME     of a transaction

Consuming:
    consumer NAME TOPIC PARTITIONS OPTION...
                                reads partitions 0 to PARTITIONS - 1 without a group. from=earliest|latest (default: earliest;
                                latest: answers once the end is known), isolation=committed|uncommitted (default: uncommitted)
    member NAME GROUP TOPIC OPTION...
                                subscribes as a member of a classic group that commits nothing by itself and begins where
                                nothing is committed at the earliest record. instance=ID (a static member),
                                session_timeout_ms=MS (default: 6000). Heartbeats every 300 ms. Need not wait for anything.
    poll NAME COUNT MS          answers with COUNT records as PARTITION:TEXT (the value), with fewer once MS have gone by.
                                What the library has fetched beyond COUNT is kept for the next poll, unless a seek or a
                                rebalance took it away. A member polls its library at least once (rebalances happen in it)
    records NAME COUNT MS       the same with more of each: PARTITION:OFFSET:TIMESTAMP:KEY:VALUE[:NAME:VALUE for each header],
                                key, value, header names and values as TEXT
    assignment NAME             the partitions that a member has now, ascending
    position NAME PARTITION     the offset of the record that the next poll will answer with
    seek NAME PARTITION OFFSET|earliest|latest
    commit_offsets NAME         commits what poll and records have answered with so far, and waits for it
    committed NAME PARTITION    the offset that the broker has for the member's group, `-` where there is none
    close NAME                  of a producer, a consumer or a member, which leaves its group

Asking and changing:
    offset TOPIC PARTITION earliest|latest|MS
                                of the first record, behind the last one, of the first with that timestamp or a later one: `-`
                                where there is none
    topic NAME PARTITIONS CONFIG=VALUE...
                                makes a topic with one replica
    topics                      the names of all topics
    partitions TOPIC            how many it has
    grow TOPIC PARTITIONS       gives it so many in all
    config TOPIC KEY            the value in force, as TEXT
    alter TOPIC KEY VALUE       sets one config and leaves the others as they are
    delete_records TOPIC PARTITION OFFSET
                                those before OFFSET; answers with the partition's first offset
    delete_topic TOPIC
    groups                      the names of all groups
    group GROUP                 STATE (as Kafka writes it: Stable, Empty, Dead, ...) and the number of its members
    delete_group GROUP

Both:
    transform IN OUT GROUP ID STALL
                                for ever: what the group reads from IN goes to the same partition of OUT with a `!`, its
                                offsets in the same transaction, MAX_RECORDS at a time; prints `committed COUNT` after
                                each transaction. Answers only with the error that leaves the library no way but to
                                begin with a new producer and a new consumer.
                                The first transaction that holds the value STALL is held when all of it is sent:
                                prints `stalled`, reads `commit` or `abort`, and goes on accordingly
"""
import sys
from urllib.parse import quote, unquote

MAX_RECORDS = 10
SESSION_TIMEOUT_MS = 3000


class Unsupported(Exception):
    """The library has no way to do that."""


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


def decoded(word):
    """The bytes of a TEXT, or None."""
    return {"-": None, ".": b""}[word] if word in ("-", ".") else unquote(word).encode()


def encoded(value):
    """Bytes, text or None as a TEXT."""
    if value is None:
        return "-"
    return quote(value, safe="!~*'()") or "."


def described(partition, value, *more):
    """A record as `poll` answers with it, or as `records` does, with offset, timestamp, key and pairs of headers."""
    if not more:
        return f"{partition}:{encoded(value)}"
    offset, timestamp, key, pairs = more
    texts = [key, value] + [text for pair in pairs or () for text in pair]
    return ":".join([f"{partition}:{offset}:{timestamp}", *map(encoded, texts)])


def kinds(table, error):
    """The KIND of an error by the names that occur in what is printed of it."""
    return next((kind for kind, names in table.items() if any(name in error for name in names)), "other")


def parted(words):
    """The options by name (the last of each), and the other words."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    return options, [word for word in words if "=" not in word]


def headers(words):
    """What the options `header=NAME:VALUE` say, in their order."""
    pairs = [word.removeprefix("header=").split(":") for word in words if word.startswith("header=")]
    return [(decoded(name).decode(), decoded(value)) for name, value in pairs]


def serve(library, kind):
    """Answers commands with the methods of `library`, `kind` tells the KIND of an error."""
    for line in sys.stdin:
        command, *words = line.split()
        try:
            answer = getattr(library, command)(*words)
        except Unsupported as reason:
            print("unsupported", reason, flush=True)
        except Exception as error:
            print("error", kind(error), type(error).__name__, " ".join(str(error).split()), flush=True)
        else:
            print("ok", *(answer or ()), flush=True)
