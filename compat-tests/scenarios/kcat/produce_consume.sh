# kcat -P and -C: 500 lines in, the same 500 out, in order.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic plain)"
seq 500 | k -P -t "$t"
equal "$(k -C -t "$t" -o beginning -e -q | md5sum)" "$(seq 500 | md5sum)"
equal "$(k -C -t "$t" -o -3 -e -q | tr '\n' ,)" "498,499,500,"
equal "$(k -C -t "$t" -p 0 -o 4 -c 2 -q | tr '\n' ,)" "5,6,"
echo OK
