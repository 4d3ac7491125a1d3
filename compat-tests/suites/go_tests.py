"""What the runners of Go suites share: a writable copy of a module, and its tests one by one.

Every top-level test runs in a process of its own, because `go test` gives up the whole package when one test hangs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from suite import CannotRun, Result, Suite, fresh_copy, must, need, run_limited

_FUNCTION = re.compile(r"^func (Test\w*)\(\w+ \*\w*testing\.T\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
# A build of its own, whatever module or workspace lies around the directory.
ENVIRONMENT = {"GOWORK": "off", "GOFLAGS": "-mod=mod -buildvcs=false"}


def module(suite: Suite, path: str, version: str) -> Path:
    """A fresh, writable copy of a module."""
    need("go")
    found = json.loads(must(["go", "mod", "download", "-json", f"{path}@{version}"], suite.work, ENVIRONMENT | {"GOFLAGS": ""}))
    copy = suite.work / path.rpartition("/")[2]
    fresh_copy(Path(found["Dir"]), copy)
    return copy


def functions(directory: Path, body: str, files: str = "*_test.go") -> list[str]:
    """The tests in the files whose body has the regular expression."""
    found: set[str] = set()
    for file in directory.glob(files):
        found.update(name for name, text in _FUNCTION.findall(file.read_text()) if re.search(body, text))
    return sorted(found)


def run_tests(
    suite: Suite,
    directory: Path,
    tests: list[str],
    seconds: float,
    environment: dict[str, str],
    jobs: int = 1,
    tags: str = "",
) -> None:
    """Builds the package's tests and runs those named."""
    binary = suite.work / f"{suite.name}.test"
    try:
        must(["go", "test", "-c", *(["-tags", tags] if tags else []), "-o", str(binary), "."], directory, ENVIRONMENT)
    except CannotRun as why:
        raise RuntimeError(str(why)) from why
    wanted = [test for test in tests if suite.selects(test)]

    def run(test: str, attempt: int) -> list[Result]:
        limit = suite.limit(test, seconds)
        words = [str(binary), "-test.v=test2json", "-test.count=1", f"-test.run=^{test}$", f"-test.timeout={limit:.0f}s"]
        ended = run_limited(words, suite.out / f"{test}.{attempt}.log", limit + 15, directory, environment)
        return _results(test, ended.output, ended.seconds)

    suite.run_each(wanted, run, jobs)


def _results(test: str, output: str, seconds: float) -> list[Result]:
    """What `-test.v=test2json` prints: marks around the beginnings and ends of tests, and between them what they say."""
    said: dict[str, list[str]] = {}
    results: dict[str, Result] = {}
    current = test
    for line in output.splitlines():
        line = line.replace("\x16", "")
        if mark := re.match(r"\s*=== (?:RUN|NAME|CONT|PAUSE)\s+(\S*)", line):
            current = mark[1] or current
        elif end := re.match(r"\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)", line):
            status = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}[end[1]]
            results[end[2]] = Result(end[2], status, _reason(said.get(end[2], [])), float(end[3]))
        else:
            said.setdefault(current, []).append(line)
    if test not in results:
        results[test] = Result(test, "failed", "it did not end: " + _reason(said.get(current, [])), seconds)
    # A test that failed only because of its parts says nothing that they do not say.
    broken = [name for name, result in results.items() if result.status == "failed"]
    parents = {name for name in broken for part in broken if part.startswith(name + "/")}
    return [result for name, result in results.items() if name not in parents]


def _reason(lines: list[str]) -> str:
    """The last thing that a test said by itself, or how it panicked."""
    places = [number for number, line in enumerate(lines) if re.match(r"^\s+\S+\.go:\d+: |^panic: ", line)]
    told = " ".join(lines[places[-1] : places[-1] + 5]) if places else ""
    return " ".join(told.split())[:300]
