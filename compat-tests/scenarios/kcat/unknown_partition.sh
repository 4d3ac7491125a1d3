# A partition that the topic does not have is refused.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic unknown)"
k -P -t "$t" <<< x
if k -P -t "$t" -p 99 -X message.timeout.ms=3000 <<< x; then echo "partition 99 was accepted" >&2; exit 1; fi
echo OK
