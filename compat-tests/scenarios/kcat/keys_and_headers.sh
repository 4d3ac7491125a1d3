# Keys, headers, null values and their printed forms.
bootstrap="$1"; . "$(dirname "$0")/_helpers.sh"

t="$(topic keys)"
printf 'a:1\nb:2\n' | k -P -t "$t" -K: -H name=value
printf 'c:\n' | k -P -t "$t" -K: -Z
equal "$(k -C -t "$t" -o beginning -e -q -f '%k=%s/%h/%o/%S;')" "a=1/name=value/0/1;b=2/name=value/1/1;c=//2/-1;"
echo OK
