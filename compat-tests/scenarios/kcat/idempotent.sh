# An idempotent producer; acks 0, 1 and all.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic idempotent)"
seq 300 | k -P -t "$t" -X enable.idempotence=true
equal "$(k -C -t "$t" -o beginning -e -q | wc -l)" 300
for acks in 1 all 0; do seq 10 | k -P -t "$t" -X acks=$acks; done
equal "$(k -C -t "$t" -o beginning -q -c 330 | wc -l)" 330
echo OK
