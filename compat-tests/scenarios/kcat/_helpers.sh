# What every kcat scenario shares. A scenario fails at its first failing command and ends with `echo OK`.
set -euo pipefail
run="$$-$RANDOM"
k() { timeout 40 kcat -b "$bootstrap" "$@"; }
topic() { echo "kcat-$1-$run"; }
equal() { [ "$1" = "$2" ] || { echo "expected [$2], got [$1]" >&2; exit 1; }; }
