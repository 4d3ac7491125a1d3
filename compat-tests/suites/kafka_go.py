"""segmentio/kafka-go: those of its tests that speak to a broker (from the Go module proxy).

They name localhost:9092 in many places, which is replaced by the address of the broker under test.
"""

from __future__ import annotations

import re
from pathlib import Path

import go_tests
from suite import Suite, replace_in, run_suite

VERSION = "v0.4.51"
NEEDS_BROKER = (
    r"newLocalClient|makeTopic|createTopic|DialLeader|NewReader\(|Dial\(|NewWriter\(|Writer\{|LookupLeader|testDialer"
    r"|newReader|newTestWriter|nettest|connPipe|ConsumerGroup\("
)
# Two need TLS or SASL on a second port, one compares its own localhost with the address that the broker advertises.
OTHER_LISTENERS = {"TestUnsupportedSASLMechanism", "TestDialerTLS", "TestDialerResolver"}


def main(suite: Suite) -> None:
    package = go_tests.module(suite, "github.com/segmentio/kafka-go", VERSION)
    tests = [test for test in go_tests.functions(package, NEEDS_BROKER) if test not in OTHER_LISTENERS]
    redirect(package, suite)
    # The newest version of Kafka that it knows. The generic tests of net.Conn cut connections at random and take minutes.
    environment = {"KAFKA_VERSION": "3.7.0", "KAFKA_SKIP_NETTEST": "1"}
    go_tests.run_tests(suite, package, tests, 60, environment, suite.jobs)


def redirect(package: Path, suite: Suite) -> None:
    for source in package.glob("*_test.go"):
        if source.name != "address_test.go":
            source.write_text(source.read_text().replace("localhost:9092", suite.address))
    replace_in(package / "client_test.go", (r'TCP\("localhost"\)', f'TCP("{suite.address}")'))
    replace_in(
        package / "dialer_test.go",
        (r'Host: "localhost", Port: 9092', f'Host: "{suite.host}", Port: {suite.port}'),
    )
    replace_in(
        package / "conn_test.go",
        (re.escape('"127.0.0.1:9092"'), f'"{suite.address}"'),
        (r'Host != "localhost"', f'Host != "{suite.host}"'),
        (r"Port != 9092", f"Port != {suite.port}"),
    )
    replace_in(package / "findcoordinator_test.go", (r'Host != "localhost"', f'Host != "{suite.host}"'))


run_suite(main)
