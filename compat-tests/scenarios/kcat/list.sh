# kcat -L names the broker, and a topic with its partitions once it is there.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic list)"
k -P -t "$t" <<< x
k -L -t "$t" | grep -q "topic \"$t\" with 1 partitions"
k -L -J | grep -q '"brokers":\[{"id":'
echo OK
