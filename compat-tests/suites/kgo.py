"""franz-go: those tests of its client, kgo, that speak to a broker (groups, transactions, admin; from the Go module proxy)."""

from __future__ import annotations

import go_tests
from suite import Suite, run_suite

VERSION = "v1.22.2"
# What a test calls that needs a broker; the others speak to fakes of their own.
NEEDS_BROKER = r"newTestClient|getSeedBrokers|tmpTopic|tmpGroup|testClientOpts|\badm\(\)|newTestConsumer|allowShare"
# The features of the broker are asked by the first test that wants to know, and remembered by those after it. Each runs in a
# process of its own here, so all ask at their start.
ASK_FIRST = """package kgo

import (
\t"os"
\t"testing"
)

func TestMain(m *testing.M) {
\tadm()
\tos.Exit(m.Run())
}
"""


def main(suite: Suite) -> None:
    package = go_tests.module(suite, "github.com/twmb/franz-go", VERSION) / "pkg/kgo"
    tests = go_tests.functions(package, NEEDS_BROKER)
    (package / "ask_first_test.go").write_text(ASK_FIRST)
    environment = {
        "KGO_SEEDS": suite.address,
        "KGO_TEST_RF": "1",
        # Its own default, 500,000, is made for a larger machine.
        "KGO_TEST_RECORDS": "20000" if suite.quick else "50000",
        "KGO_TEST_STABLE_FETCH": "true",
        "KGO_LOG_LEVEL": "none",
    }
    go_tests.run_tests(suite, package, tests, 300, environment, min(suite.jobs, 3))


run_suite(main)
