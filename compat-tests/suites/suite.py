"""What the runners of other projects' test suites share: the command line, what they install, and what they report.

A runner is a program `<suite>.py` that brings a suite from its package registry into `--work`, points it at `--address`, and
runs its tests. tests/suites.rs starts the broker, calls the runner and judges what it reports: one line of JSON per test in
`--out`/results.jsonl, `{"test", "status": "passed" | "failed" | "skipped", "reason", "seconds", "attempts"}`. Nothing of a
suite is kept in this repository.

Exit codes: 0 the suite ran, whatever came of its tests; 3 it cannot run on this machine (the last line says why); everything
else is a fault of the runner. A test that fails and is not expected to is run a second time, because these suites wait for
fixed times; what passes only then says so by its attempts.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fcntl
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
STAND_INS = HERE / "stand_ins"
# A test that is expected to fail waits for what never comes: it is not worth the whole limit.
EXPECTED_TO_FAIL_SECONDS = 60


class CannotRun(Exception):
    """Something that the suite needs is not on this machine, or could not be brought to it."""


@dataclass
class Result:
    test: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    attempts: int = 1


@dataclass(frozen=True)
class Ended:
    """A process that ended, or was ended after its time."""

    output: str
    code: int | None
    """None: it was ended after its time."""
    seconds: float

    def last_line(self) -> str:
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "no output"


class Suite:
    """One run of one suite."""

    def __init__(self, words: list[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--suite", required=True, help="its name, of which there is a list in expected/")
        parser.add_argument("--address", required=True, help="HOST:PORT of a broker that holds nothing")
        parser.add_argument("--work", type=Path, required=True, help="where packages and builds are kept")
        parser.add_argument("--out", type=Path, required=True, help="where results and logs go")
        parser.add_argument("--proxy", default="", help="HOST:PORT that the broker advertises, for a forwarder in front of it")
        parser.add_argument("--only", default="", help="tests whose name has this regular expression")
        parser.add_argument("--quick", action="store_true", help="leave out what is slow, or expected to fail")
        parser.add_argument("--jobs", type=int, default=4, help="test processes at the same time, where a suite allows it")
        arguments = parser.parse_args(words)
        self.name: str = arguments.suite
        self.address: str = arguments.address
        self.proxy: str = arguments.proxy
        self.quick: bool = arguments.quick
        self.jobs: int = arguments.jobs
        self.work: Path = arguments.work.resolve()
        self.out: Path = arguments.out.resolve()
        self.only = re.compile(arguments.only)
        self.work.mkdir(parents=True, exist_ok=True)
        # Until this process ends: two runs at the same time would take each other's files away.
        self._lock = open(self.work / "lock", "w", encoding="utf-8")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.expected = expected_failures(HERE / "expected" / f"{self.name}.txt")

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    def is_expected_to_fail(self, test: str) -> bool:
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.expected)

    def selects(self, test: str) -> bool:
        """Whether the test is part of this run."""
        return bool(self.only.search(test)) and not (self.quick and self.is_expected_to_fail(test))

    def limit(self, test: str, seconds: float) -> float:
        return min(seconds, EXPECTED_TO_FAIL_SECONDS) if self.is_expected_to_fail(test) else seconds

    def report(self, results: Iterable[Result]) -> None:
        with open(self.out / "results.jsonl", "a", encoding="utf-8") as file:
            for result in results:
                print(json.dumps(asdict(result)), file=file)
                # Of thousands of sub-tests only what did not pass is worth a line.
                if result.status != "passed" or "/" not in result.test:
                    print(f"{result.status:8}{result.seconds:6.1f} s  {result.test}  {result.reason[:150]}", flush=True)

    def run_each(self, tests: list[str], run: Callable[[str, int], list[Result]], jobs: int) -> None:
        """Runs every test with `run(test, attempt)`, some at the same time, and once more what failed unexpectedly."""

        def attempts(test: str) -> list[Result]:
            results = run(test, 1)
            failed = {result.test for result in results if result.status == "failed"}
            if any(not self.is_expected_to_fail(name) for name in failed):
                results = run(test, 2)
                for result in results:
                    result.attempts = 2 if result.test in failed else 1
            return results

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            # The slow ones of a run that is nearly over should not be alone: the order stays, the rest fills the gaps.
            for future in concurrent.futures.as_completed([pool.submit(attempts, test) for test in tests]):
                self.report(future.result())

    def virtual_environment(self, requirements: list[str]) -> Path:
        """The Python of an environment with these packages; made anew only when they change."""
        directory, wanted = self.work / "environment", "\n".join(requirements)
        mark = directory / "installed.txt"
        if not (mark.is_file() and mark.read_text() == wanted):
            must(["python3", "-m", "venv", "--clear", str(directory)])
            must([str(directory / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements])
            mark.write_text(wanted)
        return directory / "bin/python"


def expected_failures(path: Path) -> list[str]:
    """The tests (patterns) of a list that always fail or are skipped; expected/README.md describes its format."""
    lines = path.read_text().splitlines() if path.is_file() else []
    fields = [[field.strip() for field in line.split("|")] for line in lines if line.strip() and not line.startswith("#")]
    return [parts[1] for parts in fields if parts[0] != "kafka sometimes"]


def need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise CannotRun("needs " + ", ".join(missing))


def must(words: list[str], directory: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Runs a command that prepares something; what it printed to standard output."""
    done = subprocess.run(
        words, cwd=directory, env=os.environ | (environment or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise CannotRun(f"{' '.join(words)}: exit code {done.returncode}: {end}")
    return done.stdout


def run_limited(
    words: list[str], log: Path, seconds: float, directory: Path | None = None, environment: dict[str, str] | None = None
) -> Ended:
    """Runs one test in a process group of its own, all of which ends with it; its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with open(log, "wb") as file:
        process = subprocess.Popen(
            words,
            cwd=directory,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        code: int | None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()
    return Ended(log.read_text(errors="replace"), code, time.monotonic() - started)


def replace_in(path: Path, *changes: tuple[str, str]) -> None:
    """Changes a file of a suite by regular expressions, each of which must fit: else the suite is not the one we know."""
    text = path.read_text()
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE | re.DOTALL)
        if count == 0:
            raise RuntimeError(f"{path}: nothing fits {pattern!r}")
    path.write_text(text)


def fresh_copy(source: Path, target: Path) -> None:
    """A writable copy of what a registry's client keeps read-only."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def run_suite(run: Callable[[Suite], None]) -> None:
    """The entry of every runner."""
    try:
        run(Suite())
    except CannotRun as why:
        print(why, flush=True)
        sys.exit(3)
