# A message of 900000 bytes passes, one of 3000000 is refused by the broker.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic large)"; file="$(mktemp)"; trap 'rm -f "$file"' EXIT
head -c 900000 /dev/zero | tr '\0' x > "$file"
k -P -t "$t" "$file"
equal "$(k -C -t "$t" -o beginning -e -q -f '%S')" 900000
head -c 3000000 /dev/zero | tr '\0' x > "$file"
if k -P -t "$t" -X message.max.bytes=5000000 "$file"; then echo "3000000 bytes were accepted" >&2; exit 1; fi
echo OK
