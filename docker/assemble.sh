#!/usr/bin/env bash
# Compiles the static binary and lays out the file tree of the image in DIRECTORY:
#
#   docker/assemble.sh DIRECTORY
#
# Runs on a machine (docker/build.sh) and in the first stage of docker/Dockerfile alike. Needs Rust and Debian's packages
# musl-tools, bash-static and busybox-static. MONEDULA_STATIC_BIN names a static binary that is there already.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: docker/assemble.sh DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
image=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
refuse() { echo "docker/assemble.sh: $1" >&2; exit 1; }

for need in musl-gcc:musl-tools bash-static:bash-static busybox:busybox-static; do
  command -v "${need%:*}" >/dev/null || refuse "${need%:*} is missing: install the Debian package ${need#*:}"
done

binary=${MONEDULA_STATIC_BIN:-}
if [ -z "$binary" ]; then
  target=$(uname -m)-unknown-linux-musl
  if command -v rustup >/dev/null; then rustup target add "$target"; fi
  cargo build --release --locked --package monedula --target "$target"
  binary=${CARGO_TARGET_DIR:-target}/$target/release/monedula
fi

find "$image" -mindepth 1 -delete
mkdir -p "$image"/{bin,usr/sbin}
cp -R docker/rootfs/. "$image"
cp "$binary" "$image/usr/bin/monedula"
cp "$(command -v bash-static)" "$image/bin/bash"
cp "$(command -v busybox)" "$image/bin/busybox"
for program in bin/bash bin/busybox usr/bin/monedula; do
  # a program that has to be linked at its start names who does that
  if LC_ALL=C grep -aqE '/lib(64)?/ld-(linux|musl)' "$image/$program"; then
    refuse "$program is not static"
  fi
done
for applet in $(busybox --list); do
  [ "$applet" = busybox ] || ln -sf busybox "$image/bin/$applet"
done
ln -sf ../../bin/env "$image/usr/bin/env"

# Whoever the container runs as: scripts of others are put and edited here, and data lies here.
for writable in tmp home/appuser mnt/shared/config opt/kafka/config etc/confluent/docker etc/kafka etc/kafka/secrets \
  var/lib/kafka/data var/lib/zookeeper; do
  mkdir -p "$image/$writable"
  chmod 777 "$image/$writable"
done
chmod 777 "$image/opt/kafka" "$image"/etc/confluent/docker/*
chmod 1777 "$image/tmp"
printf 'root:x:0:0::/:/bin/sh\nappuser:x:1000:1000::/home/appuser:/bin/bash\n' >"$image/etc/passwd"
printf 'root:x:0:\nappuser:x:1000:\n' >"$image/etc/group"
