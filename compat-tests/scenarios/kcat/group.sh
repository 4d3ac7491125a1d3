# kcat -G: a group reads everything once and goes on where it ended.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic group)"
seq 100 | k -P -t "$t"
equal "$(k -G "g-$run" -X auto.offset.reset=earliest -e -q "$t" | md5sum)" "$(seq 100 | md5sum)"
seq 101 110 | k -P -t "$t"
equal "$(k -G "g-$run" -X auto.offset.reset=earliest -e -q "$t" | md5sum)" "$(seq 101 110 | md5sum)"
echo OK
