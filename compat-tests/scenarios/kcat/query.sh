# kcat -Q: offsets by time, first and last.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic query)"
seq 5 | k -P -t "$t"
k -Q -t "$t:0:1" | grep -q "offset 0"
k -Q -t "$t:0:-2" | grep -q "offset 0"
k -Q -t "$t:0:-1" | grep -q "offset 5"
echo OK
