"""The integration tests that Rust clients publish with their crates: rdkafka, rskafka, kafka-protocol (crates.io).

The suite's name is the crate's. Left out: rskafka's exchanges with a Java client inside the test process, and of kafka-protocol
the test that counts the APIs of one release of Kafka.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suite import STAND_INS, CannotRun, Result, Suite, fresh_copy, must, need, replace_in, run_limited, run_suite

SECONDS_PER_TEST = 90


def table(head: str) -> str:
    """What fits a table of a manifest: its head, and all lines up to the next one's."""
    return rf"^{re.escape(head)}\n(?:(?!\[)[^\n]*\n)*"


def adapt_rdkafka(source: Path, suite: Suite) -> None:
    """Its tests take the broker to be number 0 at localhost:9092; ours is number 1."""
    tests = source / "tests"
    server = (r'"bootstrap\.servers", "localhost"\)', f'"bootstrap.servers", "{suite.address}")')
    replace_in(tests / "test_high_producers.rs", server)
    replace_in(tests / "test_admin.rs", (r"ResourceSpecifier::Broker\(0\)", "ResourceSpecifier::Broker(1)"), (r"&\[0\]", "&[1]"))
    replace_in(
        tests / "test_metadata.rs",
        (r"orig_broker_id != 0", "orig_broker_id != 1"),
        (r"\[0\]\.id\(\), 0\)", "[0].id(), 1)"),
        (r"\.port\(\), 9092\)", f".port(), {suite.port})"),
        (r"\.leader\(\), 0\)", ".leader(), 1)"),
        (r"\(\), &\[0\]\)", "(), &[1])"),
    )


def adapt_rskafka(source: Path, _suite: Suite) -> None:
    """The Java client is taken out, and a benchmark whose source is not published. Newer compilers refuse its old rsasl."""
    replace_in(source / "Cargo.toml", (table("[dev-dependencies.j4rs]"), ""), (table("[[bench]]"), ""))
    shutil.copyfile(STAND_INS / "rskafka_java_helper.rs", source / "tests/java_helper.rs")
    must(["cargo", "update", "--quiet", "--package", "rsasl"], source, {})


def adapt_kafka_protocol(source: Path, suite: Suite) -> None:
    """The broker of a container becomes the one that runs."""
    replace_in(source / "Cargo.toml", (table("[dev-dependencies.testcontainers]"), ""))
    replace_in(
        source / "tests/all_tests/common.rs",
        (r"^use testcontainers::\{.*?\};\n", ""),
        (r"^pub fn start_kafka\(\) .*?^\}\n", "pub fn start_kafka() {}\n"),
        (
            r"^pub fn connect_to_kafka\(.*?^\}\n",
            f'pub fn connect_to_kafka(_: &()) -> TcpStream {{\n    TcpStream::connect("{suite.address}").unwrap()\n}}\n',
        ),
    )


@dataclass(frozen=True)
class Crate:
    version: str
    adapt: Callable[[Path, Suite], None]
    arguments: list[str]
    """Of `cargo test`."""
    tests: str
    """A regular expression that a test's name must fit."""
    environment: dict[str, str]
    """`ADDRESS` stands for that of the broker."""


RSKAFKA_TESTS = ("client", "consumer", "produce_consume", "producer")
CRATES = {
    "rdkafka": Crate("0.39.0", adapt_rdkafka, ["--test", "*"], r"(?!.*utils::tests)", {"KAFKA_HOST": "ADDRESS"}),
    "rskafka": Crate(
        "0.6.0",
        adapt_rskafka,
        ["--all-features", *(word for test in RSKAFKA_TESTS for word in ("--test", test))],
        r"(?!.*_java_|.*rdkafka_consume_rdkafka_nocompression)",
        {"TEST_INTEGRATION": "1", "KAFKA_CONNECT": "ADDRESS", "TEST_BROKER_IMPL": "kafka"},
    ),
    "kafka-protocol": Crate(
        "0.18.0",
        adapt_kafka_protocol,
        ["--all-features", "--test", "tests"],
        r".*record_batch_produce_fetch",
        {},
    ),
}
# Their debug information would be most of what is built.
SMALL = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_TERM_COLOR": "never"}


def main(suite: Suite) -> None:
    need("cargo", "gcc", "g++", "make")
    crate = CRATES[suite.name]
    source = published(suite, crate.version)
    crate.adapt(source, suite)
    # What is built stays for the next run; the manifest of the copy tells that it is no part of a workspace around it.
    environment = SMALL | {"CARGO_TARGET_DIR": str(suite.work / "target"), "KAFKA_VERSION": "4.2.0", "RUST_BACKTRACE": "0"}
    environment |= {name: value.replace("ADDRESS", suite.address) for name, value in crate.environment.items()}
    try:
        built = must(["cargo", "test", "--no-run", "--message-format=json", *crate.arguments], source, environment)
    except CannotRun as why:
        raise RuntimeError(str(why)) from why
    binaries = dict(executables(built))
    tests = [
        f"{name}::{test}"
        for name, binary in sorted(binaries.items())
        for test in listed(binary, source)
        if re.match(crate.tests, test)
    ]

    def run(test: str, attempt: int) -> list[Result]:
        binary, _, name = test.partition("::")
        words = [binaries[binary], "--exact", name, "--test-threads=1", "--nocapture"]
        log = suite.out / f"{test.replace('::', '.')}.{attempt}.log"
        ended = run_limited(words, log, suite.limit(test, SECONDS_PER_TEST), source, environment)
        status, reason = verdict(ended.output, ended.code)
        return [Result(test, status, reason, ended.seconds)]

    suite.run_each([test for test in tests if suite.selects(test)], run, min(suite.jobs, 2))


def published(suite: Suite, version: str) -> Path:
    """A copy of the sources that crates.io has, by way of a package that depends on them."""
    asks = suite.work / "asks"
    (asks / "src").mkdir(parents=True, exist_ok=True)
    (asks / "src/lib.rs").touch()
    manifest = f'[package]\nname = "asks"\nedition = "2021"\n[dependencies]\n{suite.name} = "={version}"\n[workspace]\n'
    (asks / "Cargo.toml").write_text(manifest)
    packages = json.loads(must(["cargo", "metadata", "--format-version", "1"], asks))["packages"]
    found = next(package["manifest_path"] for package in packages if package["name"] == suite.name)
    source = suite.work / "source"
    fresh_copy(Path(found).parent, source)
    with open(source / "Cargo.toml", "a", encoding="utf-8") as file:
        file.write("\n[workspace]\n")
    (source / "rust-toolchain.toml").unlink(missing_ok=True)
    return source


def executables(built: str) -> list[tuple[str, str]]:
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return [
        (message["target"]["name"], message["executable"])
        for message in messages
        if message.get("executable") and message["profile"]["test"] and "test" in message["target"]["kind"]
    ]


def listed(binary: str, directory: Path) -> list[str]:
    lines = must([binary, "--list", "--format", "terse"], directory).splitlines()
    return [line.removesuffix(": test") for line in lines if line.endswith(": test")]


def verdict(output: str, code: int | None) -> tuple[str, str]:
    lines = output.splitlines()
    if code is None:
        return "failed", "it did not end"
    if code != 0:
        panics = [number for number, line in enumerate(lines) if "panicked at" in line]
        told = " ".join(lines[panics[0] : panics[0] + 2]) if panics else f"exit code {code}"
        return "failed", told[:300]
    if "1 ignored" in output:
        return "skipped", "ignored by its author"
    # rskafka's tests end early where something is missing, and say so.
    left_out = [line for line in lines if "skipping" in line.lower()]
    return ("skipped", left_out[0].rpartition(" ... ")[2]) if left_out else ("passed", "")


run_suite(main)
