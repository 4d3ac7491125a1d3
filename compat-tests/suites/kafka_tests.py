"""franz-go: its renderings of Apache Kafka's own tests of clients, taken from its fake broker to a real one.

They come with the module of the fake (kfake, Go module proxy). stand_ins/kfake.go takes the fake's place: it deletes every
topic and group of the broker before each test. Tests that reach inside the fake are left out.
"""

from __future__ import annotations

import shutil

import go_tests
from suite import STAND_INS, Suite, must, replace_in, run_suite

VERSION = "v0.0.0-20260918054303-01f206a7e32c"
CLIENT_VERSION = "v1.22.2"
INSIDE_THE_FAKE = r"ControlKey|\.Fault\(|group\.max\.size"
# The fake tells when a consumer has begun to fetch; from outside that takes a pause.
GATE = (
    r"^func fetchGate\(([^\n]*)\n.*?^\}\n",
    r"func fetchGate(\1\n\treturn func() { time.Sleep(3 * time.Second) }\n}\n",
)


def main(suite: Suite) -> None:
    module = go_tests.module(suite, "github.com/twmb/franz-go/pkg/kfake", VERSION)
    for source in module.glob("*.go"):
        source.unlink()
    shutil.copyfile(STAND_INS / "kfake.go", module / "kfake.go")
    must(["go", "get", f"github.com/twmb/franz-go@{CLIENT_VERSION}"], module, go_tests.ENVIRONMENT)
    package = module / "kafka_tests"
    inside = go_tests.functions(package, INSIDE_THE_FAKE)
    tests = [test for test in go_tests.functions(package, "") if test not in inside]
    replace_in(package / "helpers_test.go", GATE)
    for source in package.glob("*_test.go"):
        source.write_text(source.read_text().replace("\tt.Parallel()\n", ""))  # there is one broker for all of them
    go_tests.run_tests(suite, package, tests, 120, {"KGO_SEEDS": suite.address})


run_suite(main)
