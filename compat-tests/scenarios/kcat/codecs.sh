# kcat -z: every codec, both ways.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

for codec in gzip snappy lz4 zstd; do
  t="$(topic "$codec")"
  seq 2000 | k -P -t "$t" -z "$codec"
  equal "$(k -C -t "$t" -o beginning -e -q | md5sum)" "$(seq 2000 | md5sum)"
done
echo OK
