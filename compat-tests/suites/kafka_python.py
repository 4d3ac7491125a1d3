"""kafka-python: its integration tests with the client of the same version (PyPI's source distribution).

The suite's name ends with the version. The distribution leaves out what starts brokers (`test/service.py`), and that of 2.0.2
the fixtures as well: stand_ins/kafka_python_service.py and stand_ins/kafka_python_fixtures.py take their places.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from suite import STAND_INS, CannotRun, Result, Suite, must, need, run_limited, run_suite

PACKAGES = ["pytest<9", "pytest-timeout", "pytest-mock", "mock", "py", "lz4", "python-snappy", "zstandard", "crc32c", "xxhash"]
# These start brokers of their own, with TLS or SASL.
OWN_BROKERS = ["test_ssl_integration.py", "test_sasl_integration.py"]
OLD_FILES = ["consumer_group", "consumer_integration", "admin_integration", "producer"]
SECONDS_PER_TEST = 120


def main(suite: Suite) -> None:
    need("python3")
    version = suite.name.rpartition("-")[2]
    old = version.startswith("2.0.")
    python = suite.virtual_environment([f"kafka-python=={version}", *PACKAGES])
    must([str(python), "-c", "import kafka.admin"])
    tree = sources(suite, version, old)
    environment = {
        # 2.0.2 knows no later one.
        "KAFKA_VERSION": "2.5.0" if old else "4.3.0",
        "KAFKA_URI": f"kafka://{suite.address}",
        # Named, so that none is started; nothing ever asks there.
        "ZOOKEEPER_URI": "zk://127.0.0.1:1",
        "KAFKA_ROOT": str(tree),
        "PROJECT_ROOT": str(tree),
        "PYTHONPATH": str(tree),
    }

    def run(tests: list[str], attempt: int) -> list[Result]:
        report, log = suite.out / f"{attempt}.xml", suite.out / f"{attempt}.log"
        options = ["-p", "no:cacheprovider", "-o", "addopts=", "--junit-xml", str(report)]
        options += ["--timeout", str(SECONDS_PER_TEST)]
        ended = run_limited([str(python), "-m", "pytest", "-v", *options, *tests], log, 1800, tree, environment)
        if not report.is_file():
            raise CannotRun(f"pytest wrote no report: {ended.last_line()}")
        return [result for result in results(report, attempt) if suite.selects(result.test)]

    if old:
        files = [f"test/test_{name}.py" for name in OLD_FILES]
    else:
        files = [str(path.relative_to(tree)) for path in sorted(tree.glob("test/integration/test_*.py"))]
        files = [name for name in files if os.path.basename(name) not in OWN_BROKERS]
    first = run(files + deselected(suite, files), 1)
    again = [result.test for result in first if result.status == "failed" and not suite.is_expected_to_fail(result.test)]
    suite.report(result for result in first if result.test not in again)
    if again:
        suite.report(run(again, 2))


def sources(suite: Suite, version: str, old: bool) -> Path:
    tree = suite.work / "sources"
    shutil.rmtree(tree, ignore_errors=True)
    packed = next(suite.work.glob("kafka*.tar.gz"), None)
    if packed is None:
        download = ["python3", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        must([*download, f"kafka-python=={version}", "-d", str(suite.work)])
        packed = next(suite.work.glob("kafka*.tar.gz"))
    unpacked = suite.work / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(packed) as archive:
        archive.extractall(unpacked, filter="data")
    (root,) = unpacked.iterdir()
    root.rename(tree)
    shutil.rmtree(tree / "kafka")  # the tests use the installed client
    (tree / "test/__init__.py").touch()
    if not (tree / "test/service.py").exists():
        shutil.copyfile(STAND_INS / "kafka_python_service.py", tree / "test/service.py")
    if old:
        shutil.copyfile(STAND_INS / "kafka_python_fixtures.py", tree / "test/conftest.py")
    # Two tests take the broker to be number 0, ours is number 1.
    for path in tree.glob("test/**/*.py"):
        text = path.read_text()
        changed = text.replace("[[0], [0]]", "[[1], [1]]").replace("_brokers[0]", "_brokers[1]")
        if changed != text:
            path.write_text(changed)
    return tree


def deselected(suite: Suite, files: list[str]) -> list[str]:
    """In a quick run what is expected to fail is not even begun. The list has whole names there, no patterns."""
    patterns = suite.expected if suite.quick else []
    return [word for pattern in patterns for word in ("--deselect", pattern)]


def results(report: Path, attempt: int) -> list[Result]:
    found: dict[str, Result] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        module = (case.get("classname") or "").replace(".", "/")
        name = f"{module}.py::{case.get('name')}"
        status, reason = "passed", ""
        for part in case:
            if part.tag in ("failure", "error"):
                status, reason = "failed", part.get("message") or part.text or ""
            elif part.tag == "skipped" and status == "passed":
                status, reason = "skipped", part.get("message") or ""
        before = found.get(name)
        if before is None or before.status == "passed":  # a test and its clean-up are two cases of one name
            first_line = re.sub(r"\s+", " ", reason).strip()[:300]
            found[name] = Result(name, status, first_line, float(case.get("time") or 0), attempt)
    return list(found.values())


run_suite(main)
