"""librdkafka: its own regression tests, from the npm package @confluentinc/kafka-javascript, which carries its tree.

`librdkafka` runs the tests up to 0169, `librdkafka-share` those of share groups, from 0170. Each number of its test-runner is a
process, in its quick mode (fewer messages, of each test the quick parts only, where it has any). Left out are tests that need no
broker, or one of their own (local, mock, manual).
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from suite import STAND_INS, Ended, Result, Suite, must, need, run_limited, run_suite

PACKAGE = "@confluentinc/kafka-javascript@1.10.1"
FIRST_OF_SHARE_GROUPS = 170
SECONDS_PER_TEST = 300
# Of these each sub-test is a process, because one that needs a feature which is not there would end all behind it.
SPLIT = {"0081"}
# A cluster of one cannot keep three copies of a topic: no test gets more than one.
ONE_REPLICA = """
#undef rd_kafka_NewTopic_new
#define rd_kafka_NewTopic_new(topic, partitions, replicas, error, size) \\
        (rd_kafka_NewTopic_new)(topic, partitions, (replicas) > 1 ? 1 : (replicas), error, size)
"""


@dataclass
class Process:
    """The tests of one number, which share a source file, or one sub-test of it."""

    number: str
    names: list[str] = field(default_factory=list)
    part: str = ""
    has_parts: bool = False
    """It has sub-tests, of which the quick mode may leave out all."""

    @property
    def label(self) -> str:
        return f"{self.number}.{self.part}" if self.part else self.number


def main(suite: Suite) -> None:
    need("npm", "gcc", "g++", "make", "python3")
    tree = built(suite)
    python = suite.virtual_environment(["confluent-kafka==2.16.1"])
    configuration = suite.out / "test.conf"
    configuration.write_text(
        f"bootstrap.servers={suite.address}\nbroker.address.family=v4\ntest.timeout.multiplier=2\n"
        f"test.topic.prefix=rdk{random.randrange(10**6)}\n"
    )
    environment = {
        "LD_LIBRARY_PATH": f"{tree / 'src'}:{tree / 'src-cpp'}",
        "RDKAFKA_TEST_CONF": str(configuration),
        "TEST_KAFKA_VERSION": "4.2.0",
        "TEST_LEVEL": "2",
        "BROKERS": suite.address,
        # Some tests call Kafka's own tools: these take their places without a JVM.
        "KAFKA_PATH": str(tools(suite, python)),
    }
    environment |= {"RDKAFKA_GITVER": "unknown"}
    processes = {one.label: one for one in planned(tree / "tests", suite)}

    def run(label: str, attempt: int) -> list[Result]:
        return run_process(suite, tree / "tests", processes[label], attempt, environment)

    suite.run_each(list(processes), run, suite.jobs)


def built(suite: Suite) -> Path:
    """The built tree; building it takes minutes, so both suites share one and it is kept."""
    directory = suite.work.parent / "librdkafka-tree"
    lock = open(suite.work.parent / "librdkafka-tree.lock", "w", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    tree, mark = directory / "package/deps/librdkafka", directory / "built.txt"
    wanted = PACKAGE + ONE_REPLICA
    if mark.is_file() and mark.read_text() == wanted:
        return tree
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    must(["npm", "pack", "--silent", PACKAGE], directory)
    with tarfile.open(next(directory.glob("*.tgz"))) as archive:
        members = [member for member in archive if member.name.startswith("package/deps/librdkafka/")]
        archive.extractall(directory, members, filter="data")
    for script in ("configure", "lds-gen.py"):
        (tree / script).chmod(0o755)
    header = tree / "tests/test.h"
    text, end = header.read_text().rstrip(), "#endif /* _TEST_H_ */"
    if not text.endswith(end):
        raise RuntimeError(f"{header} ends differently")
    header.write_text(text.removesuffix(end) + ONE_REPLICA + end + "\n")
    jobs = f"-j{os.cpu_count() or 2}"
    must(["./configure", "--disable-lz4-ext"], tree)
    must(["make", jobs, "libs"], tree)
    must(["make", jobs, "-C", "tests", "build"], tree)
    mark.write_text(wanted)
    return tree


def tools(suite: Suite, python: Path) -> Path:
    """A directory with bin/kafka-topics.sh and bin/kafka-acls.sh."""
    home = suite.work / "tools"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("kafka-topics", "kafka-acls"):
        script = home / f"bin/{name}.sh"
        # The tests' own librdkafka is no other's.
        script.write_text(f'#!/bin/sh\nunset LD_LIBRARY_PATH\nexec "{python}" "{STAND_INS / "kafka_tools.py"}" {name} "$@"\n')
        script.chmod(0o755)
    return home


def planned(tests: Path, suite: Suite) -> list[Process]:
    """What test.c lists, without what speaks to no broker of ours."""
    text = re.sub(r"/\*.*?\*/", "", (tests / "test.c").read_text(), flags=re.DOTALL)
    table = text[text.index("struct test tests[] = {") :]
    table = table[: table.index("{NULL}")]
    found: dict[str, Process] = {}
    for name, options in re.findall(r"\b_TEST\(\s*(\d{4}\w*)\s*,(.*?)(?=\b_TEST\(|\Z)", table, re.DOTALL):
        scenario = re.search(r'\.scenario = "([^"]*)"', options)
        elsewhere = "TEST_F_LOCAL" in options or "TEST_F_MANUAL" in options or name.endswith(("_mock", "_local", "_ut"))
        elsewhere = elsewhere or (scenario is not None and "default" not in scenario[1].split(","))
        mine = (int(name[:4]) >= FIRST_OF_SHARE_GROUPS) == suite.name.endswith("-share")
        if not mine or elsewhere:
            continue
        number = name[:4]
        parts = sub_tests(tests, number)
        for part in parts if number in SPLIT else [""]:
            if suite.selects(f"{name}/{part}" if part else name):
                one = Process(number, part=part, has_parts=bool(parts))
                found.setdefault(one.label, one).names.append(name)
    return list(found.values())


def sub_tests(tests: Path, number: str) -> list[str]:
    """The functions that announce themselves as sub-tests."""
    found: dict[str, None] = {}
    for path in tests.glob(f"{number}-*.c*"):
        function = ""
        for line in path.read_text(errors="replace").splitlines():
            if head := re.match(r"(?:[A-Za-z_][\w \*]*\b)?(\w+)\s*\(", line):
                function = head[1]
            if re.search(r"\bSUB_TEST(_QUICK)?\(", line) and function:
                found[function] = None
    return list(found)


def run_process(suite: Suite, tests: Path, one: Process, attempt: int, environment: dict[str, str]) -> list[Result]:
    report = suite.out / f"{one.label}.json"
    labels = {name: f"{name}/{one.part}" if one.part else name for name in one.names}
    limit = max(suite.limit(label, SECONDS_PER_TEST) for label in labels.values())
    environment = environment | {"TESTS": one.number, "TEST_REPORT": str(report)}
    if one.part:
        environment["SUBTESTS"] = one.part
    states: dict[str, str] = {}
    for quick in (["-Q"], []):
        log = suite.out / f"{one.label}.{attempt}{'.quick' if quick else ''}.log"
        report.unlink(missing_ok=True)
        # Not the local ones, not those with known faults, one at a time.
        ended = run_limited(["./test-runner", "-p1", "-L", "-K", *quick], log, limit, tests, environment)
        states = reported(report, ended)
        passed = re.search(r"\[ \w+:\d+.*: PASS\b", ended.output)
        left_out_whole = one.has_parts and not passed and "PASSED" in states.values()
        if not left_out_whole and "skipped due to quick mode" not in ended.output:
            break  # else nothing of it is quick, and it has to run whole
    return [Result(labels[name], *verdict(name, states.get(name, ""), ended), seconds=ended.seconds) for name in one.names]


def reported(report: Path, ended: Ended) -> dict[str, str]:
    """State by test; from the output, where the runner did not live to write its report."""
    try:
        # A line that it breaks with a backslash is no JSON.
        tests = json.loads(report.read_text().replace("\\\n", ""), strict=False)["tests"]
        return {name: test["state"] for name, test in tests.items()}
    except (OSError, ValueError, KeyError):
        return dict(re.findall(r"Test (\d{4}\w*) (PASSED|FAILED|SKIPPED)", ended.output))


def verdict(name: str, state: str, ended: Ended) -> tuple[str, str]:
    text = re.sub(r"\x1b\[[0-9;]*m", "", ended.output)
    parts = re.findall(r"\[ \w+:\d+.*: (PASS|SKIP)\b:? ?(.*?) \]", text)
    skipped = [why for kind, why in parts if kind == "SKIP"]
    if state == "PASSED" and skipped and len(skipped) == len(parts):
        return "skipped", skipped[0]
    if state == "PASSED":
        return "passed", ""
    if state == "SKIPPED":
        why = re.search(rf"\[{name}\b.*SKIPPING TEST: (.*)", text)
        return "skipped", why[1] if why else "by its own conditions"
    # The first complaint is the cause, later ones follow from it.
    told = re.search(r"### (Test [^\n]*)\n(?:### )?([^\n]*)", text)
    late = "" if ended.code is not None else "it did not end; "
    return "failed", (late + (" ".join(told.groups()) if told else ended.last_line()))[:300]


run_suite(main)
