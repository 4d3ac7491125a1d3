"""IBM/sarama: its functional tests (build tag `functional`, from the Go module proxy).

They want five brokers with a toxiproxy in front of each. Here is one, behind forwarder.py, which knows as much of toxiproxy's
protocol as the tests speak. Every test process deletes the suite's topics and makes them again, so one runs after the other.
"""

from __future__ import annotations

import json
from pathlib import Path

import go_tests
from forwarder import Forwarder
from suite import Suite, replace_in, run_suite

VERSION = "v1.61.1"
# These start and stop brokers, or run tools and Java programs, in containers.
IN_CONTAINERS = r"DockerTestBroker\(|skipIfExistingEnvironment\(|\"docker\""
# A process does not begin its test before the broker leads what was just made.
SETTLE = (r"^\treturn m\.Run\(\)", r"\ttime.Sleep(time.Second)\n\treturn m.Run()")


def main(suite: Suite) -> None:
    package = go_tests.module(suite, "github.com/IBM/sarama", VERSION)
    in_containers = go_tests.functions(package, IN_CONTAINERS, "functional*_test.go")
    tests = go_tests.functions(package, "", "functional*_test.go")
    tests = [test for test in tests if test.startswith("TestFunc") and test not in in_containers]
    clients = suite.proxy or suite.address
    one_broker(package, clients)
    with Forwarder(suite.proxy, suite.address) as forwarder:
        environment = {"TOXIPROXY_ADDR": forwarder.control, "KAFKA_VERSION": "4.2.0"}
        go_tests.run_tests(suite, package, tests, 120, environment, tags="functional")


def one_broker(package: Path, clients: str) -> None:
    one_address = f"env.KafkaBrokerAddrs = []string{{{json.dumps(clients)}}}"
    replace_in(
        package / "functional_test.go",
        (r"ReplicationFactor: +3,", "ReplicationFactor: 1,"),
        (r"env\.KafkaBrokerAddrs = append\(env\.KafkaBrokerAddrs, [^\n]*", one_address),
        SETTLE,
    )


run_suite(main)
